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
use span::{Part, Query};
use std::marker::PhantomData;
use std::ops::Range;

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
    /// Elements of a head.
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
        while first < end {
            let count = (end - first).min(IN_FLIGHT);
            let mut running = [Running::EMPTY; IN_FLIGHT];
            let earliest = call.query(job, head, first).seen.start / SPAN;
            let latest = call.query(job, head, first + count - 1).seen.end.div_ceil(SPAN);
            for span in earliest..latest {
                if call.pool.stopped() {
                    return;
                }
                let mut done = 0;
                while done < count {
                    let take = (count - done).min(span::QUERIES);
                    let queries: [Query; span::QUERIES] =
                        [0, 1, 2, 3].map(|i| call.query(job, head, first + done + i.min(take - 1)));
                    let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span };
                    let sink = ToOutput { call, running: &mut running[done..done + take] };
                    span::run::<I, E, _>(isa, &part, &queries[..take], sink);
                    done += take;
                }
            }
            for (i, running) in running[..count].iter().enumerate() {
                let at = call.query(job, head, first + i).at;
                // SAFETY: this unit alone has these rows and heads.
                let out = unsafe { call.out.part(at..at + call.shape.head_dim) };
                running.finish(isa, out);
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
        let mut done = 0;
        while done < count {
            let take = (count - done).min(span::QUERIES);
            let queries: [Query; span::QUERIES] =
                [0, 1, 2, 3].map(|i| call.query(job, head, done + i.min(take - 1)));
            let part = Part { q: call.q, shape: call.shape, kv: job.kv, head, span };
            let slot = |i: usize| {
                let query =
                    (done + i) / group * call.shape.heads + head * group + (done + i) % group;
                before + (query * spans.len() + index) * Partial::len(dim)
            };
            let slots = [0, 1, 2, 3].map(slot);
            let sink = ToPartials { partials, slots, dim };
            span::run::<I, E, _>(isa, &part, &queries[..take], sink);
            done += take;
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
            let out = unsafe { call.out.part(query.at..query.at + call.shape.head_dim) };
            let mut running = Running::EMPTY;
            for span in spans.clone() {
                if query.in_span(span).is_empty() {
                    continue;
                }
                let index = row * call.shape.heads + head * group + member;
                let at = before + (index * spans.len() + span - spans.start) * Partial::len(dim);
                // SAFETY: partials were written by the dispatch before; now they are only read.
                let slot = unsafe { partials.part(at..at + Partial::len(dim)) };
                let weights = running.merge(isa, slot[0], slot[1]);
                let (values, _) = slot[Partial::HEAD..].split_at(dim);
                for (at, values) in values.chunks_exact(I::LANES).enumerate() {
                    let at = at * I::LANES;
                    if at < out.len() {
                        // SAFETY: a vector of the slot.
                        let values = unsafe { isa.load(values.as_ptr()) };
                        weights.add(isa, values, &mut out[at..]);
                    }
                }
            }
            running.finish(isa, out);
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

/// Where the result of a span goes.
trait Sink {
    /// Takes maximum and sum of query `i`; what it returns goes back to [`Sink::values`].
    fn begin<I: Isa>(&mut self, isa: I, i: usize, max: f32, sum: f32) -> Weights;
    /// Takes the weighted sums of elements from `at` on of query `i`.
    fn values<I: Isa>(&mut self, isa: I, i: usize, to: (Weights, usize, usize), x: I::Floats);
}

/// Merges at once into the output.
struct ToOutput<'a> {
    call: &'a Call<'a>,
    running: &'a mut [Running],
}

impl Sink for ToOutput<'_> {
    #[inline(always)]
    fn begin<I: Isa>(&mut self, isa: I, i: usize, max: f32, sum: f32) -> Weights {
        self.running[i].merge(isa, max, sum)
    }

    #[inline(always)]
    fn values<I: Isa>(&mut self, isa: I, _: usize, to: (Weights, usize, usize), x: I::Floats) {
        let (weights, head, at) = to;
        let range = head + at..head + self.call.shape.head_dim;
        // SAFETY: this unit alone has this row and head.
        weights.add(isa, x, unsafe { self.call.out.part(range) });
    }
}

/// Keeps the result for later.
struct ToPartials<'a> {
    partials: &'a Disjoint<'a, f32>,
    slots: [usize; span::QUERIES],
    dim: usize,
}

impl Sink for ToPartials<'_> {
    #[inline(always)]
    fn begin<I: Isa>(&mut self, _: I, i: usize, max: f32, sum: f32) -> Weights {
        // SAFETY: this unit alone has this slot.
        let slot = unsafe { self.partials.part(self.slots[i]..self.slots[i] + 2) };
        slot.copy_from_slice(&[max, sum]);
        Weights { old: 0.0, new: 1.0 }
    }

    #[inline(always)]
    fn values<I: Isa>(&mut self, isa: I, i: usize, to: (Weights, usize, usize), x: I::Floats) {
        let start = self.slots[i] + Partial::HEAD + to.2;
        debug_assert!(to.2 + I::LANES <= self.dim);
        // SAFETY: this unit alone has this slot; the vector lies inside `dim`.
        unsafe { isa.store(self.partials.part(start..start + I::LANES).as_mut_ptr(), x) };
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

    /// Adds a span and says how its values and the earlier ones are weighted.
    #[inline(always)]
    fn merge<I: Isa>(&mut self, isa: I, max: f32, sum: f32) -> Weights {
        let first = self.sum == 0.0 && self.max == f32::NEG_INFINITY;
        let top = if max > self.max { max } else { self.max };
        let weight = |max: f32| isa.max_lane(exp(isa, isa.splat(max - top)));
        let old = if first { 0.0 } else { weight(self.max) };
        let new = if first { 1.0 } else { weight(max) };
        self.sum = self.sum * old + sum * new;
        self.max = if first { max } else { top };
        Weights { old, new }
    }

    /// Divides by the sum.
    #[inline(always)]
    fn finish<I: Isa>(self, isa: I, out: &mut [f32]) {
        let _ = isa;
        let factor = 1.0 / self.sum;
        out.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Factors of the earlier spans' values and of the new one's.
#[derive(Clone, Copy)]
struct Weights {
    old: f32,
    new: f32,
}

impl Weights {
    /// `out = out * old + x * new` for the lanes that `out` has; with `old` 0, what `out` held does
    /// not matter.
    #[inline(always)]
    fn add<I: Isa>(self, isa: I, x: I::Floats, out: &mut [f32]) {
        let x = isa.mul(x, isa.splat(self.new));
        let valid = I::LANES.min(out.len());
        let mut lanes = [0.0f32; 16];
        // SAFETY: a vector fits the buffer, and `out` is used whole vectors at a time or not at
        // all.
        unsafe {
            if valid == I::LANES {
                let x = if self.old == 0.0 {
                    x
                } else {
                    isa.fma(isa.load(out.as_ptr()), isa.splat(self.old), x)
                };
                return isa.store(out.as_mut_ptr(), x);
            }
            let x = if self.old == 0.0 {
                x
            } else {
                lanes[..valid].copy_from_slice(&out[..valid]);
                isa.fma(isa.load(lanes.as_ptr()), isa.splat(self.old), x)
            };
            isa.store(lanes.as_mut_ptr(), x);
        }
        out[..valid].copy_from_slice(&lanes[..valid]);
    }
}
