//! BF16: the upper half of an IEEE single, little-endian, 2 bytes each.

use super::block::{Block, Encode};

pub(super) struct BF16;

impl Block<1, 2> for BF16 {
    #[inline(always)]
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
    }
}

impl Encode<1, 2> for BF16 {
    /// Rounds to nearest, ties to even; NaN stays NaN.
    fn encode(x: &[f32; 1], block: &mut [u8; 2]) {
        *block = half::bf16::from_f32(x[0]).to_le_bytes();
    }
}
