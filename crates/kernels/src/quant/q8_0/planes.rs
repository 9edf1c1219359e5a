//! Q8_0 in two planes: the high half of every weight with the scales, and the low halves apart, so
//! that a first look at a matrix reads little more than half of it. Together they are the tile.
//!
//! A weight is `16 h + l - 128` with `h` and `l` in `0..16`. The first look takes the middle of
//! what the low half can be: `16 h - 120.5`, off by the residual `l - 7.5`.

use super::super::tile::*;
use crate::isa::Isa;

/// Units of the high plane: f16 `d`, then nibbles.
pub(crate) const HIGH: usize = 2 + 16;
/// Units of the low plane: nibbles.
pub(crate) const LOW: usize = 16;

/// `h` of a byte's high nibble, where it stays or 4 bits lower: its top bit flipped.
const TOP: [u8; 16] = flipped(4);
const LOWER: [u8; 16] = flipped(0);

const fn flipped(shift: u32) -> [u8; 16] {
    let mut table = [0; 16];
    let mut h = 0;
    while h < 16 {
        table[h] = ((h as u8) ^ 8) << shift;
        h += 1;
    }
    table
}

/// Takes a block of [`super::tile::Q8_0Tile`] apart.
///
/// # Safety
/// `block` points to one, `high` and `low` to a block of their planes.
#[inline(always)]
pub(crate) unsafe fn split<I: Isa>(isa: I, block: *const u8, high: *mut u8, low: *mut u8) {
    // SAFETY: scales and eight vectors become scales and four vectors of nibbles twice.
    unsafe {
        std::ptr::copy_nonoverlapping(block, high, 2 * I::LANES);
        for pair in 0..4 {
            let (a, b) = super::tile::Q8_0Tile::pair(isa, block, 0, pair);
            let (top_a, top_b) = (isa.and(isa.shr(a, 4), 15), isa.and(isa.shr(b, 4), 15));
            let top = isa.or(isa.lookup(&LOWER, top_a), isa.lookup(&TOP, top_b));
            isa.store_bytes(high.add((2 + 4 * pair) * I::LANES), top);
            let rest = isa.or(isa.and(a, 15), isa.shl(isa.and(b, 15), 4));
            isa.store_bytes(low.add(4 * pair * I::LANES), rest);
        }
    }
}

/// Groups `2 pair` and `2 pair + 1` of a block, put together from both planes: what
/// [`super::tile::Q8_0Tile`] holds.
///
/// # Safety
/// `high` and `low` point to a block of their planes.
#[inline(always)]
pub(crate) unsafe fn join<I: Isa>(
    isa: I,
    high: *const u8,
    low: *const u8,
    pair: usize,
) -> (I::Bytes, I::Bytes) {
    // SAFETY: four vectors of nibbles follow the scales in the one, and are all of the other.
    unsafe {
        let (a, b) = nibbles(isa, high.add((2 + 4 * pair) * I::LANES));
        let (c, d) = nibbles(isa, low.add(4 * pair * I::LANES));
        (isa.or(isa.lookup(&TOP, a), c), isa.or(isa.lookup(&TOP, b), d))
    }
}

/// The high plane, multiplied as `16 h - 120.5`.
#[derive(Clone, Copy)]
pub(crate) struct High;

impl Source for High {
    const UNITS: usize = HIGH;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Unsigned { bits: 4 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: four vectors of nibbles follow the scales.
        unsafe { nibbles(isa, p.add((2 + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        let d = unsafe { isa.load_f16(p.cast()) };
        ScaleMin { scale: isa.mul(d, isa.splat(16.0)), min: isa.mul(d, isa.splat(-120.5)) }
    }
}

/// What the high plane leaves of a whole tile's block: `l - 7.5`.
#[derive(Clone, Copy)]
pub(crate) struct Residual;

impl Source for Residual {
    const UNITS: usize = super::tile::Q8_0Tile::UNITS;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Unsigned { bits: 4 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: as the caller's.
        let (a, b) = unsafe { super::tile::Q8_0Tile::pair(isa, p, run, pair) };
        (isa.and(a, 15), isa.and(b, 15))
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        let d = unsafe { isa.load_f16(p.cast()) };
        ScaleMin { scale: d, min: isa.mul(d, isa.splat(-7.5)) }
    }
}
