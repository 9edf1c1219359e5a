//! IQ4_XS in tiles: f16 `d`, the eight scales as bytes, then eight runs of nibbles. Whole bytes for
//! six-bit scales cost 1.5 % of size and save their unpacking.

use super::super::TensorType;
use super::super::iq4_nl::tile::levels;
use super::super::q4_0::tile::split_nibbles;
use super::super::q4_0::write_nibbles;
use super::super::tile::*;
use super::{pack_scales, unpack_scales};
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Iq4XsTile;

/// Units of the head: what comes before the runs.
const HEAD: usize = 2 + 8;

impl Tile for Iq4XsTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::IQ4_XS;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(head, lane, block);
            for (s, scale) in unpack_scales(block).into_iter().enumerate() {
                head[(2 + s) * lanes + lane] = scale;
            }
            for (s, run) in runs.chunks_exact_mut(16 * lanes).enumerate() {
                pack_nibbles(&split_nibbles(&block[8 + 16 * s..]), lanes, lane, run);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        let codes = std::array::from_fn(|s| tile[(2 + s) * lanes + lane]);
        block[2..8].copy_from_slice(&pack_scales(&codes));
        let runs = tile[HEAD * lanes..].chunks_exact(16 * lanes);
        for (run, nibbles) in runs.zip(block[8..].as_chunks_mut::<16>().0) {
            let mut quants = [0; 32];
            restore_nibbles(run, lanes, lane, &mut quants);
            write_nibbles(&quants, nibbles);
        }
    }
}

impl Source for Iq4XsTile {
    const UNITS: usize = HEAD + 8 * 16;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Signed;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of four vectors follow the head.
        unsafe { levels(isa, p.add((HEAD + 16 * run + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: `d` opens the block, and eight vectors of scales follow.
        let (d, code) =
            unsafe { (isa.load_f16(p.cast()), isa.load_u8(p.add((2 + run) * I::LANES))) };
        let scale = isa.mul(d, isa.sub(code, isa.splat(32.0)));
        ScaleMin { scale, min: isa.splat(0.0) }
    }
}
