//! Q8_0 in tiles: f16 `d`, then eight vectors of signed weights.

use super::super::TensorType;
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q8_0Tile;

impl Tile for Q8_0Tile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q8_0;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (d, run) = out.split_at_mut(2 * lanes);
        let (run, _) = run.as_chunks_mut::<4>();
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(d, lane, block);
            for (group, four) in block[2..].as_chunks::<4>().0.iter().enumerate() {
                run[group * lanes + lane] = *four;
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let (run, _) = tile[2 * lanes..].as_chunks::<4>();
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        for (group, four) in block[2..].as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *four = run[group * lanes + lane];
        }
    }
}

impl Source for Q8_0Tile {
    const UNITS: usize = 34;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Signed;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the eight vectors of weights follow the scales.
        unsafe {
            let at = p.add((2 + 8 * pair) * I::LANES);
            (isa.bytes(at), isa.bytes(at.add(4 * I::LANES)))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }
}
