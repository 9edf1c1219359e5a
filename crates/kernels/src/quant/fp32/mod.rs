//! F32: little-endian IEEE single precision, 4 bytes each.

use super::block::{Block, Encode};

pub(super) struct F32;

impl Block<1, 4> for F32 {
    #[inline(always)]
    fn decode(block: &[u8; 4], out: &mut [f32; 1]) {
        out[0] = f32::from_le_bytes(*block);
    }
}

impl Encode<1, 4> for F32 {
    fn encode(x: &[f32; 1], block: &mut [u8; 4]) {
        *block = x[0].to_le_bytes();
    }
}
