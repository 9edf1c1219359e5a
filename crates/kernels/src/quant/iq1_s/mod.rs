//! IQ1_S: 256 weights in 50 bytes; groups of eight, scales for 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 32 | low bits of the groups' places |
//! | 34 | 16 | u16 `r` for weights from `32 r`, see below |
//!
//! Bits `3 l` of a u16 are the three high bits of the place of its group `l`, bits 12 to 14 the
//! scale `s`, bit 15 the sign of the shift. `x = d (2 s + 1) (digit ± 1/8)`, digits of -1, 0, 1.

pub(crate) mod tile;

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ1 as GRID;
use super::codebook::{Codebook, Codes, LEVELS_1};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ1_S;

impl Codebook<50> for IQ1_S {
    const TYPE: TensorType = TensorType::IQ1_S;
    const LEVELS: [i8; 16] = LEVELS_1;
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn unpack(block: &[u8; 50]) -> Codes {
        let word = |r: usize| usize::from(u16::from_le_bytes(*part(block, 34 + 2 * r)));
        let quants = GRID.quants(|g| {
            let word = word(g / 4);
            let high = word >> (g % 4 * 3) & 7;
            (usize::from(block[2 + g]) | high << 8, if word >> 15 == 1 { 0xff } else { 0 })
        });
        let scales = std::array::from_fn(|s| (word(s / 2) >> 12 & 7) as u8);
        Codes { d: *part(block, 0), scales, quants }
    }

    fn pack(codes: &Codes) -> [u8; 50] {
        let mut block = [0; 50];
        *part_mut(&mut block, 0) = codes.d;
        for r in 0..8 {
            let mut word = usize::from(codes.scales[2 * r]) << 12;
            for l in 0..4 {
                let (place, signs) = GRID.find(&codes.quants, 4 * r + l);
                block[2 + 4 * r + l] = place as u8;
                word |= place >> 8 << (3 * l) | usize::from(signs & 1) << 15;
            }
            *part_mut(&mut block, 34 + 2 * r) = (word as u16).to_le_bytes();
        }
        block
    }
}
