//! IQ4_XS: 256 weights in 136 bytes; 8 sub-blocks of 32, levels as in IQ4_NL.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 2 | u16: bits 4 and 5 of `sc` of sub-block `s` at bits `2 s` |
//! | 4 | 4 | byte `s / 2`: low bits of `sc`, even `s` in the low nibble |
//! | 8 | 128 | 16 bytes to a sub-block, nibbles `q` in Q4_0's order |
//!
//! `x = d (sc - 32) LEVELS[q]`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::k_rule::Symmetric;
use super::{f16, iq4_nl, q4_0};

#[allow(non_camel_case_types)]
pub(super) struct IQ4_XS;

impl Block<256, 136> for IQ4_XS {
    #[inline(always)]
    fn decode(block: &[u8; 136], out: &mut [f32; 256]) {
        let (d, codes) = (f16::scale(block, 0), unpack_scales(block));
        for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = d * f32::from(codes[s] as i8 - 32);
            iq4_nl::decode_nibbles(scale, &iq4_nl::LEVELS, part(block, 8 + 16 * s), out);
        }
    }
}

impl Encode<256, 136> for IQ4_XS {
    fn encode(x: &[f32; 256], block: &mut [u8; 136]) {
        let rule = Symmetric::<8>::of(x, 127.0, 32.0);
        *part_mut(block, 0) = f16::bytes_of(rule.d);
        *part_mut(block, 2) = pack_scales(&rule.scales.map(|code| (code + 32) as u8));
        for (s, x) in rule.normalized(x).as_chunks::<32>().0.iter().enumerate() {
            let quants = x.map(iq4_nl::nearest_level);
            q4_0::write_nibbles(&quants, part_mut(block, 8 + 16 * s));
        }
    }
}

/// The eight six-bit codes of the sub-blocks' scales.
#[inline(always)]
fn unpack_scales(block: &[u8]) -> [u8; 8] {
    let high = u16::from_le_bytes(*part(block, 2));
    let low: &[u8; 4] = part(block, 4);
    let mut codes = [0; 8];
    for (s, code) in codes.iter_mut().enumerate() {
        *code = (low[s / 2] >> (s % 2 * 4) & 15) | ((high >> (2 * s) & 3) << 4) as u8;
    }
    codes
}

/// The reverse of [`unpack_scales`]: bytes 2 to 7 of a block.
fn pack_scales(codes: &[u8; 8]) -> [u8; 6] {
    let (mut high, mut bytes) = (0u16, [0u8; 6]);
    for (s, code) in codes.iter().enumerate() {
        high |= u16::from(code >> 4) << (2 * s);
        bytes[2 + s / 2] |= (code & 15) << (s % 2 * 4);
    }
    bytes[..2].copy_from_slice(&high.to_le_bytes());
    bytes
}
