//! F16: little-endian IEEE half precision, 2 bytes each; and the f16 scales of the other formats.

use super::block::{Block, Encode, part};

pub(super) struct F16;

impl Block<1, 2> for F16 {
    #[inline(always)]
    fn decode(block: &[u8; 2], out: &mut [f32; 1]) {
        out[0] = to_f32(u16::from_le_bytes(*block));
    }
}

impl Encode<1, 2> for F16 {
    fn encode(x: &[f32; 1], block: &mut [u8; 2]) {
        *block = bytes_of(x[0]);
    }
}

/// The f16 at `at` in a block.
#[inline(always)]
pub(super) fn scale(block: &[u8], at: usize) -> f32 {
    to_f32(u16::from_le_bytes(*part(block, at)))
}

/// `x` rounded to the nearest f16 (ties to even; beyond 65,504 an infinity), as stored.
pub(super) fn bytes_of(x: f32) -> [u8; 2] {
    half::f16::from_f32(x).to_le_bytes()
}

/// `x` as it reads back after [`bytes_of`].
pub(super) fn rounded(x: f32) -> f32 {
    to_f32(half::f16::from_f32(x).to_bits())
}

/// The value of an f16 bit pattern, exactly.
///
/// Written without branches so that a row converts in vector code on any machine, and without f32
/// denormals on the way, so that a thread which flushes them reads the same values.
#[inline(always)]
fn to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    // A denormal counts units of 2^-24; the product is exact.
    let denormal = (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits();
    // Exponent bias 15 becomes 127; infinities and NaN (exponent 31) go to 255.
    let infinite = if magnitude >= 0x7c00 { 112 << 23 } else { 0 };
    let normal = (magnitude << 13) + (112 << 23) + infinite;
    f32::from_bits(sign | if magnitude < 0x0400 { denormal } else { normal })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_bit_pattern_has_its_value() {
        for bits in 0..=u16::MAX {
            let (ours, expected) = (super::to_f32(bits), half::f16::from_bits(bits).to_f32_const());
            assert_eq!(ours.is_nan(), expected.is_nan(), "{bits:#06x}");
            assert!(ours.is_nan() || ours.to_bits() == expected.to_bits(), "{bits:#06x}: {ours}");
        }
    }
}
