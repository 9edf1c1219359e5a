//! What every format's folder is written against: the traits [`Block`] and [`Encode`], and loops
//! over whole rows.
//!
//! Holds no layout of a format.

/// A format of `N` elements in blocks of `B` bytes.
///
/// Works on arrays of fixed size, as [`Encode`] does, so that bounds are checked when compiling and
/// the inner loops become vector code.
pub(super) trait Block<const N: usize, const B: usize> {
    /// Writes the block's values to `out`. Any bytes are valid: no panic, whatever the scales hold.
    fn decode(block: &[u8; B], out: &mut [f32; N]);
}

/// A format with a plain rule by which it is written.
pub(super) trait Encode<const N: usize, const B: usize>: Block<N, B> {
    /// Writes `x` to `block`, every byte of it.
    fn encode(x: &[f32; N], block: &mut [u8; B]);
}

/// Decodes whole blocks; the caller has checked the lengths.
pub(super) fn decode_row<F: Block<N, B>, const N: usize, const B: usize>(
    bytes: &[u8],
    out: &mut [f32],
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        F::decode(block, out);
    }
}

/// Encodes whole blocks; the caller has checked the lengths.
pub(super) fn encode_row<F: Encode<N, B>, const N: usize, const B: usize>(
    x: &[f32],
    bytes: &mut [u8],
) {
    for (x, block) in x.as_chunks().0.iter().zip(bytes.as_chunks_mut().0) {
        F::encode(x, block);
    }
}

/// The `LEN` bytes of a block that begin at `at`.
#[inline(always)]
pub(super) fn part<const LEN: usize>(block: &[u8], at: usize) -> &[u8; LEN] {
    block[at..].first_chunk().expect("a layout's parts lie inside its block")
}

/// The `LEN` bytes of a block that begin at `at`, to be written.
#[inline(always)]
pub(super) fn part_mut<const LEN: usize>(block: &mut [u8], at: usize) -> &mut [u8; LEN] {
    block[at..].first_chunk_mut().expect("a layout's parts lie inside its block")
}

/// The value of `x` with the largest magnitude, the first of several; 0 if all are 0.
pub(super) fn signed_peak(x: &[f32]) -> f32 {
    x.iter().fold(0.0f32, |peak, &v| if v.abs() > peak.abs() { v } else { peak })
}

/// Smallest and largest value of `x`, which holds at least one.
pub(super) fn extremes(x: &[f32]) -> (f32, f32) {
    x.iter().fold((x[0], x[0]), |(lo, hi), &v| (lo.min(v), hi.max(v)))
}

/// 1 / `d`, or 0 for a scale of 0, so that a block of zeros has quants of zero.
pub(super) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}
