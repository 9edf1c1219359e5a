//! TQ2_0 in tiles (TQ1_0 too): f16 `d`, then eight runs of two bits. The offset of 1 is in the
//! integer sum.

use super::super::TensorType;
use super::super::block::part;
use super::super::q2_k::{pack_bit_pairs, run_bit_pairs};
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Tq2_0Tile;

impl Tile for Tq2_0Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::TQ2_0;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        for (lane, block) in blocks.iter().enumerate() {
            let quants = |s| run_bit_pairs(part(block, 0), s);
            pack_ternary(&block[64..], quants, lanes, lane, out);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let quants = restore_ternary(tile, lanes, lane, &mut block[64..66]);
        block[..64].copy_from_slice(&pack_bit_pairs(&quants));
    }
}

impl Source for Tq2_0Tile {
    const UNITS: usize = 2 + 8 * 8;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Centred { bits: 1 };
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of two vectors follow the scales.
        unsafe { two_bits(isa, p.add((2 + 8 * run) * I::LANES), pair, 0) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }
}

/// Writes a row's scale and quants (`quants(s)`: the 32 that begin at `32 s`).
#[inline(always)]
pub(in crate::quant) fn pack_ternary(
    d: &[u8],
    quants: impl Fn(usize) -> [u8; 32],
    lanes: usize,
    lane: usize,
    out: &mut [u8],
) {
    put_f16(out, lane, d);
    for (s, run) in out[2 * lanes..].chunks_exact_mut(8 * lanes).enumerate() {
        pack_two_bits(&quants(s), lanes, lane, run);
    }
}

/// The reverse of [`pack_ternary`].
pub(in crate::quant) fn restore_ternary(
    tile: &[u8],
    lanes: usize,
    lane: usize,
    d: &mut [u8],
) -> [u8; 256] {
    d.copy_from_slice(&tile[2 * lane..][..2]);
    let mut quants = [0; 256];
    let runs = tile[2 * lanes..].chunks_exact(8 * lanes);
    for (run, quants) in runs.zip(quants.as_chunks_mut().0) {
        restore_two_bits(run, lanes, lane, quants);
    }
    quants
}
