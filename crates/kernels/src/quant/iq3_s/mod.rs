//! IQ3_S: 256 weights in 110 bytes; groups of four, scales for 32.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 2 | f16 `d` |
//! | 2 | 64 | low bits of the groups' places |
//! | 66 | 8 | byte `r`: bit `l` is the high bit of the place of group `8 r + l` |
//! | 74 | 32 | byte `l`: signs of groups `2 l` and `2 l + 1` |
//! | 106 | 4 | nibble `r`: scale `s` of weights from `32 r`, the low nibble of a byte first |
//!
//! `x = ± d (2 s + 1) level / 4`

use super::TensorType;
use super::block::{part, part_mut};
use super::codebook::grid::IQ3_S as GRID;
use super::codebook::{Codebook, Codes};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub(crate) struct IQ3_S;

impl Codebook<110> for IQ3_S {
    const TYPE: TensorType = TensorType::IQ3_S;
    const LEVELS: [i8; 16] = [4, 12, 20, 28, 36, 44, 52, 60, -4, -12, -20, -28, -36, -44, -52, -60];
    const UNIT: f32 = 0.25;

    #[inline(always)]
    fn unpack(block: &[u8; 110]) -> Codes {
        let quants = GRID.quants(|g| {
            let high = usize::from(block[66 + g / 8]) >> (g % 8) & 1;
            (usize::from(block[2 + g]) | high << 8, block[74 + g / 2] >> (g % 2 * 4) & 15)
        });
        let scales = std::array::from_fn(|s| block[106 + s / 4] >> (s / 2 % 2 * 4) & 15);
        Codes { d: *part(block, 0), scales, quants }
    }

    fn pack(codes: &Codes) -> [u8; 110] {
        let mut block = [0; 110];
        *part_mut(&mut block, 0) = codes.d;
        for g in 0..64 {
            let (place, signs) = GRID.find(&codes.quants, g);
            block[2 + g] = place as u8;
            block[66 + g / 8] |= ((place >> 8) as u8) << (g % 8);
            block[74 + g / 2] |= signs << (g % 2 * 4);
        }
        for (r, scales) in codes.scales.as_chunks::<2>().0.iter().enumerate() {
            block[106 + r / 2] |= scales[0] << (r % 2 * 4);
        }
        block
    }
}
