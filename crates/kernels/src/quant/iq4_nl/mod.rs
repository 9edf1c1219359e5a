//! IQ4_NL: 32 weights in 18 bytes, of 16 unevenly spaced levels.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 16 | byte `j`: `q` of weight `j` in the low nibble, of weight `j + 16` in the high one |
//!
//! `x = d LEVELS[q]`

pub(crate) mod tile;

use super::block::{Block, Encode, inverse, part_mut, signed_peak};
use super::{f16, q4_0};

/// The levels of IQ4_NL and IQ4_XS: denser near zero.
pub(super) const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[allow(non_camel_case_types)]
pub(super) struct IQ4_NL;

impl Block<32, 18> for IQ4_NL {
    #[inline(always)]
    fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
        let d = f16::scale(block, 0);
        let [_, _, quants @ ..] = block;
        decode_nibbles(d, &LEVELS, quants, out);
    }
}

impl Encode<32, 18> for IQ4_NL {
    /// The value of largest magnitude becomes level -127.
    fn encode(x: &[f32; 32], block: &mut [u8; 18]) {
        let d = f16::rounded(signed_peak(x) / -127.0);
        let inv = inverse(d);
        *part_mut(block, 0) = f16::bytes_of(d);
        q4_0::write_nibbles(&x.map(|x| nearest_level(x * inv)), part_mut(block, 2));
    }
}

/// `out = d levels[q]` for 32 nibbles in Q4_0's order.
#[inline(always)]
pub(super) fn decode_nibbles(d: f32, levels: &[i8; 16], quants: &[u8; 16], out: &mut [f32; 32]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &q) in low.iter_mut().zip(high).zip(quants) {
        *low = d * f32::from(levels[usize::from(q & 15)]);
        *high = d * f32::from(levels[usize::from(q >> 4)]);
    }
}

/// Index of the level nearest to `x`, the lower of two equally near.
pub(super) fn nearest_level(x: f32) -> u8 {
    let below = |pair: &[i8]| x > (f32::from(pair[0]) + f32::from(pair[1])) / 2.0;
    LEVELS.windows(2).take_while(|pair| below(pair)).count() as u8
}
