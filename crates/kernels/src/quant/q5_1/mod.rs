//! Q5_1: 32 weights in 24 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 2 | f16 `m` |
//! | 4 | 4 | u32 `h`: bit `j` is bit 4 of weight `j` |
//! | 8 | 16 | byte `j`: low bits of weight `j` in the low nibble, of `j + 16` in the high one |
//!
//! `x = d q + m`

pub(crate) mod tile;

use super::block::{Block, Encode, extremes, inverse, part, part_mut};
use super::{f16, q4_0, q5_0};

pub(super) struct Q5_1;

impl Block<32, 24> for Q5_1 {
    #[inline(always)]
    fn decode(block: &[u8; 24], out: &mut [f32; 32]) {
        let (d, m) = (f16::scale(block, 0), f16::scale(block, 2));
        let quants = q5_0::read_quants(part(block, 4), part(block, 8));
        for (out, q) in out.iter_mut().zip(quants) {
            *out = d * f32::from(q) + m;
        }
    }
}

impl Encode<32, 24> for Q5_1 {
    fn encode(x: &[f32; 32], block: &mut [u8; 24]) {
        let (lo, hi) = extremes(x);
        let d = (hi - lo) / 31.0;
        let inv = inverse(d);
        let quants = x.map(|x| (((x - lo) * inv + 0.5) as u8).min(31));
        *part_mut(block, 0) = f16::bytes_of(d);
        *part_mut(block, 2) = f16::bytes_of(lo);
        *part_mut(block, 4) = q5_0::fifth_bits(&quants);
        q4_0::write_nibbles(&quants, part_mut(block, 8));
    }
}
