//! Q4_K: 256 weights in 144 bytes; 8 sub-blocks of 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 2 | f16 `dmin` |
//! | 4 | 12 | 6-bit scales `sc` and minima `m`, see [`unpack_scales`] |
//! | 16 | 128 | byte `32 c + l`: weight `64 c + l` in the low nibble, `64 c + 32 + l` in the high |
//!
//! `x = d sc q - dmin m`

pub(crate) mod tile;

use super::block::{Block, Encode, part, part_mut};
use super::f16;
use super::k_rule::Affine;

#[allow(non_camel_case_types)]
pub(super) struct Q4_K;

impl Block<256, 144> for Q4_K {
    #[inline(always)]
    fn decode(block: &[u8; 144], out: &mut [f32; 256]) {
        let (d, dmin) = (f16::scale(block, 0), f16::scale(block, 2));
        let (scales, mins) = unpack_scales(part(block, 4));
        let quants: &[u8; 128] = part(block, 16);
        for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[s]);
            let min = dmin * f32::from(mins[s]);
            let bytes: &[u8; 32] = part(quants, s / 2 * 32);
            for (out, &q) in out.iter_mut().zip(bytes) {
                *out = scale * f32::from((q >> (s % 2 * 4)) & 15) - min;
            }
        }
    }
}

impl Encode<256, 144> for Q4_K {
    fn encode(x: &[f32; 256], block: &mut [u8; 144]) {
        let rule = Affine::<8>::of(x, 15.0, 63.0);
        *part_mut(block, 0) = f16::bytes_of(rule.d);
        *part_mut(block, 2) = f16::bytes_of(rule.dmin);
        *part_mut(block, 4) = pack_scales(&rule.scales, &rule.mins);
        *part_mut(block, 16) = pack_nibbles(&rule.quants(x, 15.0));
    }
}

/// The 8 scales and 8 minima of Q4_K and Q5_K, 6 bits each.
///
/// Numbers 0 to 3 are the low six bits of bytes 0 to 3 (scales) and 4 to 7 (minima). Numbers 4 to 7
/// have their low four bits in bytes 8 to 11 (scale in the low nibble, minimum in the high one) and
/// their high two in the top of bytes 0 to 3 and 4 to 7.
#[inline(always)]
pub(super) fn unpack_scales(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for s in 0..4 {
        let (a, b, c) = (bytes[s], bytes[s + 4], bytes[s + 8]);
        (scales[s], mins[s]) = (a & 63, b & 63);
        scales[s + 4] = (c & 15) | (a >> 6 << 4);
        mins[s + 4] = (c >> 4) | (b >> 6 << 4);
    }
    (scales, mins)
}

/// The reverse of [`unpack_scales`].
pub(super) fn pack_scales(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for s in 0..4 {
        bytes[s] = scales[s] | (scales[s + 4] >> 4 << 6);
        bytes[s + 4] = mins[s] | (mins[s + 4] >> 4 << 6);
        bytes[s + 8] = (scales[s + 4] & 15) | (mins[s + 4] << 4);
    }
    bytes
}

/// The low four bits of 256 quants in the order of Q4_K and Q5_K.
pub(super) fn pack_nibbles(quants: &[u8; 256]) -> [u8; 128] {
    let mut bytes = [0; 128];
    for (j, byte) in bytes.iter_mut().enumerate() {
        let low = j / 32 * 64 + j % 32;
        *byte = (quants[low] & 15) | (quants[low + 32] << 4);
    }
    bytes
}
