//! Q4_1: 32 weights in 20 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 2 | f16 `m` |
//! | 4 | 16 | byte `j`: `q` of weight `j` in the low nibble, of weight `j + 16` in the high one |
//!
//! `x = d q + m`

pub(crate) mod tile;

use super::block::{Block, Encode, extremes, inverse, part, part_mut};
use super::{f16, q4_0};

pub(super) struct Q4_1;

impl Block<32, 20> for Q4_1 {
    #[inline(always)]
    fn decode(block: &[u8; 20], out: &mut [f32; 32]) {
        let (d, m) = (f16::scale(block, 0), f16::scale(block, 2));
        let quants: &[u8; 16] = part(block, 4);
        let (low, high) = out.split_at_mut(16);
        for ((low, high), &q) in low.iter_mut().zip(high).zip(quants) {
            *low = d * f32::from(q & 15) + m;
            *high = d * f32::from(q >> 4) + m;
        }
    }
}

impl Encode<32, 20> for Q4_1 {
    fn encode(x: &[f32; 32], block: &mut [u8; 20]) {
        let (lo, hi) = extremes(x);
        let d = (hi - lo) / 15.0;
        let inv = inverse(d);
        let level = |x: f32| (((x - lo) * inv + 0.5) as u8).min(15);
        *part_mut(block, 0) = f16::bytes_of(d);
        *part_mut(block, 2) = f16::bytes_of(lo);
        q4_0::write_nibbles(&x.map(level), part_mut(block, 4));
    }
}
