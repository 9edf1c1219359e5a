//! IQ2_S: 256 weights in 82 bytes; groups of eight, scales for 16.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 32 | low bits of the groups' places |
//! | 34 | 32 | byte `g`: signs of group `g` |
//! | 66 | 8 | byte `r`: high bits of the place of group `4 r + l` at bits `2 l` |
//! | 74 | 8 | nibble `i`: scale `s` of weights from `16 i`, the low nibble of a byte first |
//!
//! `x = ± d (2 s + 1) level / 8`

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ2_S as GRID;
use super::codebook::{Codebook, Codes, LEVELS_2, pack_nibbles, unpack_nibbles};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ2_S;

impl Codebook<82> for IQ2_S {
    const TYPE: TensorType = TensorType::IQ2_S;
    const LEVELS: [i8; 16] = LEVELS_2;
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn unpack(block: &[u8; 82]) -> Codes {
        let quants = GRID.quants(|g| {
            let high = usize::from(block[66 + g / 4]) >> (g % 4 * 2) & 3;
            (usize::from(block[2 + g]) | high << 8, block[34 + g])
        });
        Codes { d: *part(block, 0), scales: unpack_nibbles(part(block, 74)), quants }
    }

    fn pack(codes: &Codes) -> [u8; 82] {
        let mut block = [0; 82];
        *part_mut(&mut block, 0) = codes.d;
        for g in 0..32 {
            let (place, signs) = GRID.find(&codes.quants, g);
            block[2 + g] = place as u8;
            block[34 + g] = signs;
            block[66 + g / 4] |= ((place >> 8) as u8) << (g % 4 * 2);
        }
        *part_mut(&mut block, 74) = pack_nibbles(&codes.scales);
        block
    }
}
