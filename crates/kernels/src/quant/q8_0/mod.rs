//! Q8_0: 32 weights in 34 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 32 | i8 `q` |
//!
//! `x = d q`

pub(crate) mod planes;
pub(crate) mod tile;

use super::block::{Block, Encode, inverse, part_mut, signed_peak};
use super::f16;

pub(super) struct Q8_0;

impl Block<32, 34> for Q8_0 {
    #[inline(always)]
    fn decode(block: &[u8; 34], out: &mut [f32; 32]) {
        let d = f16::scale(block, 0);
        let [_, _, quants @ ..] = block;
        for (out, &q) in out.iter_mut().zip(quants) {
            *out = d * f32::from(q as i8);
        }
    }
}

impl Encode<32, 34> for Q8_0 {
    fn encode(x: &[f32; 32], block: &mut [u8; 34]) {
        let d = signed_peak(x).abs() / 127.0;
        let inv = inverse(d);
        *part_mut(block, 0) = f16::bytes_of(d);
        let quants: &mut [u8; 32] = part_mut(block, 2);
        for (q, &x) in quants.iter_mut().zip(x) {
            *q = (x * inv).round() as i8 as u8;
        }
    }
}
