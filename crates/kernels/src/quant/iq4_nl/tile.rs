//! IQ4_NL in tiles: f16 `d`, then nibbles; the levels are looked up as they are multiplied.

use super::super::TensorType;
use super::super::q4_0::tile::split_nibbles;
use super::super::q4_0::write_nibbles;
use super::super::tile::*;
use super::LEVELS;
use crate::isa::Isa;

/// See the file's head.
#[derive(Clone, Copy)]
pub(crate) struct Iq4NlTile;

impl Tile for Iq4NlTile {
    const TYPE: TensorType = TensorType::IQ4_NL;

    #[inline]
    fn pack(blocks: &[&[u8]], out: &mut [u8]) {
        let lanes = blocks.len();
        let (d, run) = out.split_at_mut(2 * lanes);
        for (lane, block) in blocks.iter().enumerate() {
            put_f16(d, lane, block);
            pack_nibbles(&split_nibbles(&block[2..]), lanes, lane, run);
        }
    }

    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]) {
        let mut quants = [0; 32];
        restore_nibbles(&tile[2 * lanes..], lanes, lane, &mut quants);
        block[..2].copy_from_slice(&tile[2 * lane..][..2]);
        write_nibbles(&quants, (&mut block[2..18]).try_into().expect("16 bytes"));
    }
}

impl Source for Iq4NlTile {
    const UNITS: usize = 18;
    const RUNS: usize = 1;
    const DOT: DotForm = DotForm::Signed;
    const HAS_MIN: bool = false;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: the four vectors of nibbles follow the scales.
        unsafe { levels(isa, p.add((2 + 4 * pair) * I::LANES)) }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: the scales open the block.
        unsafe { f16_scale(isa, p) }
    }
}

/// Two groups of levels from a vector of nibbles.
///
/// # Safety
/// `p` points to LANES x 4 bytes.
#[inline(always)]
pub(in crate::quant) unsafe fn levels<I: Isa>(isa: I, p: *const u8) -> (I::Bytes, I::Bytes) {
    const TABLE: [u8; 16] = as_bytes(&LEVELS);
    // SAFETY: as the caller's.
    let (a, b) = unsafe { nibbles(isa, p) };
    (isa.lookup(&TABLE, a), isa.lookup(&TABLE, b))
}

/// The same bits, as [`Isa::lookup`] takes them.
const fn as_bytes(levels: &[i8; 16]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut i = 0;
    while i < 16 {
        bytes[i] = levels[i] as u8;
        i += 1;
    }
    bytes
}
