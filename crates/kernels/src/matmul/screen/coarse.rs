//! The first pass: an upper bound for every tile's scores, from the high plane.

use super::super::int::tile;
use super::super::planes::Planes;
use super::super::{UNIT_BYTES, store_lanes};
use super::{Acts, Screen, Weight};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::quant::q8_0::planes::High;
use crate::quant::q8_0::tile::Q8_0Tile;
use std::ops::Range;

/// Covers what is lost where products leave the normal range of f32.
const TINY: f32 = 1e-30;

/// One pass.
#[derive(Clone, Copy)]
pub(super) struct Coarse<'a> {
    pub(super) screen: &'a Screen,
    pub(super) weight: &'a Weight,
    pub(super) planes: &'a Planes,
    /// One row of activations, and its parts along the directions.
    pub(super) acts: &'a Acts,
    pub(super) p: &'a Acts,
    /// What norms are multiplied with.
    pub(super) factor: f32,
}

impl Coarse<'_> {
    /// Sets `upper` to no less than the largest score of each tile, infinity where none is known,
    /// and `out` to minus infinity.
    pub(super) fn run(self, pool: &Pool, upper: &mut Vec<f32>, out: &mut [f32]) {
        let (tiles, lanes) = (self.weight.tiles(), self.weight.lanes());
        upper.resize(tiles, 0.0);
        let fair = tiles.div_ceil(pool.threads() * 4).max(1);
        let unit_tiles = (UNIT_BYTES / self.planes.high(0).len().max(1)).clamp(1, fair);
        let rows = out.len();
        let (upper, out) = (Disjoint::new(upper), Disjoint::new(out));
        pool.run_units(tiles.div_ceil(unit_tiles), &|unit, _| {
            let first = unit * unit_tiles;
            let tiles = first..tiles.min(first + unit_tiles);
            // SAFETY: each unit has its own tiles.
            let (upper, out) = unsafe {
                let rows = tiles.start * lanes..rows.min(tiles.end * lanes);
                (upper.part(tiles.clone()), out.part(rows))
            };
            pool.cpu().run(Pass { coarse: self, tiles, upper, out });
        });
    }
}

/// The pass over some tiles.
struct Pass<'a> {
    coarse: Coarse<'a>,
    tiles: Range<usize>,
    upper: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { coarse, tiles, upper: uppers, out: outs } = self;
        let Coarse { screen, planes, acts, p, factor, .. } = coarse;
        let (y, p) = (acts.panel(0), p.panel(0));
        let (factor, infinity) = (isa.splat(factor), isa.splat(f32::INFINITY));
        let lowest = isa.splat(f32::NEG_INFINITY);
        let (high, along) = (planes.high(tiles.start), screen.along.int_tile(tiles.start));
        let norms = &screen.norms[tiles.start * I::LANES..tiles.end * I::LANES];
        for (i, norms) in norms.chunks_exact(I::LANES).enumerate() {
            let out = &mut outs[i * I::LANES..];
            let valid = I::LANES.min(out.len());
            // SAFETY: the tiles have these blocks, the panels one row of them, `norms` a vector.
            unsafe {
                let zero = [isa.splat(0.0)];
                let high = high.as_ptr().add(i * high.len());
                let along = along.as_ptr().add(i * along.len());
                let [middle] = tile::<I, High, 1>(isa, high, y, 0..planes.blocks, zero);
                let [shift] = tile::<I, Q8_0Tile, 1>(isa, along, p, 0..1, zero);
                let norms = isa.load(norms.as_ptr());
                let upper = isa.fma(norms, isa.add(shift, factor), middle);
                let upper = isa.add(upper, isa.splat(TINY));
                // What is not finite bounds nothing.
                let upper = isa.select_lt(isa.abs(upper), infinity, upper, infinity);
                uppers[i] = isa.max_lane(upper);
                store_lanes(isa, lowest, out.as_mut_ptr(), valid);
            }
        }
    }
}
