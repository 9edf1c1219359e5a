//! Interleaved tiles: the form in which weights wait in memory for the integer kernels.
//!
//! A tile holds as many rows as a vector has lanes ("R8", "R16"), block after block along the row,
//! so a thread reads one sequential stream. In a block, the scales of all rows come first; then,
//! for each 32 weights, vectors in which lane `r` holds four consecutive weights of row `r` (a
//! *group*; 32 weights are 8 groups). Bits per weight stay those of the file or close to it, and
//! every tile gives back the file's bytes ([`Tile::restore`]).
//!
//! A format's tile is in the file `tile.rs` of its folder; the loop over them is in `matmul`.

use super::TensorType;
use crate::isa::Isa;

/// How the sum of products of one run of 32 weights comes about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DotForm {
    /// Unsigned weights below `2^bits`.
    Unsigned { bits: u32 },
    /// Unsigned weights less an offset of `2^(bits - 1)`, none further from it than that.
    Centred { bits: u32 },
    /// Six bits less 32, with an integer scale for each 16 weights.
    Halves,
    /// Two bits, with an integer scale and an integer minimum of four bits for each 16 weights;
    /// [`ScaleMin::min`] is the factor of the minima.
    HalvesLess,
    /// Signed weights of eight bits.
    Signed,
    /// Signed weights of magnitude 64 at most, with an integer scale below 64 for each 16.
    SignedHalves,
}

/// Scale and minimum of 32 weights: `scale * dot + min * sum of activations`.
pub(crate) struct ScaleMin<F> {
    pub(crate) scale: F,
    /// Used by formats with [`Source::HAS_MIN`].
    pub(crate) min: F,
}

/// What the kernel reads of a tile. Offsets within a block are in units of `lanes` bytes, so `p` of
/// the unsafe functions points to a block of `Self::UNITS * lanes` bytes.
pub(crate) trait Source: Copy + Send + Sync + 'static {
    /// Bytes of a tile's block for each of its rows.
    const UNITS: usize;
    /// Runs of 32 weights in a block.
    const RUNS: usize;
    /// How a run is multiplied.
    const DOT: DotForm;
    /// Whether a minimum is added.
    const HAS_MIN: bool;

    /// Groups `2 pair` and `2 pair + 1` of `run`.
    ///
    /// # Safety
    /// `p` points to a block.
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, run: usize, pair: usize) -> (I::Bytes, I::Bytes);
    /// Scale and minimum of `run`.
    ///
    /// # Safety
    /// `p` points to a block.
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, run: usize) -> ScaleMin<I::Floats>;
    /// For [`DotForm::Halves`] and [`DotForm::SignedHalves`], the i8 scales of the first half of
    /// `run` in all rows, then those of the second; for [`DotForm::HalvesLess`], bytes with the
    /// scale in the low nibble and the minimum in the high one.
    ///
    /// # Safety
    /// `p` points to a block.
    unsafe fn halves<I: Isa>(p: *const u8, run: usize) -> *const i8 {
        let _ = (p, run);
        unreachable!("a format without scales for 16 weights")
    }
}

/// A format's tile.
pub(crate) trait Tile {
    /// What the kernel reads; formats whose tiles look alike share it, and so its code.
    type Read: Source;
    /// The type it packs.
    const TYPE: TensorType;

    /// Interleaves one block of each of `blocks.len()` rows into `out`.
    fn pack(blocks: &[&[u8]], out: &mut [u8]);
    /// The reverse of [`Tile::pack`] for row `lane` of `lanes`: the file's bytes.
    fn restore(tile: &[u8], lanes: usize, lane: usize, block: &mut [u8]);
}

/// Where byte `i` of row `lane` in group `group` lies in a vector of groups.
fn place(group: usize, lanes: usize, lane: usize, i: usize) -> usize {
    (group * lanes + lane) * 4 + i % 4
}

/// Interleaves the low nibbles of a run: vector `j` holds group `2 j` in its low nibbles and group
/// `2 j + 1` in its high ones. 16 bytes for each row.
#[inline(always)]
pub(super) fn pack_nibbles(quants: &[u8; 32], lanes: usize, lane: usize, out: &mut [u8]) {
    // Four bytes at a time: loading a model is mostly this.
    let words = quants.as_chunks::<4>().0;
    for (j, [low, high]) in words.as_chunks::<2>().0.iter().enumerate() {
        let [low, high] = [low, high].map(|word| u32::from_le_bytes(*word) & 0x0f0f_0f0f);
        let at = place(j, lanes, lane, 0);
        out[at..at + 4].copy_from_slice(&(low | high << 4).to_le_bytes());
    }
}

/// Adds what [`pack_nibbles`] stored to `quants`.
pub(super) fn restore_nibbles(run: &[u8], lanes: usize, lane: usize, quants: &mut [u8; 32]) {
    for (k, q) in quants.iter_mut().enumerate() {
        *q |= (run[place(k / 8, lanes, lane, k)] >> (k / 4 % 2 * 4)) & 15;
    }
}

