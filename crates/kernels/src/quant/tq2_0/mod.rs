//! TQ2_0: 256 ternary weights in 66 bytes, two bits each.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 64 | byte `32 h + l`: weights `128 h + 32 p + l` at bits `2 p`, for `p` of 0 to 3 |
//! | 64 | 2 | f16 `d` |
//!
//! `x = d (q - 1)`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut, signed_peak};
use super::{f16, q2_k, tq1_0};

#[allow(non_camel_case_types)]
pub(super) struct TQ2_0;

impl Block<256, 66> for TQ2_0 {
    #[inline(always)]
    fn decode(block: &[u8; 66], out: &mut [f32; 256]) {
        let d = f16::scale(block, 64);
        let quants: &[u8; 64] = part(block, 0);
        for (s, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (bytes, shift) = q2_k::bit_pair(quants, s);
            for (out, &q) in out.iter_mut().zip(bytes) {
                *out = d * (i32::from((q >> shift) & 3) - 1) as f32;
            }
        }
    }
}

impl Encode<256, 66> for TQ2_0 {
    fn encode(x: &[f32; 256], block: &mut [u8; 66]) {
        let d = signed_peak(x).abs();
        *part_mut(block, 0) = q2_k::pack_bit_pairs(&tq1_0::ternary(x, d));
        *part_mut(block, 64) = f16::bytes_of(d);
    }
}
