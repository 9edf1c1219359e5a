//! IQ1_M: 256 weights in 56 bytes; groups of eight, scales for 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 32 | low bits of the groups' places |
//! | 32 | 16 | nibble `g`: high bits of the place of group `g`, the sign of its shift at bit 3 |
//! | 48 | 8 | u16 `i`: scales `s` of `4 i + j` at bits `3 j`; nibble `i` of f16 `d` at bit 12 |
//!
//! Nibbles are in the order of the bytes, low before high. `x = d (2 s + 1) (digit ± 1/8)`, digits
//! of -1, 0, 1.

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ1 as GRID;
use super::codebook::{Codebook, Codes, LEVELS_1};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ1_M;

impl Codebook<56> for IQ1_M {
    const TYPE: TensorType = TensorType::IQ1_M;
    const LEVELS: [i8; 16] = LEVELS_1;
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn unpack(block: &[u8; 56]) -> Codes {
        let quants = GRID.quants(|g| {
            let nibble = block[32 + g / 2] >> (g % 2 * 4) & 15;
            let place = usize::from(block[g]) | usize::from(nibble & 7) << 8;
            (place, if nibble >> 3 == 1 { 0xff } else { 0 })
        });
        let word = |i: usize| u16::from_le_bytes(*part(block, 48 + 2 * i));
        let d = (0..4).fold(0, |d, i| d | (word(i) >> 12) << (4 * i));
        let scales = std::array::from_fn(|s| (word(s / 4) >> (s % 4 * 3) & 7) as u8);
        Codes { d: d.to_le_bytes(), scales, quants }
    }

    fn pack(codes: &Codes) -> [u8; 56] {
        let mut block = [0; 56];
        for g in 0..32 {
            let (place, signs) = GRID.find(&codes.quants, g);
            block[g] = place as u8;
            block[32 + g / 2] |= ((place >> 8) as u8 | (signs & 1) << 3) << (g % 2 * 4);
        }
        let d = u16::from_le_bytes(codes.d);
        for (i, scales) in codes.scales.as_chunks::<4>().0.iter().enumerate() {
            let word = scales.iter().rev().fold(0, |word, &s| word << 3 | u16::from(s));
            let word = word | (d >> (4 * i) & 15) << 12;
            *part_mut(&mut block, 48 + 2 * i) = word.to_le_bytes();
        }
        block
    }
}
