//! Q4_0 in tiles: f16 `d`, then nibbles. The offset of 8 is in the integer sum.

use super::super::TensorType;
use super::super::tile::*;
use super::write_nibbles;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q4_0Tile;

impl Tile for Q4_0Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q4_0;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (d, run) = out.split_at_mut(2 * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(d, lane, block);
            pack_nibbles(&split_nibbles(&block[2..]), lanes, lane, run);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[2 * lanes..], lanes, lane, &mut quants);
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        write_nibbles(&quants, (&mut block[2..18]).try_into().expect("16 bytes"));
    }
}

impl Source for Q4_0Tile {
    const UNITS: usize = 18;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Centred { bits: 4 };
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the four vectors of nibbles follow the scales.
        unsafe { nibbles(isa, p.add((2 + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }
}

/// Quants of a block of 32 in which byte `j` holds weights `j` (low nibble) and `j + 16`.
#[inline(always)]
pub(in crate::quant) fn split_nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut quants = [0; 32];
    for (j, &byte) in bytes[..16].iter().enumerate() {
        (quants[j], quants[j + 16]) = (byte & 15, byte >> 4);
    }
    quants
}
