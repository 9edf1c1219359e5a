//! Exact screening: of a product with one row of activations, only the largest outputs, for little
//! more than half of the bytes.
//!
//! A weight in planes is `w = c + e`: `c` what its high plane says, `e` the residual. With `y` the
//! activations as the kernels see them, `w y = c y + e y`, and `|e y| <= |e| |y|`. Most of `y` lies
//! in a few directions `v` that all inputs share ([`Screen::learn`]), so `y = sum of p v + z` with
//! a much shorter `z`; the products `e v` are kept for every row, and
//!
//! ```text
//! w y <= c y + sum of p (e v) + |e| |z|
//! ```
//!
//! is what the first pass computes (`coarse.rs`), rounding outward (`bound.rs`). Whoever stays
//! below a score that is known exactly is out; the others are multiplied whole, by the kernel of
//! the whole product, so their scores have the same bits. A bad choice of directions costs speed
//! and never a result.

mod bound;
mod coarse;
mod directions;
mod learn;
#[cfg(test)]
mod tests;

use super::acts::{Acts, Reads};
use super::{Weight, linear};
use crate::pool::Pool;
use coarse::Coarse;

/// Directions that are taken out: as many as a block of Q8_0 holds.
const DIRECTIONS: usize = 32;

/// Tiles scored in one dispatch at most: the threshold rises between dispatches.
const BATCH: usize = 512;

/// Tiles scored at first, at least.
const SEEDS: usize = 8;

/// Tiles that one block of seeds is found among, at most.
const SEED_BLOCK: usize = 64;

/// Tiles of a unit that scores.
const SCORED: usize = 4;

/// What of a product is wanted: outputs that fail one of the two may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Outputs not below the one of this rank; 0 sets no such limit.
    pub top: usize,
    /// Outputs at most this far below the largest; infinity sets no such limit.
    pub within: f32,
}

impl Need {
    /// Only the largest output, and those equal to it.
    pub const BEST: Self = Self { top: 1, within: f32::INFINITY };

    /// What no wanted output is below, as far as `scores`, some of them, tell.
    /// Drops scores that can tell no more.
    fn threshold(self, scores: &mut Vec<f32>) -> f32 {
        let (rank, near) = (self.top.max(1), |best: f32| best - self.within);
        if scores.len() < rank {
            return near(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
        let (_, last, _) = scores.select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a));
        let last = if self.top == 0 { f32::NEG_INFINITY } else { *last };
        scores.truncate(rank);
        last.max(near(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)))
    }
}

/// What a weight in planes needs besides, to be screened.
#[derive(Debug)]
pub struct Screen {
    /// The directions `v`, about orthonormal. `[DIRECTIONS][cols]`
    directions: Vec<f32>,
    /// Their products with each other.
    gram: Vec<f64>,
    /// Products `e v / |e|` of all rows. `[rows][DIRECTIONS]`
    along: Weight,
    /// How far a row of `along` is, at most, from what it was rounded from.
    rounding: f64,
    /// `|e|` of all rows of all tiles, rounded up.
    norms: Vec<f32>,
    /// The largest of them.
    largest: f32,
}

/// Buffers of a screening, kept between calls.
#[derive(Debug, Default)]
pub struct Work {
    y: Vec<f32>,
    parts: Vec<f32>,
    p: Acts,
    /// Upper bound of each tile's scores.
    upper: Vec<f32>,
    seeds: Vec<(f32, u32)>,
    open: Vec<(f32, u32)>,
    scores: Vec<f32>,
}

/// How much work a screening was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Screened {
    /// Rows multiplied whole.
    pub scored: usize,
    /// Rows in all.
    pub rows: usize,
    /// Bytes read by the first pass, as a share of those of the whole product.
    pub first: f32,
}

impl Screen {
    /// Bytes kept for a weight.
    pub fn bytes(&self) -> usize {
        let floats = self.directions.len() + self.norms.len();
        self.along.bytes() + 4 * floats + 8 * self.gram.len()
    }

