//! Matrix products of activations with stored weights: `out[m][r] = sum over k of x[m][k] w[r][k]`.
//!
//! [`Weight::new`] brings a tensor into the form its kernel reads: integer tiles (`int.rs`, formats
//! in `quant/*/tile.rs`), the same in two planes (`planes.rs`), float tiles (`float.rs`), or the
//! file's own bytes for the portable path (`rows.rs`). [`linear`] cuts the product into units for
//! the pool. Every output has the same bits for any number of rows and any number of threads.
//! [`Screen`] computes only the largest outputs of a weight in planes, with the same bits.

mod acts;
mod expand;
mod float;
mod input;
mod int;
mod pack;
mod planes;
mod rows;
mod screen;
#[cfg(test)]
mod tests;
mod weight;

pub use acts::{Acts, Reads};
pub use input::{Added, Gate, Stream};
pub use screen::{Need, Screen, Screened, Work};
pub use weight::{Weight, WeightError};

use crate::isa::Isa;
use crate::pool::Pool;
use acts::{PANEL, panels};
use std::ops::Range;

/// Weights of a unit: a part of the L2 cache that leaves room for activations, and microseconds of
/// reading, so that threads end together.
const UNIT_BYTES: usize = 64 << 10;

/// Multiply-adds of a unit at most: with a few billion a second, far below the 5 ms in which a
/// cancelled call must end.
const UNIT_OPS: usize = 64 << 20;

/// How one weight's product is cut: `groups` of `tiles` tiles, times `spans` of `panels` panels.
#[derive(Clone, Copy)]
struct Cut {
    tiles: usize,
    groups: usize,
    panels: usize,
    spans: usize,
}

impl Cut {
    fn new(weight: &Weight, acts: &Acts, threads: usize) -> Self {
        let (count, tile_rows) = (weight.tiles(), weight.tile_rows());
        let fair = count.div_ceil(threads * 4);
        let tiles = (UNIT_BYTES / weight.tile_bytes().max(1)).clamp(1, fair.max(1));
        let total = panels(acts.rows);
        let ops = tiles * tile_rows * weight.cols().max(1) * PANEL;
        let span = (UNIT_OPS / ops).clamp(1, total.max(1));
        let groups = count.div_ceil(tiles);
        Self { tiles, groups, panels: span, spans: total.div_ceil(span) }
    }

    fn units(self) -> usize {
        self.groups * self.spans
    }

    /// Tiles and panels of a unit. Units that share weights follow each other.
    fn unit(self, unit: usize, weight: &Weight, acts: &Acts) -> (Range<usize>, Range<usize>) {
        let (group, span) = (unit / self.spans * self.tiles, unit % self.spans * self.panels);
        let total = panels(acts.rows);
        (group..weight.tiles().min(group + self.tiles), span..total.min(span + self.panels))
    }
}

/// Weights of one call of [`linear`] at most.
pub const MAX_SHARED: usize = 8;

/// One product of a call.
#[derive(Clone, Copy)]
struct Product<'a> {
    weight: &'a Weight,
    out: *mut f32,
    cut: Cut,
}

/// The products of one call, lent to all threads.
struct Products<'a>([Option<Product<'a>>; MAX_SHARED]);

// SAFETY: the pointers are to distinct outputs that the caller lends for the call, and no two units
// write the same element.
unsafe impl Sync for Products<'_> {}

impl<'a> Products<'a> {
    /// The product that `unit` of all units belongs to, and the unit's number in it.
    fn find(&self, mut unit: usize) -> Option<(Product<'a>, usize)> {
        for product in self.0.iter().flatten() {
            if unit < product.cut.units() {
                return Some((*product, unit));
            }
            unit -= product.cut.units();
        }
        None
    }
}

/// Multiplies `acts` with up to [`MAX_SHARED`] weights in one dispatch; each output is row-major
/// `[acts.rows()][weight.rows()]`. If the pool is stopped, outputs are incomplete.
///
/// # Panics
/// If a weight's columns are not those of `acts`, it reads a form that `acts` lacks, an output has
/// another size, there are too many weights, or weights and activations were made for other
/// instructions than the pool's.
pub fn linear(pool: &Pool, acts: &Acts, outs: &mut [(&Weight, &mut [f32])]) {
    assert!(outs.len() <= MAX_SHARED, "{} weights in one call", outs.len());
    assert_eq!(acts.lanes, pool.cpu().lanes(), "the activations were made for another level");
    let mut products = Products([None; MAX_SHARED]);
    let mut units = 0;
    for ((weight, out), product) in outs.iter_mut().zip(&mut products.0) {
        assert_eq!(weight.cols(), acts.cols, "columns of the weight and of the activations");
        assert_eq!(out.len(), acts.rows * weight.rows(), "outputs of {} rows", acts.rows);
        assert_eq!(weight.lanes(), acts.lanes, "the weight was packed for another level");
        let (reads, held) = (weight.reads(), acts.reads);
        let enough = (held.quants || !reads.quants) && (held.floats || !reads.floats);
        assert!(enough, "{} reads {reads:?}, the activations hold {held:?}", weight.ty());
        let cut = Cut::new(weight, acts, pool.threads());
        units += cut.units();
        *product = Some(Product { weight, out: out.as_mut_ptr(), cut });
    }
    if acts.cols == 0 {
        outs.iter_mut().for_each(|(_, out)| out.fill(0.0));
        return;
    }
    pool.run_units(units, &|unit, _| {
        let Some((Product { weight, out, cut }, unit)) = products.find(unit) else { return };
        let (tiles, panels) = cut.unit(unit, weight, acts);
        // SAFETY: sizes are checked above, and no two units have the same tile and row.
        unsafe { weight.multiply(tiles, panels, acts, out) };
    });
}

/// Stores the first `valid` lanes.
///
/// # Safety
/// `out` points to `valid` values.
#[inline(always)]
unsafe fn store_lanes<I: Isa>(isa: I, x: I::Floats, out: *mut f32, valid: usize) {
    // SAFETY: as the caller's; a vector fits sixteen values.
    unsafe {
        if valid == I::LANES {
            isa.store(out, x);
        } else {
            let mut lanes = [0.0f32; 16];
            isa.store(lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), out, valid);
        }
    }
}

/// Loads the first `valid` lanes; the others are 0.
///
/// # Safety
/// `p` points to `valid` values.
#[inline(always)]
unsafe fn load_lanes<I: Isa>(isa: I, p: *const f32, valid: usize) -> I::Floats {
    // SAFETY: as the caller's; a vector fits sixteen values.
    unsafe {
        if valid == I::LANES {
            isa.load(p)
        } else {
            let mut lanes = [0.0f32; 16];
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), valid);
            isa.load(lanes.as_ptr())
        }
    }
}
