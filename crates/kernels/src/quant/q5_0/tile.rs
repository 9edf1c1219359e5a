//! Q5_0 in tiles: f16 `d`, nibbles, then the fifth bits. The offset of 16 is in the integer sum.

use super::super::TensorType;
use super::super::block::part;
use super::super::q4_0::write_nibbles;
use super::super::tile::*;
use super::{fifth_bits, read_quants};
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q5_0Tile;

impl Tile for Q5_0Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q5_0;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (d, rest) = out.split_at_mut(2 * lanes);
        let (low, high) = rest.split_at_mut(16 * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            let quants = read_quants(part(block, 2), part(block, 6));
            put_f16(d, lane, block);
            pack_nibbles(&quants, lanes, lane, low);
            pack_high::<1>(&quants, lanes, lane, high);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[2 * lanes..], lanes, lane, &mut quants);
        restore_high::<1>(&tile[18 * lanes..], lanes, lane, &mut quants);
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        block[2..6].copy_from_slice(&fifth_bits(&quants));
        write_nibbles(&quants, (&mut block[6..22]).try_into().expect("16 bytes"));
    }
}

impl Source for Q5_0Tile {
    const UNITS: usize = 22;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Centred { bits: 5 };
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: four vectors of nibbles follow the scales, then one of fifth bits.
        unsafe {
            let (a, b) = nibbles(isa, p.add((2 + 4 * pair) * I::LANES));
            let high = isa.bytes(p.add(18 * I::LANES));
            (with_fifth(isa, a, high, 2 * pair), with_fifth(isa, b, high, 2 * pair + 1))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }
}