/// Interleaves the bits of a run from bit 4 up, `bits` (1 or 2) of each weight: group `g` of a
/// vector at bit `g * bits`. 4 bytes for each row and bit.
#[inline(always)]
pub(super) fn pack_high<const BITS: usize>(
    quants: &[u8; 32],
    lanes: usize,
    lane: usize,
    out: &mut [u8],
) {
    let groups = 8 / BITS;
    for (v, run) in quants.chunks_exact(4 * groups).enumerate() {
        let at = place(v, lanes, lane, 0);
        for i in 0..4 {
            let bits = (0..groups).map(|g| (run[4 * g + i] >> 4) << (g * BITS));
            out[at + i] = bits.fold(0, |all, bit| all | bit);
        }
    }
}

/// Adds what [`pack_high`] stored to `quants`.
pub(super) fn restore_high<const BITS: usize>(
    high: &[u8],
    lanes: usize,
    lane: usize,
    quants: &mut [u8; 32],
) {
    let groups = 8 / BITS;
    for (k, q) in quants.iter_mut().enumerate() {
        let byte = high[place(k / 4 / groups, lanes, lane, k)];
        *q |= ((byte >> (k / 4 % groups * BITS)) & ((1 << BITS) - 1)) << 4;
    }
}

/// Copies two bytes to place `lane` of an array of f16.
#[inline(always)]
pub(super) fn put_f16(out: &mut [u8], lane: usize, bytes: &[u8]) {
    out[2 * lane..2 * lane + 2].copy_from_slice(&bytes[..2]);
}

/// Splits a vector of nibbles into two groups.
///
/// # Safety
/// `p` points to LANES x 4 bytes.
#[inline(always)]
pub(super) unsafe fn nibbles<I: Isa>(isa: I, p: *const u8) -> (I::Bytes, I::Bytes) {
    // SAFETY: as the caller's.
    let both = unsafe { isa.bytes(p) };
    (isa.and(both, 15), isa.and(isa.shr(both, 4), 15))
}

/// Puts bit `group` of each byte of `high` at bit 4 of `low`.
#[inline(always)]
pub(super) fn with_fifth<I: Isa>(isa: I, low: I::Bytes, high: I::Bytes, group: usize) -> I::Bytes {
    isa.or(low, isa.and(moved(isa, high, group as i32, 4), 0x10))
}

/// Moves bit `from` of each byte to bit `to`; what else the bytes hold is to be masked.
#[inline(always)]
pub(super) fn moved<I: Isa>(isa: I, bytes: I::Bytes, from: i32, to: i32) -> I::Bytes {
    if from <= to { isa.shl(bytes, to - from) } else { isa.shr(bytes, from - to) }
}

/// Interleaves the two low bits of a run's quants, 8 bytes for each row: group `g` at bits
/// `2 (g % 4)` of vector `g / 4`.
#[inline(always)]
pub(super) fn pack_two_bits(quants: &[u8; 32], lanes: usize, lane: usize, out: &mut [u8]) {
    pack_high::<2>(&quants.map(|q| (q & 3) << 4), lanes, lane, out);
}

/// Adds what [`pack_two_bits`] stored to `quants`.
pub(super) fn restore_two_bits(run: &[u8], lanes: usize, lane: usize, quants: &mut [u8; 32]) {
    let mut high = [0; 32];
    restore_high::<2>(run, lanes, lane, &mut high);
    quants.iter_mut().zip(high).for_each(|(q, high)| *q |= high >> 4);
}

/// Groups `2 pair` and `2 pair + 1` of what [`pack_two_bits`] stored, their low bit at bit `to`.
///
/// # Safety
/// `run` points to two vectors.
#[inline(always)]
pub(super) unsafe fn two_bits<I: Isa>(
    isa: I,
    run: *const u8,
    pair: usize,
    to: i32,
) -> (I::Bytes, I::Bytes) {
    // SAFETY: as the caller's.
    let four = unsafe { isa.bytes(run.add(pair / 2 * 4 * I::LANES)) };
    let (from, mask) = (pair as i32 % 2 * 4, 3 << to);
    (isa.and(moved(isa, four, from, to), mask), isa.and(moved(isa, four, from + 2, to), mask))
}

/// Scales of all rows from the f16 at `p`, no minimum.
///
/// # Safety
/// `p` points to LANES f16.
#[inline(always)]
pub(super) unsafe fn f16_scale<I: Isa>(isa: I, p: *const u8) -> ScaleMin<I::Floats> {
    // SAFETY: as the caller's.
    ScaleMin { scale: unsafe { isa.load_f16(p.cast()) }, min: isa.splat(0.0) }
}

/// Scales of all rows from the f16 at `p`, and minima from those after them.
///
/// # Safety
/// `p` points to twice LANES f16.
#[inline(always)]
pub(super) unsafe fn f16_scale_min<I: Isa>(isa: I, p: *const u8) -> ScaleMin<I::Floats> {
    // SAFETY: as the caller's.
    unsafe {
        let min = isa.load_f16(p.add(2 * I::LANES).cast());
        ScaleMin { scale: isa.load_f16(p.cast()), min }
    }
}

/// Levels as [`Isa::lookup`] takes them, each raised by `offset`; without one the bits of the i8.
pub(super) const fn level_table(levels: &[i8; 16], offset: i8) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (levels[i] + offset) as u8;
        i += 1;
    }
    table
}
