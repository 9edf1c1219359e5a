//! Q2_K in tiles: f16 `d`, f16 `dmin`, sixteen bytes of scale and minimum, then eight runs of two
//! bits. The size is that of the file.

use super::super::TensorType;
use super::super::block::part;
use super::super::tile::*;
use super::{pack_bit_pairs, run_bit_pairs};
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q2KTile;

/// Units of the head: what comes before the runs.
const HEAD: usize = 4 + 16;

impl Tile for Q2KTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q2_K;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(head, lane, &block[80..]);
            put_f16(head, lanes + lane, &block[82..]);
            for (s, &code) in block[..16].iter().enumerate() {
                head[(4 + s) * lanes + lane] = code;
            }
            for (s, run) in runs.chunks_exact_mut(8 * lanes).enumerate() {
                pack_two_bits(&run_bit_pairs(part(block, 16), s), lanes, lane, run);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 256];
        let runs = tile[HEAD * lanes..].chunks_exact(8 * lanes);
        for (run, quants) in runs.zip(quants.as_chunks_mut().0) {
            restore_two_bits(run, lanes, lane, quants);
        }
        for (s, code) in block[..16].iter_mut().enumerate() {
            *code = tile[(4 + s) * lanes + lane];
        }
        block[16..80].copy_from_slice(&pack_bit_pairs(&quants));
        block[80..82].copy_from_slice(&tile[2 * lane..][..2]);
        block[82..84].copy_from_slice(&tile[2 * (lanes + lane)..][..2]);
    }
}

impl Source for Q2KTile {
    const UNITS: usize = HEAD + 8 * 8;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::HalvesLess;
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of two vectors follow the head.
        unsafe { two_bits(isa, p.add((HEAD + 8 * run) * I::LANES), pair, 0) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: `d` and `dmin` open the block.
        unsafe { f16_scale_min(isa, p) }
    }

    #[inline(always)]
    unsafe fn halves<I: Isa>(p: *const u8, run: usize) -> *const i8 {
        // SAFETY: sixteen vectors of codes follow `d` and `dmin`.
        unsafe { p.add((4 + 2 * run) * I::LANES).cast() }
    }
}
