//! MXFP4 (OCP microscaling): 32 weights in 17 bytes.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 1 | exponent `e` |
//! | 1 | 16 | byte `j`: `q` of weight `j` in the low nibble, of weight `j + 16` in the high one |
//!
//! `x = 2^(e - 128) LEVELS[q]`, where the levels are the E2M1 numbers doubled.

pub(crate) mod tile;

use super::block::{Block, Encode, part_mut, signed_peak};
use super::{iq4_nl, q4_0};

/// E2M1 numbers, doubled so that they are integers.
const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

pub(super) struct MXFP4;

impl Block<32, 17> for MXFP4 {
    #[inline(always)]
    fn decode(block: &[u8; 17], out: &mut [f32; 32]) {
        let [e, quants @ ..] = block;
        iq4_nl::decode_nibbles(half_power(*e), &LEVELS, quants, out);
    }
}

impl Encode<32, 17> for MXFP4 {
    /// The exponent puts the largest magnitude into E2M1's top octave, 4 to 6.
    fn encode(x: &[f32; 32], block: &mut [u8; 17]) {
        let peak = signed_peak(x).abs();
        // The logarithm is rounded to f32 first, as the reference does: just below a power of two
        // it counts as that power.
        let exponent = (f64::from(peak).log2() as f32).floor() + 125.0;
        block[0] = if peak > 0.0 { exponent as u8 } else { 0 };
        let d = half_power(block[0]);
        q4_0::write_nibbles(&x.map(|x| nearest_level(x, d)), part_mut(block, 1));
    }
}

/// 2^(e - 128), exactly; the two smallest are f32 denormals.
#[inline(always)]
fn half_power(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 })
}

/// The first level with the smallest distance to `x`.
fn nearest_level(x: f32, d: f32) -> u8 {
    let distance = |q: usize| (d * f32::from(LEVELS[q]) - x).abs();
    (0..16).fold(0, |best, q| if distance(q) < distance(best) { q } else { best }) as u8
}
