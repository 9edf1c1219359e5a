//! Q3_K: 256 weights in 110 bytes; 16 sub-blocks of 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 32 | byte `l`: bit `b` is bit 2 of weight `32 b + l` |
//! | 32 | 64 | byte `32 h + l`: low bits of weights `128 h + 32 p + l` at bits `2 p` |
//! | 96 | 12 | 6-bit scales `sc`, see [`unpack_scales`] |
//! | 108 | 2 | f16 `d` |
//!
//! `x = d (sc - 32) (q - 4)`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::k_rule::Symmetric;
use super::{f16, q2_k};

#[allow(non_camel_case_types)]
pub(super) struct Q3_K;

impl Block<256, 110> for Q3_K {
    #[inline(always)]
    fn decode(block: &[u8; 110], out: &mut [f32; 256]) {
        let (high, quants): (&[u8; 32], &[u8; 64]) = (part(block, 0), part(block, 32));
        let codes = unpack_scales(part(block, 96));
        let d = f16::scale(block, 108);
        for (s, (out, code)) in out.as_chunks_mut::<16>().0.iter_mut().zip(codes).enumerate() {
            let scale = d * f32::from(code as i8 - 32);
            let (bytes, shift) = q2_k::bit_pair(quants, s);
            let high: &[u8; 16] = part(high, s % 2 * 16);
            for ((out, &q), &h) in out.iter_mut().zip(bytes).zip(high) {
                let q = ((q >> shift) & 3) | (((h >> (s / 2)) & 1) << 2);
                *out = scale * (i32::from(q) - 4) as f32;
            }
        }
    }
}

impl Encode<256, 110> for Q3_K {
    fn encode(x: &[f32; 256], block: &mut [u8; 110]) {
        let rule = Symmetric::<16>::of(x, 4.0, 32.0);
        let quants = rule.normalized(x).map(|x| (x.round().clamp(-4.0, 3.0) + 4.0) as u8);
        *part_mut(block, 0) = pack_high_bits(&quants);
        *part_mut(block, 32) = q2_k::pack_bit_pairs(&quants);
        *part_mut(block, 96) = pack_scales(&rule.scales.map(|code| (code + 32) as u8));
        *part_mut(block, 108) = f16::bytes_of(rule.d);
    }
}

/// Bit 2 of 256 quants, as stored.
fn pack_high_bits(quants: &[u8; 256]) -> [u8; 32] {
    let mut high = [0; 32];
    for (b, plane) in quants.chunks_exact(32).enumerate() {
        for (high, q) in high.iter_mut().zip(plane) {
            *high |= (q >> 2) << b;
        }
    }
    high
}

/// The 16 six-bit codes of the sub-block scales.
///
/// Byte `s` below 8 holds the low four bits of codes `s` and `s + 8`; byte `8 + s % 4` holds the
/// high two of code `s` at bits `2 (s / 4)`.
#[inline(always)]
fn unpack_scales(bytes: &[u8; 12]) -> [u8; 16] {
    let mut codes = [0; 16];
    for (s, code) in codes.iter_mut().enumerate() {
        let low = bytes[s % 8] >> (s / 8 * 4) & 15;
        let high = bytes[8 + s % 4] >> (s / 4 * 2) & 3;
        *code = low | (high << 4);
    }
    codes
}

fn pack_scales(codes: &[u8; 16]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (s, code) in codes.iter().enumerate() {
        bytes[s % 8] |= (code & 15) << (s / 8 * 4);
        bytes[8 + s % 4] |= (code >> 4) << (s / 4 * 2);
    }
    bytes
}
