//! One span of the cache against some queries: scores, softmax, weighted sum of values.
//!
//! Scores: each is one chain of multiply-adds over the elements of the head, ascending; positions
//! fill vectors. Maximum and sum run over the whole span, unseen positions at minus infinity.
//! Values: one chain over the seen positions, ascending; positions that only some of the queries
//! see are added query by query, so what a query does not see cannot touch its result.

// Loops over queries and vectors count indices of several arrays at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::kv::BLOCK;
use super::scale::{GROUP, Side};
use super::stored::{Stored, bytes};
use super::{AttnShape, KvLayer, SPAN};
use crate::isa::Isa;
use crate::ops::{exp, tanh};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Queries of a call at most.
pub(super) const QUERIES: usize = 36;

/// Queries that are multiplied at once.
const PASS: usize = 6;

/// Vectors of positions, or of elements of a value, that are multiplied at once.
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
    /// Span and kv head whose keys this thread wants next, probably.
    pub(super) next: Option<(usize, usize)>,
}

impl Part<'_> {
    /// Where to look ahead while the values from element `at` on are read: each of the two blocks'
    /// share of the keys wanted next, or the values themselves.
    fn ahead(&self, at: usize) -> [*const u8; 2] {
        let (span, head) = self.next.unwrap_or((self.span, self.head));
        let first = span * (SPAN / BLOCK);
        let last = self.kv.len().div_ceil(BLOCK) - 1;
        let at = self.kv.ty().bytes(at.min(self.shape.head_dim) * BLOCK);
        [first, first + 1].map(|block| self.kv.keys(block.min(last), head).wrapping_add(at))
    }
}

/// Scores of one query, then weights.
type Scores = [f32; SPAN];

/// Does the queries (at most [`QUERIES`], ascending in position): writes the weighted sums of the
/// values of query `i` to `places[i]`, and returns the maximum of its scores and the sum of its
/// weights; `None` and nothing written for one that sees nothing of the span.
///
/// Parts of keys and values that fit the first-level cache are used for all queries in turn.
///
/// # Safety
/// There is a place for each query, with room for the cache's `dim` values.
#[inline(always)]
pub(super) unsafe fn run<I: Isa, E: Stored>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    places: &[*mut f32; QUERIES],
) -> [Option<(f32, f32)>; QUERIES] {
    let mut softmaxes = [None; QUERIES];
    // Those that see nothing are at either end, as positions ascend.
    let sees = |query: &Query| !query.in_span(part.span).is_empty();
    let first = queries.iter().position(sees).unwrap_or(queries.len());
    let count = queries[first..].iter().position(|query| !sees(query));
    let count = count.unwrap_or(queries.len() - first);
    let (queries, places) = (&queries[first..first + count], &places[first..first + count]);
    let mut scores = [const { MaybeUninit::<Scores>::uninit() }; QUERIES];
    for scores in &mut scores[..count] {
        scores.write([f32::NEG_INFINITY; SPAN]);
    }
    // SAFETY: written just now.
    let scores =
        unsafe { std::slice::from_raw_parts_mut(scores.as_mut_ptr().cast::<Scores>(), count) };
    for at in (0..SPAN).step_by(WIDE * I::LANES) {
        for start in (0..count).step_by(PASS) {
            let some = start..count.min(start + PASS);
            let (queries, scores) = (&queries[some.clone()], &mut scores[some]);
            match queries.len() {
                1 => fill_scores::<I, E, 1>(isa, part, queries, at, scores),
                2 => fill_scores::<I, E, 2>(isa, part, queries, at, scores),
                3 => fill_scores::<I, E, 3>(isa, part, queries, at, scores),
                4 => fill_scores::<I, E, 4>(isa, part, queries, at, scores),
                5 => fill_scores::<I, E, 5>(isa, part, queries, at, scores),
                _ => fill_scores::<I, E, PASS>(isa, part, queries, at, scores),
            }
        }
    }
    for (i, query) in queries.iter().enumerate() {
        let seen = query.in_span(part.span);
        softmaxes[first + i] = Some(softmax(isa, part.shape, &seen, &mut scores[i]));
    }
    for at in (0..part.kv.dim()).step_by(WIDE * I::LANES) {
        for start in (0..count).step_by(PASS) {
            let some = start..count.min(start + PASS);
            let (queries, scores) = (&queries[some.clone()], &scores[some.clone()]);
            let places = &places[some];
            // SAFETY: as the caller's.
            unsafe {
                match queries.len() {
                    1 => values::<I, E, 1>(isa, part, queries, scores, at, places),
                    2 => values::<I, E, 2>(isa, part, queries, scores, at, places),
                    3 => values::<I, E, 3>(isa, part, queries, scores, at, places),
                    4 => values::<I, E, 4>(isa, part, queries, scores, at, places),
                    5 => values::<I, E, 5>(isa, part, queries, scores, at, places),
                    _ => values::<I, E, PASS>(isa, part, queries, scores, at, places),
                }
            }
        }
    }
    softmaxes
}

