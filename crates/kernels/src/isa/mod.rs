//! The small vector operations that kernels are written in; a new instruction set is one file here.
//!
//! A value of a type that implements [`Isa`] proves that the machine has its instructions, so
//! operations on registers are safe; those on memory are not. Kernels are generic over `Isa` and
//! entered through [`crate::cpu::Cpu::run`]. A vector has [`Isa::LANES`] lanes of 32 bits. Weights
//! come as [`Isa::Bytes`]: lane `r` holds four consecutive weights of tile row `r`, and is
//! multiplied with four consecutive activations broadcast from memory.
//!
//! Fused or not, an operation gives the same bits wherever it is used on one machine; between
//! instruction sets results may differ in rounding.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod scalar;

pub(crate) use scalar::Scalar;

/// One instruction set.
///
/// # Safety of the memory operations
/// Each reads or writes exactly the bytes its line names; pointers need no alignment beyond that of
/// their element type.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Isa: Copy + Send + Sync + 'static {
    /// Lanes of a vector; rows of an integer tile.
    const LANES: usize;
    /// Whether many rows are multiplied with weights unpacked beforehand. Where unpacking shares no
    /// execution port with the products it costs nothing to repeat.
    const EXPANDS: bool;
    /// Whether [`Isa::Dot`] sums in 32 bits. If not, it sums pairs in 16: the sum of products must
    /// stay within that, and [`Isa::dot_start`] wants two sums packed in one word: of the
    /// activations at places 0 and 1 of their group of four in the low half, of those at 2 and 3 in
    /// the high half.
    const WIDE_DOT: bool;

    /// LANES f32.
    type Floats: Copy;
    /// LANES i32.
    type Ints: Copy;
    /// LANES x 4 bytes.
    type Bytes: Copy;
    /// A running sum of products of bytes.
    type Dot: Copy;
    /// Scales of 16 weights, one per lane, as [`Isa::halves_start`] wants them.
    type HalfScales: Copy;
    /// What [`Isa::halves_start`] hands to [`Isa::halves_end`].
    type Half: Copy;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::Floats;
    /// Reads LANES f32.
    unsafe fn load(self, p: *const f32) -> Self::Floats;
    /// Writes LANES f32.
    unsafe fn store(self, p: *mut f32, x: Self::Floats);
    /// Reads LANES f16.
    unsafe fn load_f16(self, p: *const u16) -> Self::Floats;
    /// Reads LANES bf16.
    unsafe fn load_bf16(self, p: *const u16) -> Self::Floats;
    /// Writes LANES f16, rounded to nearest even.
    unsafe fn store_f16(self, p: *mut u16, x: Self::Floats);
    /// Writes LANES bf16, rounded to nearest even (NaN stays NaN).
    unsafe fn store_bf16(self, p: *mut u16, x: Self::Floats);
    /// Reads LANES u8 as f32.
    unsafe fn load_u8(self, p: *const u8) -> Self::Floats;
    /// Reads LANES i8 as f32.
    unsafe fn load_i8(self, p: *const i8) -> Self::Floats;
    /// Reads 8 bytes that hold 16 numbers, `i` in the low half of byte `i` and `i + 8` in its high
    /// half; LANES of them, from `at` on (a multiple of LANES), as f32.
    unsafe fn load_nibbles(self, p: *const u8, at: usize) -> Self::Floats;
    /// `a + b`.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a - b`.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a / b`.
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The larger of each lane; `b` where one is NaN.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `|a|`.
    fn abs(self, a: Self::Floats) -> Self::Floats;
    /// `yes` where `a < b`, else `no`.
    fn select_lt(
        self,
        a: Self::Floats,
        b: Self::Floats,
        yes: Self::Floats,
        no: Self::Floats,
    ) -> Self::Floats;
    /// To the nearest whole number, ties to even.
    fn round(self, a: Self::Floats) -> Self::Floats;
    /// `2^n` for whole `n` in -126..=127.
    fn exp2_whole(self, n: Self::Floats) -> Self::Floats;
    /// Sum of all lanes, in a fixed order.
    fn sum(self, a: Self::Floats) -> f32;
    /// Largest lane.
    fn max_lane(self, a: Self::Floats) -> f32;
    /// Writes LANES i8: each lane rounded to nearest even and clamped to -127..=127
    /// (127 for NaN).
    unsafe fn store_i8(self, p: *mut i8, x: Self::Floats);

    /// Asks for the line of memory at `p`, which need not exist, to be brought near.
    fn prefetch(self, p: *const u8);
    /// Reads LANES x 4 bytes.
    unsafe fn bytes(self, p: *const u8) -> Self::Bytes;
    /// Writes LANES x 4 bytes.
    unsafe fn store_bytes(self, p: *mut u8, x: Self::Bytes);
    /// Each byte and-ed with `mask`.
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Each byte, below 16, replaced by that entry of `table`.
    fn lookup(self, table: &[u8; 16], index: Self::Bytes) -> Self::Bytes;
    /// Lanes of 16 bits shifted up; mask afterwards. `n` must be a constant once inlined.
    fn shl(self, a: Self::Bytes, n: i32) -> Self::Bytes;
    /// Lanes of 16 bits shifted down; mask afterwards.
    fn shr(self, a: Self::Bytes, n: i32) -> Self::Bytes;

    /// An empty sum.
    fn dot_zero(self) -> Self::Dot;
    /// Reads the negated sum of activations (a word as [`Isa::half_sums`] makes it) and shifts it
    /// up by `shift`: the start for weights stored with an offset of `2^SHIFT`.
    unsafe fn dot_start(self, sums: *const i32, shift: i32) -> Self::Dot;
    /// Adds unsigned weights times the four i8 at `a`.
    unsafe fn dot(self, s: Self::Dot, w: Self::Bytes, a: *const i32) -> Self::Dot;
    /// The same sum, computed by now: keeps the compiler from reordering the additions of several
    /// sums so that the weights of a whole run must stay in registers.
    fn pin(self, s: Self::Dot) -> Self::Dot;
    /// As [`Isa::pin`].
    fn pin_ints(self, s: Self::Ints) -> Self::Ints;
    /// The sum as integers.
    fn dot_ints(self, s: Self::Dot) -> Self::Ints;
    /// The start of a sum of signed weights; reads one word of sums, which times `2^shift` is 128
    /// times the sum of the activations.
    unsafe fn signed_start(self, sums: *const i32, shift: i32) -> Self::Ints;
    /// Adds signed weights times the four i8 (none is -128) at `a`.
    unsafe fn dot_signed(self, s: Self::Ints, w: Self::Bytes, a: *const i32) -> Self::Ints;
    /// `a + b`.
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// As f32.
    fn floats(self, a: Self::Ints) -> Self::Floats;
    /// Sums of the quants at `p` (32 i8), negated, as [`Isa::dot_start`] wants them: of the first
    /// 16 and of the last 16.
    unsafe fn half_sums(self, p: *const i8) -> [i32; 2];
    /// Reads LANES i8.
    unsafe fn half_scales(self, p: *const i8) -> Self::HalfScales;
    /// Reads LANES bytes: their low nibbles and their high ones.
    unsafe fn half_nibbles(self, p: *const u8) -> (Self::HalfScales, Self::HalfScales);
    /// `a * ka`, the first 16 weights of a 32.
    fn halves_start(self, a: Self::Dot, ka: Self::HalfScales) -> Self::Half;
    /// `a * ka + b * kb`.
    fn halves_end(self, a: Self::Half, b: Self::Dot, kb: Self::HalfScales) -> Self::Floats;
}

/// The bits of the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded }
}
