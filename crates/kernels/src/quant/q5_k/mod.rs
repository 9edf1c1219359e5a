//! Q5_K: 256 weights in 176 bytes; 8 sub-blocks of 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 2 | f16 `dmin` |
//! | 4 | 12 | 6-bit scales `sc` and minima `m`, as in Q4_K |
//! | 16 | 32 | byte `l`: bit `s` is bit 4 of weight `32 s + l` |
//! | 48 | 128 | low bits: byte `32 c + l` has weights `64 c + l` and `64 c + 32 + l`, as Q4_K |
//!
//! `x = d sc q - dmin m`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::k_rule::Affine;
use super::{f16, q4_k};

#[allow(non_camel_case_types)]
pub(super) struct Q5_K;

impl Block<256, 176> for Q5_K {
    #[inline(always)]
    fn decode(block: &[u8; 176], out: &mut [f32; 256]) {
        let (d, dmin) = (f16::scale(block, 0), f16::scale(block, 2));
        let (scales, mins) = q4_k::unpack_scales(part(block, 4));
        let (high, quants): (&[u8; 32], &[u8; 128]) = (part(block, 16), part(block, 48));
        for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[s]);
            let min = dmin * f32::from(mins[s]);
            let bytes: &[u8; 32] = part(quants, s / 2 * 32);
            for ((out, &q), &h) in out.iter_mut().zip(bytes).zip(high) {
                let q = ((q >> (s % 2 * 4)) & 15) | (((h >> s) & 1) << 4);
                *out = scale * f32::from(q) - min;
            }
        }
    }
}

impl Encode<256, 176> for Q5_K {
    fn encode(x: &[f32; 256], block: &mut [u8; 176]) {
        let rule = Affine::<8>::of(x, 31.0, 63.0);
        let quants = rule.quants(x, 31.0);
        *part_mut(block, 0) = f16::bytes_of(rule.d);
        *part_mut(block, 2) = f16::bytes_of(rule.dmin);
        *part_mut(block, 4) = q4_k::pack_scales(&rule.scales, &rule.mins);
        let high: &mut [u8; 32] = part_mut(block, 16);
        high.fill(0);
        for (s, plane) in quants.chunks_exact(32).enumerate() {
            for (high, q) in high.iter_mut().zip(plane) {
                *high |= (q >> 4) << s;
            }
        }
        *part_mut(block, 48) = q4_k::pack_nibbles(&quants);
    }
}
