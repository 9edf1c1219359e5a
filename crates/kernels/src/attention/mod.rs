//! Attention with grouped heads, sliding windows and score caps, for prefill and decode: causal, or
//! both ways for encoders.
//!
//! Positions are cut into spans at absolute multiples of [`SPAN`]. For each (row, head, span) the
//! arithmetic is one fixed sequence (`span.rs`), and spans are combined in ascending order by one
//! routine (`Running::merge` in `units.rs`), so the bits of an output depend on nothing but its
//! query and the cache: not on how prompts are cut, on company, or on threads. Many rows are done
//! a block of rows at a time, all spans in turn; a few rows over a long cache are done span by span
//! on all threads and combined afterwards.

mod kv;
mod scale;
mod span;
mod stored;
#[cfg(test)]
mod tests;
mod units;

pub use kv::{BLOCK, KvBlock, KvLayer, KvType};

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::element::{Bf16, F16, F32};
use crate::pool::Pool;
use span::Query;
use std::marker::PhantomData;
use std::ops::Range;
use stored::{I4, I8};
use units::{Combine, OneSpan, Partial, RowBlock};

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
    /// What of the positions up to its own a row sees; all of them without one.
    pub window: Option<Window>,
    /// Every row sees all positions of its cache, those after its own too.
    pub both_ways: bool,
    /// Scores become `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
}

/// A part of the positions up to a row's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last ones, so many at most, its own included.
    Last(usize),
    /// Those of its own chunk: positions are cut at multiples of this.
    Chunk(usize),
}

impl Window {
    /// The first position that a row at `position` sees.
    pub fn first(self, position: usize) -> usize {
        match self {
            Self::Last(count) => (position + 1).saturating_sub(count.max(1)),
            Self::Chunk(length) => position / length.max(1) * length.max(1),
        }
    }
}

impl AttnShape {
    /// Positions that a row at `position` sees, of a cache of `len`.
    fn seen(&self, position: usize, len: usize) -> Range<usize> {
        if self.both_ways {
            return 0..len;
        }
        self.window.map_or(0, |window| window.first(position))..position + 1
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
        let seen = |row: usize| shape.seen(self.pos0 + row, self.kv.len());
        seen(0).start / SPAN..seen(self.rows - 1).end.div_ceil(SPAN)
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
                    let partials = &partials;
                    let kernel = OneSpan { call: self, job, head, index, partials, before };
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
                    let partials = &partials;
                    let kernel = Combine { call: self, job, head, row, partials, before };
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
        Typed<K, I8>: Kernel<Output = ()>,
        Typed<K, I4>: Kernel<Output = ()>,
    {
        let cpu = self.pool.cpu();
        match job.kv.ty() {
            KvType::F32 => cpu.run(Typed::<K, F32>(kernel, PhantomData)),
            KvType::F16 => cpu.run(Typed::<K, F16>(kernel, PhantomData)),
            KvType::Bf16 => cpu.run(Typed::<K, Bf16>(kernel, PhantomData)),
            KvType::Q8 => cpu.run(Typed::<K, I8>(kernel, PhantomData)),
            KvType::Q4 => cpu.run(Typed::<K, I4>(kernel, PhantomData)),
        }
    }

    /// Query `index` of a job's kv head: row after row, in each the heads of the group.
    fn query(&self, job: &AttnJob<'_>, head: usize, index: usize) -> Query {
        let group = self.shape.heads / self.shape.kv_heads;
        let (row, head) = (index / group, head * group + index % group);
        let at = ((job.first_row + row) * self.shape.heads + head) * self.shape.head_dim;
        Query { at, seen: self.shape.seen(job.pos0 + row, job.kv.len()) }
    }
}

/// A kernel with the element type of the cache.
struct Typed<K, E>(K, PhantomData<E>);
