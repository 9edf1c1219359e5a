//! One span of the cache against up to four queries: scores, softmax, weighted sum of values.
//!
//! Scores: each is one chain of multiply-adds over the elements of the head, ascending; positions
//! fill vectors. Maximum and sum run over the whole span, unseen positions at minus infinity.
//! Values: one chain over the seen positions, ascending; positions that only some of the queries
//! see are added query by query, so what a query does not see cannot touch its result.

// Loops over queries and vectors count indices of several arrays at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::kv::BLOCK;
use super::{AttnShape, KvLayer, MAX_HEAD_DIM, SPAN};
use crate::element::Element;
use crate::isa::Isa;
use crate::ops::{exp, tanh};
use std::ops::Range;

/// Queries of a pass at most.
pub(super) const QUERIES: usize = 4;

/// Vectors of positions, or of elements of a value, in a pass.
const WIDE: usize = 2;

/// A row and head: where its query begins (its output too), and the positions it sees.
#[derive(Clone)]
pub(super) struct Query {
    pub(super) at: usize,
    pub(super) seen: Range<usize>,
}

impl Query {
    /// Where its output lies.
    pub(super) fn range(&self, shape: &AttnShape) -> Range<usize> {
        self.at..self.at + shape.head_dim
    }

    /// The positions it sees in a span, counted from the span's start.
    #[inline(always)]
    pub(super) fn in_span(&self, span: usize) -> Range<usize> {
        let start = span * SPAN;
        self.seen.start.saturating_sub(start).min(SPAN)
            ..self.seen.end.saturating_sub(start).min(SPAN)
    }
}

/// What a pass reads.
pub(super) struct Part<'a> {
    pub(super) q: &'a [f32],
    pub(super) shape: &'a AttnShape,
    pub(super) kv: &'a KvLayer,
    /// The kv head.
    pub(super) head: usize,
    pub(super) span: usize,
}

/// What a pass gives for each query.
#[repr(align(64))]
pub(super) struct Results {
    /// Weighted sums of the values, `dim` of them.
    pub(super) values: [[f32; MAX_HEAD_DIM]; QUERIES],
    /// Maximum of the scores and sum of the weights; `None` if the query sees nothing of the span.
    pub(super) softmax: [Option<(f32, f32)>; QUERIES],
}

impl Results {
    pub(super) const EMPTY: Self =
        Self { values: [[0.0; MAX_HEAD_DIM]; QUERIES], softmax: [None; QUERIES] };
}

/// Scores of the queries, then weights.
#[repr(align(64))]
struct Scores([[f32; SPAN]; QUERIES]);

/// Does all queries (at most [`QUERIES`]).
#[inline(always)]
pub(super) fn run<I: Isa, E: Element>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    results: &mut Results,
) {
    results.softmax = [None; QUERIES];
    // Queries ascend in position, so those that see nothing are at either end.
    let mut first = 0;
    while first < queries.len() && queries[first].in_span(part.span).is_empty() {
        first += 1;
    }
    let mut end = first;
    while end < queries.len() && !queries[end].in_span(part.span).is_empty() {
        end += 1;
    }
    let queries = &queries[first..end];
    match queries.len() {
        0 => {}
        1 => pass::<I, E, 1>(isa, part, queries, first, results),
        2 => pass::<I, E, 2>(isa, part, queries, first, results),
        3 => pass::<I, E, 3>(isa, part, queries, first, results),
        _ => pass::<I, E, 4>(isa, part, queries, first, results),
    }
}

#[inline(always)]
fn pass<I: Isa, E: Element, const N: usize>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    first: usize,
    results: &mut Results,
) {
    let mut ranges = [const { 0..0 }; N];
    for n in 0..N {
        ranges[n] = queries[n].in_span(part.span);
    }
    let mut scores = Scores([[f32::NEG_INFINITY; SPAN]; QUERIES]);
    fill_scores::<I, E, N>(isa, part, queries, &ranges, &mut scores);
    for n in 0..N {
        let softmax = softmax(isa, part.shape, &ranges[n], &mut scores.0[n]);
        results.softmax[first + n] = Some(softmax);
    }
    let dim = part.kv.dim();
    for at in (0..dim).step_by(WIDE * I::LANES) {
        let vectors = WIDE.min((dim - at) / I::LANES);
        let sums = values::<I, E, N>(isa, part, &ranges, &scores, at, vectors);
        for n in 0..N {
            for v in 0..vectors {
                let to = &mut results.values[first + n][at + v * I::LANES..][..I::LANES];
                // SAFETY: a vector's place.
                unsafe { isa.store(to.as_mut_ptr(), sums[n][v]) };
            }
        }
    }
}

