//! IQ2_XS: 256 weights in 74 bytes; groups of eight, scales for 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 64 | u16 `g`: place of group `g`, its signs at bit 9 |
//! | 66 | 8 | nibble `i`: scale `s` of weights from `16 i`, the low nibble of a byte first |
//!
//! The eighth sign of a group makes the number of minuses even. `x = ± d (2 s + 1) level / 8`

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ2_XS as GRID;
use super::codebook::{Codebook, Codes, LEVELS_2, even_signs, pack_nibbles, unpack_nibbles};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ2_XS;

impl Codebook<74> for IQ2_XS {
    const TYPE: TensorType = TensorType::IQ2_XS;
    const LEVELS: [i8; 16] = LEVELS_2;
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn unpack(block: &[u8; 74]) -> Codes {
        let quants = GRID.quants(|g| {
            let word = u16::from_le_bytes(*part(block, 2 + 2 * g));
            (usize::from(word & 0x1ff), even_signs(u32::from(word >> 9)))
        });
        Codes { d: *part(block, 0), scales: unpack_nibbles(part(block, 66)), quants }
    }

    fn pack(codes: &Codes) -> [u8; 74] {
        let mut block = [0; 74];
        *part_mut(&mut block, 0) = codes.d;
        for g in 0..32 {
            let (place, signs) = GRID.find(&codes.quants, g);
            let word = place as u16 | u16::from(signs) << 9;
            *part_mut(&mut block, 2 + 2 * g) = word.to_le_bytes();
        }
        *part_mut(&mut block, 66) = pack_nibbles(&codes.scales);
        block
    }
}
