//! IQ2_XXS: 256 weights in 66 bytes; groups of eight, scales for 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 + 8 `r` | 4 | for weights from `32 r`: places of the groups |
//! | 6 + 8 `r` | 4 | u32: signs of group `l` at bits `7 l`, scale `s` at bit 28 |
//!
//! The eighth sign of a group makes the number of minuses even. `x = ± d (2 s + 1) level / 8`

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ2_XXS as GRID;
use super::codebook::{Codebook, Codes, LEVELS_2, even_signs};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ2_XXS;

impl Codebook<66> for IQ2_XXS {
    const TYPE: TensorType = TensorType::IQ2_XXS;
    const LEVELS: [i8; 16] = LEVELS_2;
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn unpack(block: &[u8; 66]) -> Codes {
        let word = |r: usize| u32::from_le_bytes(*part(block, 6 + 8 * r));
        let quants = GRID.quants(|g| {
            let place = usize::from(block[2 + g / 4 * 8 + g % 4]);
            (place, even_signs(word(g / 4) >> (g % 4 * 7)))
        });
        let scales = std::array::from_fn(|s| (word(s / 2) >> 28) as u8);
        Codes { d: *part(block, 0), scales, quants }
    }

    fn pack(codes: &Codes) -> [u8; 66] {
        let mut block = [0; 66];
        *part_mut(&mut block, 0) = codes.d;
        for r in 0..8 {
            let mut word = u32::from(codes.scales[2 * r]) << 28;
            for l in 0..4 {
                let (place, signs) = GRID.find(&codes.quants, 4 * r + l);
                block[2 + 8 * r + l] = place as u8;
                word |= u32::from(signs & 0x7f) << (7 * l);
            }
            *part_mut(&mut block, 6 + 8 * r) = word.to_le_bytes();
        }
        block
    }
}