    /// Computes the outputs that `need` asks for, with the bits that [`linear`] gives them; the
    /// others are computed too or set to minus infinity. If the pool is stopped, outputs are
    /// incomplete.
    ///
    /// # Panics
    /// As [`linear`]; if the screen was made for another weight, or there is not one row.
    pub fn run(
        &self,
        pool: &Pool,
        weight: &Weight,
        acts: &Acts,
        need: Need,
        work: &mut Work,
        out: &mut [f32],
    ) -> Screened {
        let planes = weight.planes().expect("a screened weight is in planes");
        assert_eq!(self.along.rows(), weight.rows(), "the screen was made for another weight");
        assert_eq!((acts.rows(), acts.cols()), (1, weight.cols()), "activations of a screening");
        assert_eq!(out.len(), weight.rows(), "outputs of a screening");
        assert_eq!(acts.lanes, weight.lanes(), "the activations were made for another level");
        let factor = self.factor(pool, acts, work);
        // Where sums could overflow no bound holds.
        let bounded = (factor * self.largest).abs() < 1e30;
        let tiles = bounded.then(|| {
            let pass = Coarse { screen: self, weight, planes, acts, p: &work.p, factor };
            pass.run(pool, &mut work.upper, out);
            settle(pool, weight, acts, need, work, out)
        });
        let first = planes.high(0).len() * weight.tiles() + self.bytes();
        let scored = tiles.flatten().map_or(weight.rows(), |tiles| tiles * weight.tile_rows());
        if tiles.flatten().is_none() {
            linear(pool, acts, &mut [(weight, out)]);
        }
        Screened {
            scored: scored.min(weight.rows()),
            rows: weight.rows(),
            first: first as f32 / weight.bytes() as f32,
        }
    }
}

/// Scores the most promising tiles, then all others that may still matter; their number, or `None`
/// if they are so many that the whole product is cheaper.
fn settle(
    pool: &Pool,
    weight: &Weight,
    acts: &Acts,
    need: Need,
    work: &mut Work,
    out: &mut [f32],
) -> Option<usize> {
    let Work { upper, seeds, open, scores, .. } = work;
    let wanted = need.top.max(SEEDS);
    let block = (upper.len() / (4 * wanted)).clamp(1, SEED_BLOCK);
    seeds.clear();
    seeds.extend(upper.chunks(block).enumerate().map(|(i, tiles)| best_of(tiles, i * block)));
    seeds.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    seeds.truncate(wanted);
    scores.clear();
    let mut threshold = score(pool, weight, acts, seeds, need, scores, out)?;
    let mut scored = seeds.len();
    for (_, tile) in seeds.iter() {
        // Not to be listed again.
        upper[*tile as usize] = f32::NAN;
    }
    open.clear();
    let tiles = upper.iter().zip(0..).filter(|(upper, _)| **upper >= threshold);
    open.extend(tiles.map(|(upper, tile)| (*upper, tile)));
    if open.len() > upper.len() / 3 * 2 {
        return None;
    }
    for batch in open.chunks(BATCH) {
        seeds.clear();
        seeds.extend(batch.iter().filter(|(upper, _)| *upper >= threshold));
        threshold = score(pool, weight, acts, seeds, need, scores, out)?;
        scored += seeds.len();
    }
    Some(scored)
}

/// The tile with the highest bound, and its number; `first` is that of the first.
fn best_of(tiles: &[f32], first: usize) -> (f32, u32) {
    let (mut best, mut at) = (f32::NEG_INFINITY, 0);
    for (i, &upper) in tiles.iter().enumerate() {
        if upper > best {
            (best, at) = (upper, i);
        }
    }
    (best, (first + at) as u32)
}

/// The outputs of one call, lent to all threads.
struct Outputs(*mut f32);

// SAFETY: no two units write the same tile's outputs, and nobody else has them meanwhile.
unsafe impl Sync for Outputs {}

/// Multiplies the tiles whole, adds their scores to `scores`, and gives the threshold that follows;
/// `None` if a score is no number, of which the whole product is to tell.
fn score(
    pool: &Pool,
    weight: &Weight,
    acts: &Acts,
    tiles: &[(f32, u32)],
    need: Need,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) -> Option<f32> {
    let planes = weight.planes()?;
    let outputs = Outputs(out.as_mut_ptr());
    pool.run_units(tiles.len().div_ceil(SCORED), &|unit, _| {
        let outputs = &outputs;
        let own = &tiles[unit * SCORED..tiles.len().min((unit + 1) * SCORED)];
        own.iter().for_each(|&(_, tile)| planes.ask(pool.cpu(), tile as usize));
        for &(_, tile) in own {
            let tile = tile as usize;
            // SAFETY: the caller checked the sizes, and each tile is listed once.
            unsafe { weight.multiply(tile..tile + 1, 0..1, acts, outputs.0) };
        }
    });
    let rows = weight.tile_rows();
    for &(_, tile) in tiles {
        let first = tile as usize * rows;
        scores.extend_from_slice(&out[first..weight.rows().min(first + rows)]);
    }
    let numbers = scores.iter().all(|score| score.is_finite());
    numbers.then(|| need.threshold(scores))
}
