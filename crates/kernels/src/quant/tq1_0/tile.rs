//! TQ1_0 in tiles: those of TQ2_0. Two bits for a digit of base 3 cost 22 % of size and save the
//! arithmetic that takes digits apart.

use super::super::TensorType;
use super::super::tile::*;
use super::super::tq2_0::tile::{Tq2_0Tile, pack_ternary, restore_ternary};
use super::{digits, pack_all};

/// See the file's head.
pub(crate) struct Tq1_0Tile;

impl Tile for Tq1_0Tile {
    type Read = Tq2_0Tile;
    const TYPE: TensorType = TensorType::TQ1_0;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        for (lane, block) in blocks.iter().enumerate() {
            let all = digits(block);
            let quants = |s: usize| all.as_chunks().0[s];
            pack_ternary(&block[52..], quants, lanes, lane, out);
        }
    }

    /// Five digits have several bytes that stand for them; what comes back is the encoder's.
    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let quants = restore_ternary(tile, lanes, lane, &mut block[52..54]);
        block[..52].copy_from_slice(&pack_all(&quants));
    }
}
