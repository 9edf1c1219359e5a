//! Q4_K in tiles: f16 `d`, f16 `dmin`, the eight scales and eight minima as bytes, then eight runs
//! of nibbles. Whole bytes for six-bit scales cost 2.8 % of size and save their unpacking.

use super::super::TensorType;
use super::super::block::part;
use super::super::tile::*;
use super::{pack_nibbles as file_nibbles, pack_scales, unpack_scales};
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q4KTile;

/// Units of the head: what comes before the runs.
pub(in crate::quant) const HEAD: usize = 4 + 8 + 8;

impl Tile for Q4KTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q4_K;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            pack_head(block, lanes, lane, head);
            for (s, run) in runs.chunks_exact_mut(16 * lanes).enumerate() {
                pack_nibbles(&run_nibbles(part(block, 16), s), lanes, lane, run);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 256];
        let runs = tile[HEAD * lanes..].chunks_exact(16 * lanes);
        for (run, quants) in runs.zip(quants.as_chunks_mut().0) {
            restore_nibbles(run, lanes, lane, quants);
        }
        restore_head(tile, lanes, lane, block);
        block[16..144].copy_from_slice(&file_nibbles(&quants));
    }
}

impl Source for Q4KTile {
    const UNITS: usize = HEAD + 8 * 16;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Unsigned { bits: 4 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of four vectors follow the head.
        unsafe { nibbles(isa, p.add((HEAD + 16 * run + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the head is laid out as `scale_min` wants it.
        unsafe { scale_min(isa, p, run) }
    }
}

/// The 32 nibbles of sub-block `s`.
#[inline(always)]
pub(in crate::quant) fn run_nibbles(nibbles: &[u8; 128], s: usize) -> [u8; 32] {
    part::<32>(nibbles, s / 2 * 32).map(|byte| (byte >> (s % 2 * 4)) & 15)
}

/// Writes a row's part of the head; `block` opens as in Q4_K and Q5_K.
#[inline(always)]
pub(in crate::quant) fn pack_head(block: &[u8], lanes: usize, lane: usize, head: &mut [u8]) {
    put_f16(head, lane, block);
    put_f16(head, lanes + lane, &block[2..]);
    let (scales, mins) = unpack_scales(part(block, 4));
    for s in 0..8 {
        head[(4 + s) * lanes + lane] = scales[s];
        head[(12 + s) * lanes + lane] = mins[s];
    }
}

/// The reverse of [`pack_head`].
pub(in crate::quant) fn restore_head(head: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
    block[..2].copy_from_slice(&head[2 * lane..][..2]);
    block[2..4].copy_from_slice(&head[2 * (lanes + lane)..][..2]);
    let scales = std::array::from_fn(|s| head[(4 + s) * lanes + lane]);
    let mins = std::array::from_fn(|s| head[(12 + s) * lanes + lane]);
    block[4..16].copy_from_slice(&pack_scales(&scales, &mins));
}

/// Scale and (negated) minimum of a run.
///
/// # Safety
/// `p` points to a head.
#[inline(always)]
pub(in crate::quant) unsafe fn scale_min<I: Isa>(
    isa: I,
    p: *const u8,
    run: usize,
) -> ScaleMin<I::Floats> {
    // SAFETY: the offsets are those of `pack_head`.
    unsafe {
        let d = isa.load_f16(p.cast());
        let dmin = isa.load_f16(p.add(2 * I::LANES).cast());
        let scale = isa.mul(d, isa.load_u8(p.add((4 + run) * I::LANES)));
        let min = isa.mul(dmin, isa.load_u8(p.add((12 + run) * I::LANES)));
        ScaleMin { scale, min: isa.sub(isa.splat(0.0), min) }
    }
}
