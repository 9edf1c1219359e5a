//! IQ4_NL in tiles: those of Q4_0; the levels are looked up as they are multiplied.

use super::super::TensorType;
use super::super::q4_0::tile::Q4_0Tile;
use super::super::tile::*;
use super::LEVELS;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Iq4NlTile;

impl Tile for Iq4NlTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::IQ4_NL;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        Q4_0Tile::pack(blocks, out);
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        Q4_0Tile::restore(tile, lanes, lane, block);
    }
}

impl Source for Iq4NlTile {
    const UNITS: usize = Q4_0Tile::UNITS;
    const RUNS: usize = Q4_0Tile::RUNS;
    const DOT: DotForm = DotForm::Signed;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the four vectors of nibbles follow the scales.
        unsafe { levels(isa, p.add((2 + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: as the caller's, the layouts are the same.
        unsafe { Q4_0Tile::scale(isa, p, run) }
    }
}

/// Two groups of levels from a vector of nibbles.
///
/// # Safety
/// `p` points to LANES x 4 bytes.
#[inline(always)]
pub(in crate::quant) unsafe fn levels<I: Isa>(isa: I, p: *const u8) -> (I::Bytes, I::Bytes) {
    const TABLE: [u8; 16] = level_table(&LEVELS, 0);
    // SAFETY: as the caller's.
    let (a, b) = unsafe { nibbles(isa, p) };
    (isa.lookup(&TABLE, a), isa.lookup(&TABLE, b))
}
