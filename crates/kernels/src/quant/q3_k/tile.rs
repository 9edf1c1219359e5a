//! Q3_K in tiles: f16 `d`, sixteen i8 scales, then eight runs: two vectors of low bits and one of
//! high ones. Quants are multiplied by eight as they are unpacked: six bits less 32, as in Q6_K,
//! with an eighth of the scale. Whole bytes for six-bit scales cost 3.6 % of size.

use super::super::TensorType;
use super::super::block::part;
use super::super::q2_k::{pack_bit_pairs, run_bit_pairs};
use super::super::tile::*;
use super::{pack_high_bits, pack_scales, unpack_scales};
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Q3KTile;

/// Units of the head: what comes before the runs.
const HEAD: usize = 2 + 16;

impl Tile for Q3KTile {
    type Read = Self;
    const TYPE: TensorType = TensorType::Q3_K;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(head, lane, &block[108..]);
            for (s, code) in unpack_scales(part(block, 96)).into_iter().enumerate() {
                head[(2 + s) * lanes + lane] = code.wrapping_sub(32);
            }
            let high: &[u8; 32] = part(block, 0);
            for (s, run) in runs.chunks_exact_mut(12 * lanes).enumerate() {
                pack_two_bits(&run_bit_pairs(part(block, 32), s), lanes, lane, run);
                let high = high.map(|h| (h >> s & 1) << 4);
                pack_high::<1>(&high, lanes, lane, &mut run[8 * lanes..]);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 256];
        let runs = tile[HEAD * lanes..].chunks_exact(12 * lanes);
        for (run, quants) in runs.zip(quants.as_chunks_mut::<32>().0) {
            let mut high = [0; 32];
            restore_two_bits(run, lanes, lane, quants);
            restore_high::<1>(&run[8 * lanes..], lanes, lane, &mut high);
            quants.iter_mut().zip(high).for_each(|(q, high)| *q |= high >> 2);
        }
        let codes = std::array::from_fn(|s| tile[(2 + s) * lanes + lane].wrapping_add(32));
        block[..32].copy_from_slice(&pack_high_bits(&quants));
        block[32..96].copy_from_slice(&pack_bit_pairs(&quants));
        block[96..108].copy_from_slice(&pack_scales(&codes));
        block[108..110].copy_from_slice(&tile[2 * lane..][..2]);
    }
}

impl Source for Q3KTile {
    const UNITS: usize = HEAD + 8 * 12;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Halves;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of two vectors of low bits and one of high bits follow the head.
        unsafe {
            let run = p.add((HEAD + 12 * run) * I::LANES);
            let (a, b) = two_bits(isa, run, pair, 3);
            let high = isa.bytes(run.add(8 * I::LANES));
            let top = |group| isa.and(moved(isa, high, group, 5), 0x20);
            let group = 2 * pair as i32;
            (isa.or(a, top(group)), isa.or(b, top(group + 1)))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        let d = unsafe { isa.load_f16(p.cast()) };
        ScaleMin { scale: isa.mul(d, isa.splat(0.125)), min: isa.splat(0.0) }
    }

    #[inline(always)]
    unsafe fn halves<I: Isa>(p: *const u8, run: usize) -> *const i8 {
        // SAFETY: sixteen vectors of i8 follow `d`.
        unsafe { p.add((2 + 2 * run) * I::LANES).cast() }
    }
}
