//! IQ1_S in tiles: f16 `d`, the scales as signed bytes (`2 s + 1`, with the sign of the shift),
//! then eight runs of two bits. The offset of 1 is in the integer sum, the shift is a minimum.

use super::super::TensorType;
use super::super::codebook::{Codebook, Codes};
use super::super::tile::*;
use super::IQ1_S;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Iq1STile;

/// Units of the head: what comes before the runs.
const HEAD: usize = 2 + 8;

impl Tile for Iq1STile {
    type Read = Self;
    const TYPE: TensorType = TensorType::IQ1_S;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (head, runs) = out.split_at_mut(HEAD * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            let codes = IQ1_S::unpack(block.first_chunk().expect("a block"));
            put_f16(head, lane, &codes.d);
            let quants = codes.quants.as_chunks::<32>().0;
            for (r, (run, quants)) in runs.chunks_exact_mut(8 * lanes).zip(quants).enumerate() {
                let scale = 2 * codes.scales[2 * r] as i8 + 1;
                let down = quants[0] & 4 != 0;
                head[(2 + r) * lanes + lane] = if down { -scale } else { scale } as u8;
                pack_two_bits(quants, lanes, lane, run);
            }
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let d = [tile[2 * lane], tile[2 * lane + 1]];
        let mut codes = Codes { d, scales: [0; 16], quants: [0; 256] };
        let runs = tile[HEAD * lanes..].chunks_exact(8 * lanes);
        for (r, (run, quants)) in runs.zip(codes.quants.as_chunks_mut().0).enumerate() {
            let scale = tile[(2 + r) * lanes + lane] as i8;
            codes.scales[2 * r..2 * r + 2].fill(scale.unsigned_abs() >> 1);
            *quants = [if scale < 0 { 4 } else { 0 }; 32];
            restore_two_bits(run, lanes, lane, quants);
        }
        block.copy_from_slice(&IQ1_S::pack(&codes));
    }
}

impl Source for Iq1STile {
    const UNITS: usize = HEAD + 8 * 8;
    const RUNS: usize = 8;
    const DOT: DotForm = DotForm::Centred { bits: 1 };
    const HAS_MIN: bool = true;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight runs of two vectors follow the head.
        unsafe { two_bits(isa, p.add((HEAD + 8 * run) * I::LANES), pair, 0) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats> {
        // SAFETY: `d` opens the block, and eight vectors of scales follow.
        let (d, k) =
            unsafe { (isa.load_f16(p.cast()), isa.load_i8(p.add((2 + run) * I::LANES).cast())) };
        let min = isa.mul(isa.mul(d, isa.splat(0.125)), k);
        ScaleMin { scale: isa.mul(d, isa.abs(k)), min }
    }
}
