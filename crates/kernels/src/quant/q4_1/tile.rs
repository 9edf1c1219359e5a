//! Q4_1 in tiles: f16 `d`, f16 `m`, then nibbles.

use super::super::TensorType;
use super::super::q4_0::tile::split_nibbles;
use super::super::q4_0::write_nibbles;
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q4_1Tile;

impl Tile for Q4_1Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q4_1;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (d, rest) = out.split_at_mut(2 * lanes);
        let (m, run) = rest.split_at_mut(2 * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(d, lane, block);
            put_f16(m, lane, &block[2..]);
            pack_nibbles(&split_nibbles(&block[4..]), lanes, lane, run);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[4 * lanes..], lanes, lane, &mut quants);
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        block[2..4].copy_from_slice(&tile[2 * (lanes + lane)..][..2]);
        write_nibbles(&quants, (&mut block[4..20]).try_into().expect("16 bytes"));
    }
}

impl Source for Q4_1Tile {
    const UNITS: usize = 20;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Unsigned { bits: 4 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the four vectors of nibbles follow the scales and minima.
        unsafe { nibbles(isa, p.add((4 + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block, and the minima follow.
        unsafe { f16_scale_min(isa, p) }
    }
}
