//! IQ3_XXS: 256 weights in 98 bytes; groups of four, scales for 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 64 | places of the groups |
//! | 66 | 32 | u32 `r`: signs of weights from `32 r + 8 l` at bits `7 l`, scale `s` at bit 28 |
//!
//! The eighth sign of two groups makes the number of minuses even. `x = ± d (2 s + 1) level / 4`

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ3_XXS as GRID;
use super::codebook::{Codebook, Codes, even_signs};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ3_XXS;

impl Codebook<98> for IQ3_XXS {
    const TYPE: TensorType = TensorType::IQ3_XXS;
    const LEVELS: [i8; 16] = [4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62];
    const UNIT: f32 = 0.25;

    #[inline(always)]
    fn unpack(block: &[u8; 98]) -> Codes {
        let word = |r: usize| u32::from_le_bytes(*part(block, 66 + 4 * r));
        let quants = GRID.quants(|g| {
            let signs = even_signs(word(g / 8) >> (g % 8 / 2 * 7));
            (usize::from(block[2 + g]), signs >> (g % 2 * 4) & 15)
        });
        let scales = std::array::from_fn(|s| (word(s / 2) >> 28) as u8);
        Codes { d: *part(block, 0), scales, quants }
    }

    fn pack(codes: &Codes) -> [u8; 98] {
        let mut block = [0; 98];
        *part_mut(&mut block, 0) = codes.d;
        for r in 0..8 {
            let mut word = u32::from(codes.scales[2 * r]) << 28;
            for l in 0..8 {
                let (place, signs) = GRID.find(&codes.quants, 8 * r + l);
                block[2 + 8 * r + l] = place as u8;
                let stored = if l % 2 == 0 { signs } else { signs & 7 };
                word |= u32::from(stored) << (l / 2 * 7 + l % 2 * 4);
            }
            *part_mut(&mut block, 66 + 4 * r) = word.to_le_bytes();
        }
        block
    }
}
