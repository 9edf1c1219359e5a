//! MXFP4 in tiles: the exponents, then nibbles. Levels are looked up with an offset of 16, which is
//! in the integer sum, so that they multiply as five unsigned bits.

use super::super::TensorType;
use super::super::q4_0::tile::split_nibbles;
use super::super::q4_0::write_nibbles;
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Mxfp4Tile;

/// The levels, plus 16.
const RAISED: [u8; 16] = level_table(&super::LEVELS, 16);

impl Tile for Mxfp4Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::MXFP4;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (exponents, run) = out.split_at_mut(lanes);
        for (lane, block) in blocks.iter().enumerate() {
            exponents[lane] = block[0];
            pack_nibbles(&split_nibbles(&block[1..]), lanes, lane, run);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[lanes..], lanes, lane, &mut quants);
        block[0] = tile[lane];
        write_nibbles(&quants, (&mut block[1..17]).try_into().expect("16 bytes"));
    }
}

impl Source for Mxfp4Tile {
    const UNITS: usize = 17;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Centred { bits: 5 };
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the four vectors of nibbles follow the exponents.
        let (a, b) = unsafe { nibbles(isa, p.add((1 + 4 * pair) * I::LANES)) };
        (isa.lookup(&RAISED, a), isa.lookup(&RAISED, b))
    }

    /// `2^(e - 128)` in two factors, as the two smallest are denormal.
    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the exponents open the block.
        let n = isa.sub(unsafe { isa.load_u8(p) }, isa.splat(128.0));
        let smallest = isa.splat(-126.0);
        let below = isa.select_lt(n, smallest, isa.sub(n, smallest), isa.splat(0.0));
        let scale = isa.mul(isa.exp2_whole(isa.max(n, smallest)), isa.exp2_whole(below));
        ScaleMin { scale, min: isa.splat(0.0) }
    }
}