/// Dot products of the queries with the keys of all positions that any of them sees.
#[inline(always)]
fn fill_scores<I: Isa, E: Element, const N: usize>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    ranges: &[Range<usize>; N],
    scores: &mut Scores,
) {
    let head_dim = part.shape.head_dim;
    let mut q = [std::ptr::null::<f32>(); N];
    let (mut start, mut end) = (SPAN, 0);
    for n in 0..N {
        q[n] = part.q[queries[n].at..queries[n].at + head_dim].as_ptr();
        (start, end) = (start.min(ranges[n].start), end.max(ranges[n].end));
    }
    let step = WIDE * I::LANES;
    for at in (start / step * step..end).step_by(step) {
        let keys = part.kv.keys(part.span * (SPAN / BLOCK) + at / BLOCK, part.head);
        let mut sums = [[isa.splat(0.0); WIDE]; N];
        // SAFETY: `keys` points to `[head_dim][BLOCK]`, of which a step of positions is read; each
        // query has `head_dim` values; a step of scores lies inside a span.
        unsafe {
            let mut keys = keys.add(at % BLOCK * E::BYTES);
            for d in 0..head_dim {
                let mut k = [isa.splat(0.0); WIDE];
                for v in 0..WIDE {
                    k[v] = E::load(isa, keys.add(v * I::LANES * E::BYTES));
                }
                for n in 0..N {
                    let q = isa.splat(*q[n].add(d));
                    for v in 0..WIDE {
                        sums[n][v] = isa.fma(q, k[v], sums[n][v]);
                    }
                }
                keys = keys.add(BLOCK * E::BYTES);
            }
            for n in 0..N {
                for v in 0..WIDE {
                    isa.store(scores.0[n].as_mut_ptr().add(at + v * I::LANES), sums[n][v]);
                }
            }
        }
    }
}

/// Turns scores into weights `e^(score - max)`; returns maximum and sum.
#[inline(always)]
fn softmax<I: Isa>(
    isa: I,
    shape: &AttnShape,
    seen: &Range<usize>,
    scores: &mut [f32; SPAN],
) -> (f32, f32) {
    let p = scores.as_mut_ptr();
    // SAFETY: a span is a whole number of vectors.
    unsafe {
        for at in (0..SPAN).step_by(I::LANES) {
            let mut x = isa.mul(isa.load(p.add(at)), isa.splat(shape.scale));
            if let Some(cap) = shape.softcap {
                let cap = isa.splat(cap);
                x = isa.mul(tanh(isa, isa.div(x, cap)), cap);
            }
            isa.store(p.add(at), x);
        }
        scores[..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..].fill(f32::NEG_INFINITY);
        let mut max = isa.splat(f32::NEG_INFINITY);
        for at in (0..SPAN).step_by(I::LANES) {
            max = isa.max(isa.load(p.add(at)), max);
        }
        let max = isa.max_lane(max);
        let mut sum = isa.splat(0.0);
        for at in (0..SPAN).step_by(I::LANES) {
            let x = exp(isa, isa.sub(isa.load(p.add(at)), isa.splat(max)));
            isa.store(p.add(at), x);
            sum = isa.add(sum, x);
        }
        (max, isa.sum(sum))
    }
}

/// Weighted sums of the elements from `at` on, up to `vectors` vectors of them.
#[inline(always)]
fn values<I: Isa, E: Element, const N: usize>(
    isa: I,
    part: &Part<'_>,
    ranges: &[Range<usize>; N],
    weights: &Scores,
    at: usize,
    vectors: usize,
) -> [[I::Floats; WIDE]; N] {
    // Positions that all see: from the last start to the first end.
    let (mut start, mut end) = (0, SPAN);
    for n in 0..N {
        (start, end) = (start.max(ranges[n].start), end.min(ranges[n].end));
    }
    let end = end.max(start);
    let mut sums = [[isa.splat(0.0); WIDE]; N];
    for n in 0..N {
        let own = ranges[n].start..ranges[n].end.min(start);
        one::<I, E>(isa, part, own, &weights.0[n], (at, vectors), &mut sums[n]);
    }
    for position in start..end {
        // SAFETY: the position is seen, so the cache holds it.
        let v = unsafe { value::<I, E>(isa, part, position, at, vectors) };
        for n in 0..N {
            let p = isa.splat(weights.0[n][position]);
            for i in 0..WIDE {
                sums[n][i] = isa.fma(p, v[i], sums[n][i]);
            }
        }
    }
    for n in 0..N {
        let own = end..ranges[n].end;
        one::<I, E>(isa, part, own, &weights.0[n], (at, vectors), &mut sums[n]);
    }
    sums
}

/// Adds positions `own` for one query.
#[inline(always)]
fn one<I: Isa, E: Element>(
    isa: I,
    part: &Part<'_>,
    own: Range<usize>,
    weights: &[f32; SPAN],
    (at, vectors): (usize, usize),
    sums: &mut [I::Floats; WIDE],
) {
    for position in own {
        // SAFETY: the position is seen, so the cache holds it.
        let v = unsafe { value::<I, E>(isa, part, position, at, vectors) };
        let p = isa.splat(weights[position]);
        for i in 0..WIDE {
            sums[i] = isa.fma(p, v[i], sums[i]);
        }
    }
}

/// Part of the value at a position of the span; absent vectors repeat the first.
///
/// # Safety
/// The cache holds the position, and `at` and `vectors` lie inside its `dim`.
#[inline(always)]
unsafe fn value<I: Isa, E: Element>(
    isa: I,
    part: &Part<'_>,
    position: usize,
    at: usize,
    vectors: usize,
) -> [I::Floats; WIDE] {
    let block = part.span * (SPAN / BLOCK) + position / BLOCK;
    let values = part.kv.values(block, part.head);
    let offset = position % BLOCK * part.kv.dim() + at;
    // SAFETY: as the caller's.
    unsafe {
        let p = values.add(offset * E::BYTES);
        let second = if vectors > 1 { p.add(I::LANES * E::BYTES) } else { p };
        [E::load(isa, p), E::load(isa, second)]
    }
}
