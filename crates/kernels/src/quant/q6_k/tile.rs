//! Q6_K in tiles: f16 `d`, sixteen i8 scales, then eight runs: nibbles and two vectors of high
//! bits. The offset of 32 is in the integer sum. The size is that of the file.

use super::super::TensorType;
use super::super::block::part;
use super::super::q2_k;
use super::super::tile::*;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q6KTile;

/// Units of the head: what comes before the runs.
const HEAD: usize = 2 + 16;

impl Tile for Q6KTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q6_K;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(head, lane, &block[208..]);
            for (s, &scale) in block[192..208].iter().enumerate() {
                head[(2 + s) * lanes + lane] = scale;
            }
            let (low, high): (&[u8; 128], &[u8; 64]) = (part(block, 0), part(block, 128));
            for (s, run) in runs.chunks_exact_mut(24 * lanes).enumerate() {
                let quants = run_quants(low, high, s);
                pack_nibbles(&quants, lanes, lane, run);
                pack_high::<2>(&quants, lanes, lane, &mut run[16 * lanes..]);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 256];
        let runs = tile[HEAD * lanes..].chunks_exact(24 * lanes);
        for (run, quants) in runs.zip(quants.as_chunks_mut().0) {
            restore_nibbles(run, lanes, lane, quants);
            restore_high::<2>(&run[16 * lanes..], lanes, lane, quants);
        }
        block[..128].copy_from_slice(&super::pack_low(&quants));
        block[128..192].copy_from_slice(&q2_k::pack_bit_pairs(&quants.map(|q| q >> 4)));
        for (s, scale) in block[192..208].iter_mut().enumerate() {
            *scale = tile[(2 + s) * lanes + lane];
        }
        block[208..210].copy_from_slice(&tile[2 * lane..][..2]);
    }
}

impl Source for Q6KTile {
    const UNITS: usize = HEAD + 8 * 24;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Halves;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of four vectors of nibbles and two of high bits follow the head.
        unsafe {
            let run = p.add((HEAD + 24 * run) * I::LANES);
            let (a, b) = nibbles(isa, run.add(4 * pair * I::LANES));
            let high = isa.bytes(run.add((16 + pair / 2 * 4) * I::LANES));
            let (c, d) = if pair.is_multiple_of(2) {
                (isa.shl(high, 4), isa.shl(high, 2))
            } else {
                (high, isa.shr(high, 2))
            };
            (isa.or(a, isa.and(c, 0x30)), isa.or(b, isa.and(d, 0x30)))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }

    #[inline(always)]
    unsafe fn halves<I: Isa>(p: *const u8, run: usize) -> *const i8 {
        // SAFETY: sixteen vectors of i8 follow `d`.
        unsafe { p.add((2 + 2 * run) * I::LANES).cast() }
    }
}

/// The 32 quants that begin at `32 s`.
#[inline(always)]
fn run_quants(low: &[u8; 128], high: &[u8; 64], s: usize) -> [u8; 32] {
    let low: &[u8; 32] = part(low, s / 4 * 64 + s % 2 * 32);
    let high: &[u8; 32] = part(high, s / 4 * 32);
    let (low_shift, high_shift) = (s % 4 / 2 * 4, s % 4 * 2);
    let mut quants = [0; 32];
    for ((q, low), high) in quants.iter_mut().zip(low).zip(high) {
        *q = ((low >> low_shift) & 15) | (((high >> high_shift) & 3) << 4);
    }
    quants
}
