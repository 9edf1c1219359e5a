//! Q2_K: 256 weights in 84 bytes; 16 sub-blocks of 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 16 | sub-block `s`: scale `sc` in the low nibble, minimum `m` in the high one |
//! | 16 | 64 | byte `32 h + l`: weights `128 h + 32 p + l` at bits `2 p`, for `p` of 0 to 3 |
//! | 80 | 2 | f16 `d` |
//! | 82 | 2 | f16 `dmin` |
//!
//! `x = d sc q - dmin m`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::f16;
use super::k_rule::Affine;

#[allow(non_camel_case_types)]
pub(super) struct Q2_K;

impl Block<256, 84> for Q2_K {
    #[inline(always)]
    fn decode(block: &[u8; 84], out: &mut [f32; 256]) {
        let (d, dmin) = (f16::scale(block, 80), f16::scale(block, 82));
        let (codes, quants): (&[u8; 16], &[u8; 64]) = (part(block, 0), part(block, 16));
        for (s, (out, &code)) in out.as_chunks_mut::<16>().0.iter_mut().zip(codes).enumerate() {
            let scale = d * f32::from(code & 15);
            let min = dmin * f32::from(code >> 4);
            let (bytes, shift) = bit_pair(quants, s);
            for (out, &q) in out.iter_mut().zip(bytes) {
                *out = scale * f32::from((q >> shift) & 3) - min;
            }
        }
    }
}

impl Encode<256, 84> for Q2_K {
    fn encode(x: &[f32; 256], block: &mut [u8; 84]) {
        let rule = Affine::<16>::of(x, 3.0, 15.0);
        let codes: &mut [u8; 16] = part_mut(block, 0);
        for ((code, scale), min) in codes.iter_mut().zip(rule.scales).zip(rule.mins) {
            *code = scale | (min << 4);
        }
        *part_mut(block, 16) = pack_bit_pairs(&rule.quants(x, 3.0));
        *part_mut(block, 80) = f16::bytes_of(rule.d);
        *part_mut(block, 82) = f16::bytes_of(rule.dmin);
    }
}

/// Where sub-block `s` of 16 weights has its two bits: the bytes and the shift.
#[inline(always)]
pub(super) fn bit_pair(quants: &[u8; 64], s: usize) -> (&[u8; 16], usize) {
    (part(quants, s / 8 * 32 + s % 2 * 16), s / 2 % 4 * 2)
}

/// The 32 quants of sub-blocks `2 s` and `2 s + 1`.
#[inline(always)]
pub(super) fn run_bit_pairs(quants: &[u8; 64], s: usize) -> [u8; 32] {
    part::<32>(quants, s / 4 * 32).map(|byte| (byte >> (s % 4 * 2)) & 3)
}

/// The two low bits of 256 quants in Q2_K's order.
pub(super) fn pack_bit_pairs(quants: &[u8; 256]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (half, bytes) in quants.chunks_exact(128).zip(bytes.chunks_exact_mut(32)) {
        for (p, plane) in half.chunks_exact(32).enumerate() {
            for (byte, q) in bytes.iter_mut().zip(plane) {
                *byte |= (q & 3) << (2 * p);
            }
        }
    }
    bytes
}
