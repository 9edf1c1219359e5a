//! Q5_1 in tiles: f16 `d`, f16 `m`, nibbles, then the fifth bits.

use super::super::TensorType;
use super::super::block::part;
use super::super::q4_0::write_nibbles;
use super::super::q5_0::{fifth_bits, read_quants};
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q5_1Tile;

impl Tile for Q5_1Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q5_1;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, run) = out.split_at_mut(4 * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            let quants = read_quants(part(block, 4), part(block, 8));
            put_f16(head, lane, block);
            put_f16(head, lanes + lane, &block[2..]);
            pack_nibbles(&quants, lanes, lane, run);
            pack_high::<1>(&quants, lanes, lane, &mut run[16 * lanes..]);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[4 * lanes..], lanes, lane, &mut quants);
        restore_high::<1>(&tile[20 * lanes..], lanes, lane, &mut quants);
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        block[2..4].copy_from_slice(&tile[2 * (lanes + lane)..][..2]);
        block[4..8].copy_from_slice(&fifth_bits(&quants));
        write_nibbles(&quants, (&mut block[8..24]).try_into().expect("16 bytes"));
    }
}

impl Source for Q5_1Tile {
    const UNITS: usize = 24;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Unsigned { bits: 5 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: four vectors of nibbles follow scales and minima, then one of fifth bits.
        unsafe {
            let (a, b) = nibbles(isa, p.add((4 + 4 * pair) * I::LANES));
            let high = isa.bytes(p.add(20 * I::LANES));
            (with_fifth(isa, a, high, 2 * pair), with_fifth(isa, b, high, 2 * pair + 1))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block, and the minima follow.
        unsafe { f16_scale_min(isa, p) }
    }
}
