//! Q4_0: 32 weights in 18 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 16 | byte `j`: `q` of weight `j` in the low nibble, of weight `j + 16` in the high one |
//!
//! `x = d (q - 8)`

pub(crate) mod tile;

use super::block::{Block, Encode, inverse, part_mut, signed_peak};
use super::f16;

pub(super) struct Q4_0;

impl Block<32, 18> for Q4_0 {
    #[inline(always)]
    fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
        let d = f16::scale(block, 0);
        let [_, _, quants @ ..] = block;
        let (low, high) = out.split_at_mut(16);
        for ((low, high), &q) in low.iter_mut().zip(high).zip(quants) {
            *low = d * (i32::from(q & 15) - 8) as f32;
            *high = d * (i32::from(q >> 4) - 8) as f32;
        }
    }
}

impl Encode<32, 18> for Q4_0 {
    /// The value of largest magnitude becomes -8, the end of the longer half of the range.
    fn encode(x: &[f32; 32], block: &mut [u8; 18]) {
        let d = signed_peak(x) / -8.0;
        let inv = inverse(d);
        let level = |x: f32| ((x * inv + 8.5) as u8).min(15);
        *part_mut(block, 0) = f16::bytes_of(d);
        write_nibbles(&x.map(level), part_mut(block, 2));
    }
}

/// Puts the low four bits of 32 quants into 16 bytes, as all formats with blocks of 32 do.
pub(super) fn write_nibbles(quants: &[u8; 32], bytes: &mut [u8; 16]) {
    for (j, byte) in bytes.iter_mut().enumerate() {
        *byte = (quants[j] & 15) | (quants[j + 16] << 4);
    }
}
