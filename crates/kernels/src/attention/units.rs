//! The units of work of one call: a block of rows, one span for later, the combination of spans.

use super::span::{self, Part, Query};
use super::stored::Stored;
use super::{AttnJob, Call, MAX_HEAD_DIM, SPAN, Typed};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::ops::exp;
use std::mem::MaybeUninit;
use std::ops::Range;

/// All spans of a block of rows, one kv head.
pub(super) struct RowBlock<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) job: &'a AttnJob<'a>,
    pub(super) rows: Range<usize>,
    pub(super) head: usize,
}

impl<E: Stored> Kernel for Typed<RowBlock<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let RowBlock { call, job, rows, head } = self.0;
        let group = call.shape.heads / call.shape.kv_heads;
        let dim = job.kv.dim();
        let mut values = [MaybeUninit::<f32>::uninit(); span::QUERIES * MAX_HEAD_DIM];
        let end = rows.end * group;
        for first in (rows.start * group..end).step_by(span::QUERIES) {
            let count = (end - first).min(span::QUERIES);
            let queries: [Query; span::QUERIES] =
                std::array::from_fn(|i| call.query(job, head, first + i.min(count - 1)));
            let (queries, mut running) = (&queries[..count], [Running::EMPTY; span::QUERIES]);
            let places: [*mut f32; span::QUERIES] =
                std::array::from_fn(|i| values[i * dim..].as_mut_ptr().cast());
            let earliest = queries[0].seen.start / SPAN;
            let latest = queries[count - 1].seen.end.div_ceil(SPAN);
            for span in earliest..latest {
                if call.pool.stopped() {
                    return;
                }
                let next = (span + 1 < latest).then_some((span + 1, head));
                let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span, next };
                // SAFETY: each place has room for `dim` values.
                let softmax = unsafe { span::run::<I, E>(isa, &part, queries, &places) };
                for i in 0..count {
                    let Some((max, sum)) = softmax[i] else { continue };
                    // SAFETY: the values were written just now; this unit alone has these rows
                    // and heads.
                    unsafe {
                        let values = std::slice::from_raw_parts(places[i], dim);
                        let out = call.out.part(queries[i].range(call.shape));
                        running[i].merge(isa, max, sum, values, out);
                    }
                }
            }
            for (query, running) in queries.iter().zip(running) {
                // SAFETY: this unit alone has these rows and heads.
                running.finish(unsafe { call.out.part(query.range(call.shape)) });
            }
        }
    }
}

/// One span of all rows of a job, one kv head.
pub(super) struct OneSpan<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) job: &'a AttnJob<'a>,
    pub(super) head: usize,
    /// The span's number among the job's.
    pub(super) index: usize,
    pub(super) partials: &'a Disjoint<'a, f32>,
    /// Values before the job's partials.
    pub(super) before: usize,
}

impl<E: Stored> Kernel for Typed<OneSpan<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let OneSpan { call, job, head, index, partials, before } = self.0;
        let group = call.shape.heads / call.shape.kv_heads;
        let spans = job.spans(call.shape);
        let len = Partial::len(job.kv.dim());
        let end = job.rows * group;
        for first in (0..end).step_by(span::QUERIES) {
            let count = (end - first).min(span::QUERIES);
            let queries: [Query; span::QUERIES] =
                std::array::from_fn(|i| call.query(job, head, first + i.min(count - 1)));
            let slots: [*mut f32; span::QUERIES] = std::array::from_fn(|i| {
                let (row, member) = ((first + i) / group, (first + i) % group);
                let query = row * call.shape.heads + head * group + member;
                let at = before + (query * spans.len() + index) * len;
                if i < count {
                    // SAFETY: this unit alone has this slot.
                    unsafe { partials.part(at..at + len).as_mut_ptr() }
                } else {
                    std::ptr::null_mut()
                }
            });
            let places = slots.map(|slot| slot.wrapping_add(Partial::HEAD));
            let span = spans.start + index;
            // Units go head by head, and each thread has a run of them.
            let unit = index * call.shape.kv_heads + head + 1;
            let next = (spans.start + unit / call.shape.kv_heads, unit % call.shape.kv_heads);
            let next = (next.0 < spans.end).then_some(next);
            let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span, next };
            // SAFETY: a slot has room for head and `dim` values.
            unsafe {
                let softmax = span::run::<I, E>(isa, &part, &queries[..count], &places);
                for i in 0..count {
                    let Some((max, sum)) = softmax[i] else { continue };
                    *slots[i] = max;
                    *slots[i].add(1) = sum;
                }
            }
        }
    }
}

/// Combines the spans of the heads of one row and kv head.
pub(super) struct Combine<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) job: &'a AttnJob<'a>,
    pub(super) head: usize,
    pub(super) row: usize,
    pub(super) partials: &'a Disjoint<'a, f32>,
    pub(super) before: usize,
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Combine { call, job, head, row, partials, before } = self;
        let group = call.shape.heads / call.shape.kv_heads;
        let spans = job.spans(call.shape);
        let dim = job.kv.dim();
        for member in 0..group {
            let query = call.query(job, head, row * group + member);
            // SAFETY: this unit alone has this row and head.
            let out = unsafe { call.out.part(query.range(call.shape)) };
            let mut running = Running::EMPTY;
            for span in spans.clone() {
                if query.in_span(span).is_empty() {
                    continue;
                }
                let index = row * call.shape.heads + head * group + member;
                let at = before + (index * spans.len() + span - spans.start) * Partial::len(dim);
                // SAFETY: partials were written by the dispatch before; now they are only read.
                let slot = unsafe { partials.part(at..at + Partial::len(dim)) };
                running.merge(isa, slot[0], slot[1], &slot[Partial::HEAD..], out);
            }
            running.finish(out);
        }
    }
}

/// A span's result in memory: maximum, sum, a gap, then `dim` weighted sums of values.
pub(super) struct Partial;

impl Partial {
    const HEAD: usize = 16;

    pub(super) const fn len(dim: usize) -> usize {
        Self::HEAD + dim
    }
}

/// Maximum and sum of the spans merged so far; the weighted sums are in the output.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Running {
    const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Adds a span: `out = out * old + values * new`. The first span's values are copied, so that
    /// what `out` held does not matter.
    #[inline(always)]
    fn merge<I: Isa>(&mut self, isa: I, max: f32, sum: f32, values: &[f32], out: &mut [f32]) {
        if self.sum == 0.0 && self.max == f32::NEG_INFINITY {
            *self = Self { max, sum };
            out.copy_from_slice(&values[..out.len()]);
            return;
        }
        let top = if max > self.max { max } else { self.max };
        let old = isa.max_lane(exp(isa, isa.splat(self.max - top)));
        let new = isa.max_lane(exp(isa, isa.splat(max - top)));
        *self = Self { max: top, sum: self.sum * old + sum * new };
        for (out, value) in out.iter_mut().zip(values) {
            *out = *out * old + *value * new;
        }
    }

    /// Divides by the sum.
    #[inline(always)]
    fn finish(self, out: &mut [f32]) {
        let factor = 1.0 / self.sum;
        out.iter_mut().for_each(|x| *x *= factor);
    }
}