/// Dot products of `N` queries with the keys of the positions from `at` on that fill a pass, if
/// any of the queries sees one of them.
#[inline(always)]
fn fill_scores<I: Isa, E: Stored, const N: usize>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    at: usize,
    scores: &mut [Scores],
) {
    let head_dim = part.shape.head_dim;
    let mut q = [std::ptr::null::<f32>(); N];
    let mut seen = false;
    for n in 0..N {
        q[n] = part.q[queries[n].range(part.shape)].as_ptr();
        let range = queries[n].in_span(part.span);
        seen |= range.start < at + WIDE * I::LANES && range.end > at;
    }
    if !seen {
        return;
    }
    let block = part.span * (SPAN / BLOCK) + at / BLOCK;
    let keys = part.kv.keys(block, part.head);
    // The values of these positions are wanted next.
    let ahead = part.kv.values(block, part.head);
    let ahead = ahead.wrapping_add(bytes::<E>(at % BLOCK * part.kv.dim()));
    let mut sums = [[isa.splat(0.0); WIDE]; N];
    // SAFETY: `keys` points to `[head_dim][BLOCK]`, of which a pass of positions is read; each
    // query has `head_dim` values; a pass of scores lies inside a span.
    unsafe {
        let (mut keys, first) = (keys, at % BLOCK);
        let mut ahead = ahead;
        let mut scales = [isa.splat(1.0); WIDE];
        for d in 0..head_dim {
            if E::PEAK.is_some() && d.is_multiple_of(GROUP) {
                let group = part.kv.scales(block, Side::Keys, part.head, d / GROUP);
                for v in 0..WIDE {
                    scales[v] = isa.load_f16(group.add(first + v * I::LANES));
                }
            }
            isa.prefetch(ahead);
            ahead = ahead.wrapping_add(bytes::<E>(WIDE * I::LANES));
            let mut k = [isa.splat(0.0); WIDE];
            for v in 0..WIDE {
                k[v] = E::load(isa, keys, first + v * I::LANES);
                if E::PEAK.is_some() {
                    k[v] = isa.mul(k[v], scales[v]);
                }
            }
            for n in 0..N {
                let q = isa.splat(*q[n].add(d));
                for v in 0..WIDE {
                    sums[n][v] = isa.fma(q, k[v], sums[n][v]);
                }
            }
            keys = keys.add(bytes::<E>(BLOCK));
        }
        for n in 0..N {
            for v in 0..WIDE {
                isa.store(scores[n][at + v * I::LANES..].as_mut_ptr(), sums[n][v]);
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

/// Writes the weighted sums of the elements from `at` on that fill a pass to the places of `N`
/// queries.
///
/// # Safety
/// The places have room for `dim` values.
#[inline(always)]
unsafe fn values<I: Isa, E: Stored, const N: usize>(
    isa: I,
    part: &Part<'_>,
    queries: &[Query],
    weights: &[Scores],
    at: usize,
    places: &[*mut f32],
) {
    let vectors = WIDE.min((part.kv.dim() - at) / I::LANES);
    let mut ranges = [const { 0..0 }; N];
    // Positions that all see: from the last start to the first end.
    let (mut start, mut end) = (0, SPAN);
    for n in 0..N {
        ranges[n] = queries[n].in_span(part.span);
        (start, end) = (start.max(ranges[n].start), end.min(ranges[n].end));
    }
    let (end, ahead) = (end.max(start), part.ahead(at));
    let mut scaled = [const { MaybeUninit::<Scores>::uninit() }; N];
    let mut sums = [[isa.splat(0.0); WIDE]; N];
    // SAFETY: the positions are seen, so the cache holds them, and the weights are of a span; the
    // places are as the caller says.
    unsafe {
        let mut weight = [std::ptr::null::<f32>(); N];
        for n in 0..N {
            weight[n] = weights[n].as_ptr();
            if E::PEAK.is_some() {
                let to = scaled[n].as_mut_ptr().cast::<f32>();
                scale_weights(isa, part, &ranges[n], weight[n], at / GROUP, to);
                weight[n] = to;
            }
            let own = ranges[n].start..ranges[n].end.min(start);
            sums[n] =
                add::<I, E, 1>(isa, part, own, [weight[n]], (at, vectors, ahead), [sums[n]])[0];
        }
        sums = add::<I, E, N>(isa, part, start..end, weight, (at, vectors, ahead), sums);
        for n in 0..N {
            let own = end..ranges[n].end;
            sums[n] =
                add::<I, E, 1>(isa, part, own, [weight[n]], (at, vectors, ahead), [sums[n]])[0];
            for v in 0..vectors {
                isa.store(places[n].add(at + v * I::LANES), sums[n][v]);
            }
        }
    }
}

/// Writes the weights of the blocks that hold `range`, each multiplied by its position's scale of a
/// group of elements.
///
/// # Safety
/// Both pointers are to the weights of a span, and the cache holds the positions of `range`.
#[inline(always)]
unsafe fn scale_weights<I: Isa>(
    isa: I,
    part: &Part<'_>,
    range: &Range<usize>,
    weights: *const f32,
    group: usize,
    to: *mut f32,
) {
    for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
        let scales =
            part.kv.scales(part.span * (SPAN / BLOCK) + block, Side::Values, part.head, group);
        for at in (0..BLOCK).step_by(I::LANES) {
            // SAFETY: as the caller's; a block is a whole number of vectors.
            unsafe {
                let weight = isa.load(weights.add(block * BLOCK + at));
                let scaled = isa.mul(weight, isa.load_f16(scales.add(at)));
                isa.store(to.add(block * BLOCK + at), scaled);
            }
        }
    }
}

/// Adds the weighted values of `positions` to the sums of `N` queries, in ascending order. If there
/// is one vector, the second sum repeats the first.
///
/// # Safety
/// The cache holds the positions, each query has a weight for them, and `at` and `vectors` lie
/// inside `dim`.
#[inline(always)]
unsafe fn add<I: Isa, E: Stored, const N: usize>(
    isa: I,
    part: &Part<'_>,
    positions: Range<usize>,
    weights: [*const f32; N],
    (at, vectors, ahead): (usize, usize, [*const u8; 2]),
    mut sums: [[I::Floats; WIDE]; N],
) -> [[I::Floats; WIDE]; N] {
    let mut position = positions.start;
    while position < positions.end {
        let (block, slot) = (position / BLOCK, position % BLOCK);
        let values = part.kv.values(part.span * (SPAN / BLOCK) + block, part.head);
        let stride = bytes::<E>(part.kv.dim());
        let second = if vectors > 1 { at + I::LANES } else { at };
        // SAFETY: as the caller's.
        unsafe {
            let mut p = values.add(slot * stride);
            let mut ahead = ahead[block].wrapping_add(bytes::<E>(slot * WIDE * I::LANES));
            for position in position..positions.end.min((block + 1) * BLOCK) {
                isa.prefetch(ahead);
                ahead = ahead.wrapping_add(bytes::<E>(WIDE * I::LANES));
                let v = [E::load(isa, p, at), E::load(isa, p, second)];
                for n in 0..N {
                    let weight = isa.splat(*weights[n].add(position));
                    for i in 0..WIDE {
                        sums[n][i] = isa.fma(weight, v[i], sums[n][i]);
                    }
                }
                p = p.add(stride);
            }
        }
        position = (block + 1) * BLOCK;
    }
    sums
}
