//! TQ1_0: 256 ternary weights in 54 bytes, five to a byte in base 3.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 32 | byte `l`: weights `32 t + l`, digit `t` of 0 to 4 |
//! | 32 | 16 | byte `l`: weights `160 + 16 t + l`, digit `t` of 0 to 4 |
//! | 48 | 4 | byte `l`: weights `240 + 4 t + l`, digit `t` of 0 to 3 |
//! | 52 | 2 | f16 `d` |
//!
//! A byte holds the fraction `0.t0 t1 t2 t3 t4` in base 3, scaled to 256 and rounded up: multiplied
//! by 3^t modulo 256 it has digit `t` first, which is `byte * 3 / 256`. `x = d (digit - 1)`

pub(crate) mod tile;

use super::block::{Block, Encode, inverse, part, part_mut, signed_peak};
use super::f16;

#[allow(non_camel_case_types)]
pub(super) struct TQ1_0;

impl Block<256, 54> for TQ1_0 {
    #[inline(always)]
    fn decode(block: &[u8; 54], out: &mut [f32; 256]) {
        let d = f16::scale(block, 52);
        for (out, digit) in out.iter_mut().zip(digits(block)) {
            *out = d * (i32::from(digit) - 1) as f32;
        }
    }
}

impl Encode<256, 54> for TQ1_0 {
    fn encode(x: &[f32; 256], block: &mut [u8; 54]) {
        let d = signed_peak(x).abs();
        *part_mut(block, 0) = pack_all(&ternary(x, d));
        *part_mut(block, 52) = f16::bytes_of(d);
    }
}

/// Weights as 0, 1, 2 for -1, 0, 1 times `d`.
pub(super) fn ternary(x: &[f32; 256], d: f32) -> [u8; 256] {
    let inv = inverse(d);
    x.map(|x| ((x * inv).round().clamp(-1.0, 1.0) + 1.0) as u8)
}

/// The digits of a block's 256 weights.
#[inline(always)]
fn digits(block: &[u8]) -> [u8; 256] {
    let mut out = [0; 256];
    let (first, rest) = out.split_at_mut(160);
    let (second, third) = rest.split_at_mut(80);
    unpack_digits::<32>(part(block, 0), first);
    unpack_digits::<16>(part(block, 32), second);
    unpack_digits::<4>(part(block, 48), third);
    out
}

/// The reverse of [`digits`]: bytes 0 to 51 of a block.
fn pack_all(digits: &[u8; 256]) -> [u8; 52] {
    let mut bytes = [0; 52];
    *part_mut(&mut bytes, 0) = pack_digits::<32>(&digits[..160]);
    *part_mut(&mut bytes, 32) = pack_digits::<16>(&digits[160..240]);
    *part_mut(&mut bytes, 48) = pack_digits::<4>(&digits[240..]);
    bytes
}

#[inline(always)]
fn unpack_digits<const L: usize>(bytes: &[u8; L], out: &mut [u8]) {
    let mut power = 1u8;
    for out in out.as_chunks_mut::<L>().0 {
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
        }
        power = power.wrapping_mul(3);
    }
}

fn pack_digits<const L: usize>(digits: &[u8]) -> [u8; L] {
    let mut numbers = [0u16; L];
    let mut weight = 81;
    for digits in digits.chunks_exact(L) {
        for (number, &digit) in numbers.iter_mut().zip(digits) {
            *number += u16::from(digit) * weight;
        }
        weight /= 3;
    }
    numbers.map(|number| (number * 256).div_ceil(243) as u8)
}
