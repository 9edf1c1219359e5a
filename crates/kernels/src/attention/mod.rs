//! Causal attention with grouped heads, sliding windows and score caps, for prefill and decode.
//!
//! Positions are cut into spans at absolute multiples of [`SPAN`]. For each (row, head, span) the
//! arithmetic is one fixed sequence (`span.rs`), and spans are combined in ascending order by one
//! routine ([`Running::merge`]), so the bits of an output depend on nothing but its query and the
//! cache: not on how prompts are cut, on company, or on threads. Many rows are done a block of rows
//! at a time, all spans in turn; a few rows over a long cache are done span by span on all threads
//! and combined afterwards.

mod kv;
mod span;
#[cfg(test)]
mod tests;

pub use kv::{KvLayer, KvType};

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::element::{Bf16, Element, F16, F32};
use crate::isa::Isa;
use crate::ops::exp;
use crate::pool::Pool;
use span::{Part, Query, Results};
use std::marker::PhantomData;
use std::ops::Range;

/// Elements of a head at most.
pub const MAX_HEAD_DIM: usize = 512;

/// Positions of a span: two blocks of the cache.
const SPAN: usize = 128;

/// Rows of queries that share a pass over the cache.
const ROW_BLOCK: usize = 16;

/// What all rows of a call have in common.
#[derive(Clone, Copy, Debug)]
pub struct AttnShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head, at most [`MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Factor of the scores, `1 / sqrt(head_dim)` in most models.
    pub scale: f32,
    /// A row sees this many positions at most, its own included.
    pub window: Option<usize>,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
}

impl AttnShape {
    /// Positions that a row at `position` sees.
    fn seen(&self, position: usize) -> Range<usize> {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window.max(1)))..position + 1
    }
}

/// Consecutive rows of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct AttnJob<'a> {
    /// The first row of `q` and `out`.
    pub first_row: usize,
    /// How many.
    pub rows: usize,
    /// Position of the first row.
    pub pos0: usize,
    /// The sequence's keys and values, those of the rows appended already.
    pub kv: &'a KvLayer,
}

/// Writes, for each row and head, the values weighted by the softmax of the scores. `q` and `out`
/// are row-major `[rows][heads * head_dim]`. If the pool is stopped, outputs are incomplete.
///
/// # Panics
/// If a job names rows that `q` or `out` lacks or positions its cache lacks, two jobs share a row,
/// or shapes differ.
pub fn attention(pool: &Pool, shape: &AttnShape, q: &[f32], jobs: &[AttnJob<'_>], out: &mut [f32]) {
    let width = shape.heads * shape.head_dim;
    assert_eq!(q.len(), out.len(), "queries and outputs");
    assert_eq!(shape.heads % shape.kv_heads, 0, "query heads for each kv head");
    assert!(shape.head_dim <= MAX_HEAD_DIM, "a head of {}", shape.head_dim);
    for (index, job) in jobs.iter().enumerate() {
        let rows = job.first_row..job.first_row + job.rows;
        assert!(rows.end * width <= q.len(), "rows {rows:?}");
        assert!(job.pos0 + job.rows <= job.kv.len(), "rows beyond the cache of {:?}", job.kv);
        let found = (job.kv.kv_heads(), job.kv.head_dim());
        assert_eq!(found, (shape.kv_heads, shape.head_dim), "kv heads and head_dim");
        let apart = |other: &AttnJob<'_>| {
            other.first_row >= rows.end || rows.start >= other.first_row + other.rows
        };
        assert!(jobs[..index].iter().all(apart), "rows {rows:?} are named twice");
    }
    let call = Call { pool, shape, q, jobs, out: Disjoint::new(out) };
    let spans = jobs.iter().map(|job| job.spans(shape).len()).sum::<usize>();
    let few = call.row_units() < 2 * pool.threads() && spans > 2 * jobs.len();
    if few && pool.threads() > 1 { call.by_spans() } else { call.by_rows() }
}

impl AttnJob<'_> {
    /// Spans that any of its rows sees.
    fn spans(&self, shape: &AttnShape) -> Range<usize> {
        if self.rows == 0 {
            return 0..0;
        }
        let first = shape.seen(self.pos0).start / SPAN;
        first..(self.pos0 + self.rows).div_ceil(SPAN)
    }

    fn row_blocks(&self) -> usize {
        self.rows.div_ceil(ROW_BLOCK)
    }
}

struct Call<'a> {
    pool: &'a Pool,
    shape: &'a AttnShape,
    q: &'a [f32],
    jobs: &'a [AttnJob<'a>],
    out: Disjoint<'a, f32>,
}

impl Call<'_> {
    fn row_units(&self) -> usize {
        self.jobs.iter().map(AttnJob::row_blocks).sum::<usize>() * self.shape.kv_heads
    }

    /// A unit is a block of rows of one job and one kv head.
    fn by_rows(&self) {
        let units = self.row_units();
        self.pool.run_units(units, &|unit, _| {
            // The last rows see most, so they go first.
            let (mut block, head) = {
                let unit = units - 1 - unit;
                (unit / self.shape.kv_heads, unit % self.shape.kv_heads)
            };
            for job in self.jobs {
                if block < job.row_blocks() {
                    let first = block * ROW_BLOCK;
                    let rows = first..job.rows.min(first + ROW_BLOCK);
                    return self.enter(job, RowBlock { call: self, job, rows, head });
                }
                block -= job.row_blocks();
            }
        });
    }

    /// A unit is one span of one job and one kv head, for all the job's rows; partial results are
    /// combined by units of one row and one kv head.
    fn by_spans(&self) {
        let dim = self.shape.head_dim.next_multiple_of(16);
        let slot = Partial::len(dim);
        let parts = |job: &AttnJob<'_>| job.rows * self.shape.heads * job.spans(self.shape).len();
        let mut scratch = self.pool.scratch();
        let total = self.jobs.iter().map(parts).sum::<usize>() * slot;
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let partials = Disjoint::new(&mut scratch);
        let spans = |job: &AttnJob<'_>| job.spans(self.shape).len();
        let kv_heads = self.shape.kv_heads;
        self.pool.run_units(self.jobs.iter().map(spans).sum::<usize>() * kv_heads, &|unit, _| {
            let (mut index, head) = (unit / kv_heads, unit % kv_heads);
            let mut before = 0;
            for job in self.jobs {
                if index < spans(job) {
                    let (partials, dim) = (&partials, dim);
                    let kernel = OneSpan { call: self, job, head, index, partials, before, dim };
                    return self.enter(job, kernel);
                }
                index -= spans(job);
                before += parts(job) * slot;
            }
        });
        let rows = self.jobs.iter().map(|job| job.rows).sum::<usize>();
        self.pool.run_units(rows * kv_heads, &|unit, _| {
            let (mut row, head) = (unit / kv_heads, unit % kv_heads);
            let mut before = 0;
            for job in self.jobs {
                if row < job.rows {
                    let (partials, dim) = (&partials, dim);
                    let kernel = Combine { call: self, job, head, row, partials, before, dim };
                    return self.pool.cpu().run(kernel);
                }
                row -= job.rows;
                before += parts(job) * slot;
            }
        });
    }

    /// Runs a kernel for the element type of a job's cache.
    fn enter<K>(&self, job: &AttnJob<'_>, kernel: K)
    where
        Typed<K, F32>: Kernel<Output = ()>,
        Typed<K, F16>: Kernel<Output = ()>,
        Typed<K, Bf16>: Kernel<Output = ()>,
    {
        let cpu = self.pool.cpu();
        match job.kv.ty() {
            KvType::F32 => cpu.run(Typed::<K, F32>(kernel, PhantomData)),
            KvType::F16 => cpu.run(Typed::<K, F16>(kernel, PhantomData)),
            KvType::Bf16 => cpu.run(Typed::<K, Bf16>(kernel, PhantomData)),
        }
    }

    /// The `count` queries from `first` on, the last one repeated.
    fn queries(
        &self,
        job: &AttnJob<'_>,
        head: usize,
        first: usize,
        count: usize,
    ) -> [Query; span::QUERIES] {
        [0, 1, 2, 3].map(|i| self.query(job, head, first + i.min(count - 1)))
    }

    /// Query `index` of a job's kv head: row after row, in each the heads of the group.
    fn query(&self, job: &AttnJob<'_>, head: usize, index: usize) -> Query {
        let group = self.shape.heads / self.shape.kv_heads;
        let (row, head) = (index / group, head * group + index % group);
        let at = ((job.first_row + row) * self.shape.heads + head) * self.shape.head_dim;
        Query { at, seen: self.shape.seen(job.pos0 + row) }
    }
}

/// A kernel with the element type of the cache.
struct Typed<K, E>(K, PhantomData<E>);

/// All spans of a block of rows, one kv head.
struct RowBlock<'a> {
    call: &'a Call<'a>,
    job: &'a AttnJob<'a>,
    rows: Range<usize>,
    head: usize,
}

/// The most queries of a row block that are kept in flight.
const IN_FLIGHT: usize = 64;

impl<E: Element> Kernel for Typed<RowBlock<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let RowBlock { call, job, rows, head } = self.0;
        let group = call.shape.heads / call.shape.kv_heads;
        let (mut first, end) = (rows.start * group, rows.end * group);
        let mut results = Results::EMPTY;
        while first < end {
            let count = (end - first).min(IN_FLIGHT);
            let mut running = [Running::EMPTY; IN_FLIGHT];
            let earliest = call.query(job, head, first).seen.start / SPAN;
            let latest = call.query(job, head, first + count - 1).seen.end.div_ceil(SPAN);
            for span in earliest..latest {
                if call.pool.stopped() {
                    return;
                }
                for done in (0..count).step_by(span::QUERIES) {
                    let take = (count - done).min(span::QUERIES);
                    let queries = call.queries(job, head, first + done, take);
                    let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span };
                    span::run::<I, E>(isa, &part, &queries[..take], &mut results);
                    for i in 0..take {
                        let Some((max, sum)) = results.softmax[i] else { continue };
                        // SAFETY: this unit alone has these rows and heads.
                        let out = unsafe { call.out.part(queries[i].range(call.shape)) };
                        running[done + i].merge(isa, max, sum, &results.values[i], out);
                    }
                }
            }
            for (i, running) in running[..count].iter().enumerate() {
                let query = call.query(job, head, first + i);
                // SAFETY: this unit alone has these rows and heads.
                running.finish(unsafe { call.out.part(query.range(call.shape)) });
            }
            first += count;
        }
    }
}

/// One span of all rows of a job, one kv head.
struct OneSpan<'a> {
    call: &'a Call<'a>,
    job: &'a AttnJob<'a>,
    head: usize,
    index: usize,
    partials: &'a Disjoint<'a, f32>,
    /// Values before the job's partials.
    before: usize,
    dim: usize,
}

impl<E: Element> Kernel for Typed<OneSpan<'_>, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let OneSpan { call, job, head, index, partials, before, dim } = self.0;
        let group = call.shape.heads / call.shape.kv_heads;
        let spans = job.spans(call.shape);
        let (span, count) = (spans.start + index, job.rows * group);
        let mut results = Results::EMPTY;
        for done in (0..count).step_by(span::QUERIES) {
            let take = (count - done).min(span::QUERIES);
            let queries = call.queries(job, head, done, take);
            let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span };
            span::run::<I, E>(isa, &part, &queries[..take], &mut results);
            for i in 0..take {
                let Some((max, sum)) = results.softmax[i] else { continue };
                let (row, member) = ((done + i) / group, (done + i) % group);
                let query = row * call.shape.heads + head * group + member;
                let at = before + (query * spans.len() + index) * Partial::len(dim);
                // SAFETY: this unit alone has this slot.
                let slot = unsafe { partials.part(at..at + Partial::len(dim)) };
                (slot[0], slot[1]) = (max, sum);
                slot[Partial::HEAD..].copy_from_slice(&results.values[i][..dim]);
            }
        }
    }
}

/// Combines the spans of the heads of one row and kv head.
struct Combine<'a> {
    call: &'a Call<'a>,
    job: &'a AttnJob<'a>,
    head: usize,
    row: usize,
    partials: &'a Disjoint<'a, f32>,
    before: usize,
    dim: usize,
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Combine { call, job, head, row, partials, before, dim } = self;
        let group = call.shape.heads / call.shape.kv_heads;
        let spans = job.spans(call.shape);
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
struct Partial;

impl Partial {
    const HEAD: usize = 16;

    const fn len(dim: usize) -> usize {
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
