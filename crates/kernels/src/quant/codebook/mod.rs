//! What the types IQ1, IQ2 and IQ3 share: 256 weights in groups of eight or four, each a place in
//! a list of groups (`grid.rs`), with a sign for each weight or group and a scale for 16 or 32.
//!
//! A format's folder says where its bits lie ([`Codebook::unpack`] and the reverse); `tile.rs` is
//! the form that the integer kernels read.

pub(super) mod grid;
pub(crate) mod tile;

use super::TensorType;
use super::block::Block;
use super::f16;

/// A block taken apart: `x = d (2 s + 1) UNIT LEVELS[q]`.
pub(crate) struct Codes {
    /// f16 `d`.
    pub(super) d: [u8; 2],
    /// `s` of each 16 weights; where a format has one for 32, twice the same.
    pub(super) scales: [u8; 16],
    /// `q`: a digit of the weight's group, and its sign in the bit above.
    pub(super) quants: [u8; 256],
}

/// A format of `B` bytes for 256 weights.
pub(crate) trait Codebook<const B: usize>: Copy + Send + Sync + 'static {
    /// The type.
    const TYPE: TensorType;
    /// What quants stand for, whole numbers; those of three bits leave the second half 0.
    const LEVELS: [i8; 16];
    /// What one stands for: an eighth where quants have three bits, else a quarter.
    const UNIT: f32;

    /// Takes a block apart. Any bytes are valid.
    fn unpack(block: &[u8; B]) -> Codes;
    /// The reverse.
    fn pack(codes: &Codes) -> [u8; B];
}

impl<T: Codebook<B>, const B: usize> Block<256, B> for T {
    /// Exact in f32: `d` has 11 bits, a scale 5 and a level 6.
    #[inline(always)]
    fn decode(block: &[u8; B], out: &mut [f32; 256]) {
        let codes = T::unpack(block);
        let d = f16::scale(&codes.d, 0) * T::UNIT;
        let parts = out.as_chunks_mut::<16>().0.iter_mut().zip(codes.quants.as_chunks::<16>().0);
        for ((out, quants), s) in parts.zip(codes.scales) {
            let scale = d * f32::from(2 * s + 1);
            for (out, q) in out.iter_mut().zip(quants) {
                *out = scale * f32::from(T::LEVELS[usize::from(q % 16)]);
            }
        }
    }
}

/// Levels of IQ1 in eighths: -1, 0 and 1, all shifted by an eighth, up or down.
pub(super) const LEVELS_1: [i8; 16] = [-7, 1, 9, 0, -9, -1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Levels of IQ2, three of either sign.
pub(super) const LEVELS_2: [i8; 16] = [8, 25, 43, 0, -8, -25, -43, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Scales of 16 weights from bytes with one in each nibble, the low one first.
#[inline(always)]
pub(super) fn unpack_nibbles(bytes: &[u8; 8]) -> [u8; 16] {
    std::array::from_fn(|s| bytes[s / 2] >> (s % 2 * 4) & 15)
}

/// The reverse of [`unpack_nibbles`].
pub(super) fn pack_nibbles(scales: &[u8; 16]) -> [u8; 8] {
    std::array::from_fn(|i| scales[2 * i] | scales[2 * i + 1] << 4)
}

/// Signs of eight weights of which seven are stored: the number of ones is even.
#[inline(always)]
pub(super) fn even_signs(stored: u32) -> u8 {
    let signs = stored as u8 & 0x7f;
    signs | (signs.count_ones() as u8 & 1) << 7
}
