//! Q5_0: 32 weights in 22 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 4 | u32 `h`: bit `j` is bit 4 of weight `j` |
//! | 6 | 16 | byte `j`: low bits of weight `j` in the low nibble, of `j + 16` in the high one |
//!
//! `x = d (q - 16)`

pub(crate) mod tile;

use super::block::{Block, Encode, inverse, part, part_mut, signed_peak};
use super::{f16, q4_0};

pub(super) struct Q5_0;

impl Block<32, 22> for Q5_0 {
    #[inline(always)]
    fn decode(block: &[u8; 22], out: &mut [f32; 32]) {
        let d = f16::scale(block, 0);
        let quants = read_quants(part(block, 2), part(block, 6));
        for (out, q) in out.iter_mut().zip(quants) {
            *out = d * (i32::from(q) - 16) as f32;
        }
    }
}

impl Encode<32, 22> for Q5_0 {
    /// The value of largest magnitude becomes -16, the end of the longer half of the range.
    fn encode(x: &[f32; 32], block: &mut [u8; 22]) {
        let d = signed_peak(x) / -16.0;
        let inv = inverse(d);
        let quants = x.map(|x| ((x * inv + 16.5) as u8).min(31));
        *part_mut(block, 0) = f16::bytes_of(d);
        *part_mut(block, 2) = fifth_bits(&quants);
        q4_0::write_nibbles(&quants, part_mut(block, 6));
    }
}

/// The 32 five-bit quants of Q5_0 and Q5_1.
#[inline(always)]
pub(super) fn read_quants(high: &[u8; 4], nibbles: &[u8; 16]) -> [u8; 32] {
    let high = u32::from_le_bytes(*high);
    let mut quants = [0; 32];
    let (first, second) = quants.split_at_mut(16);
    for (j, ((first, second), &q)) in first.iter_mut().zip(second).zip(nibbles).enumerate() {
        *first = (q & 15) | ((high >> j << 4) & 16) as u8;
        *second = (q >> 4) | ((high >> (j + 12)) & 16) as u8;
    }
    quants
}

/// Bit 4 of 32 quants, as stored.
pub(super) fn fifth_bits(quants: &[u8; 32]) -> [u8; 4] {
    let bits = quants.iter().enumerate().map(|(j, &q)| u32::from(q >> 4) << j);
    bits.fold(0, |all, bit| all | bit).to_le_bytes()
}
