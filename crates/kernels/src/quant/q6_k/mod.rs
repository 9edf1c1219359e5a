//! Q6_K: 256 weights in 210 bytes; 16 sub-blocks of 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 128 | byte `64 h + l`: low bits of weights `128 h + l` and `128 h + 64 + l`, `l < 64` |
//! | 128 | 64 | byte `32 h + l`: high bits of weights `128 h + 32 p + l` at bits `2 p` |
//! | 192 | 16 | i8 scales `sc` |
//! | 208 | 2 | f16 `d` |
//!
//! `x = d sc (q - 32)`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::k_rule::Symmetric;
use super::{f16, q2_k};

#[allow(non_camel_case_types)]
pub(super) struct Q6_K;

impl Block<256, 210> for Q6_K {
    #[inline(always)]
    fn decode(block: &[u8; 210], out: &mut [f32; 256]) {
        let (low, high): (&[u8; 128], &[u8; 64]) = (part(block, 0), part(block, 128));
        let codes: &[u8; 16] = part(block, 192);
        let d = f16::scale(block, 208);
        for (s, (out, &code)) in out.as_chunks_mut::<16>().0.iter_mut().zip(codes).enumerate() {
            let scale = d * f32::from(code as i8);
            let low: &[u8; 16] = part(low, s / 8 * 64 + s % 4 * 16);
            let low_shift = s / 4 % 2 * 4;
            let (high, high_shift) = q2_k::bit_pair(high, s);
            for ((out, &low), &high) in out.iter_mut().zip(low).zip(high) {
                let q = ((low >> low_shift) & 15) | (((high >> high_shift) & 3) << 4);
                *out = scale * (i32::from(q) - 32) as f32;
            }
        }
    }
}

impl Encode<256, 210> for Q6_K {
    fn encode(x: &[f32; 256], block: &mut [u8; 210]) {
        let rule = Symmetric::<16>::of(x, 32.0, 128.0);
        let quants = rule.normalized(x).map(|x| (x.round().clamp(-32.0, 31.0) + 32.0) as u8);
        *part_mut(block, 0) = pack_low(&quants);
        *part_mut(block, 128) = q2_k::pack_bit_pairs(&quants.map(|q| q >> 4));
        *part_mut(block, 192) = rule.scales.map(|code| code as u8);
        *part_mut(block, 208) = f16::bytes_of(rule.d);
    }
}

/// The low four bits of 256 quants as stored.
fn pack_low(quants: &[u8; 256]) -> [u8; 128] {
    let mut bytes = [0; 128];
    for (j, byte) in bytes.iter_mut().enumerate() {
        let first = j / 64 * 128 + j % 64;
        *byte = (quants[first] & 15) | (quants[first + 64] << 4);
    }
    bytes
}
