//! Plain Rust with any number of lanes: the portable level, and the layouts of wider instruction
//! sets on a machine that lacks them (tests).
//!
//! Nothing here needs inlining to be right, and all but the simplest operations are kept out of
//! line: unrolled lane by lane into every kernel they would be most of the crate's code.

use super::{Isa, bf16_bits};

/// `L` lanes in plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Scalar<const L: usize>;

macro_rules! lanes {
    ($i:ident => $body:expr) => {{
        let mut out = [Default::default(); L];
        let mut $i = 0;
        while $i < L {
            out[$i] = $body;
            $i += 1;
        }
        out
    }};
}

/// Byte `i` of a word, signed.
#[inline]
fn signed(word: u32, i: u32) -> i32 {
    i32::from((word >> (8 * i)) as u8 as i8)
}

/// Byte `i` of a word, unsigned.
#[inline]
fn unsigned(word: u32, i: u32) -> i32 {
    i32::from((word >> (8 * i)) as u8)
}

impl<const L: usize> Isa for Scalar<L> {
    const LANES: usize = L;
    const EXPANDS: bool = false;
    const WIDE_DOT: bool = true;

    type Floats = [f32; L];
    type Ints = [i32; L];
    type Bytes = [u32; L];
    type Dot = [i32; L];
    type HalfScales = [i32; L];
    type Half = [i32; L];

    #[inline]
    fn splat(self, x: f32) -> [f32; L] {
        [x; L]
    }
    #[inline]
    unsafe fn load(self, p: *const f32) -> [f32; L] {
        // SAFETY: the caller lends LANES values.
        unsafe { p.cast::<[f32; L]>().read_unaligned() }
    }
    #[inline]
    unsafe fn store(self, p: *mut f32, x: [f32; L]) {
        // SAFETY: the caller lends LANES values.
        unsafe { p.cast::<[f32; L]>().write_unaligned(x) }
    }
    #[inline(never)]
    unsafe fn load_f16(self, p: *const u16) -> [f32; L] {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[u16; L]>().read_unaligned() };
        lanes!(i => half::f16::from_bits(x[i]).to_f32_const())
    }
    #[inline(never)]
    unsafe fn load_bf16(self, p: *const u16) -> [f32; L] {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[u16; L]>().read_unaligned() };
        lanes!(i => f32::from_bits(u32::from(x[i]) << 16))
    }
    #[inline(never)]
    unsafe fn store_f16(self, p: *mut u16, x: [f32; L]) {
        let x: [u16; L] = lanes!(i => half::f16::from_f32_const(x[i]).to_bits());
        // SAFETY: the caller lends LANES values.
        unsafe { p.cast::<[u16; L]>().write_unaligned(x) }
    }
    #[inline(never)]
    unsafe fn store_bf16(self, p: *mut u16, x: [f32; L]) {
        let x: [u16; L] = lanes!(i => bf16_bits(x[i]));
        // SAFETY: the caller lends LANES values.
        unsafe { p.cast::<[u16; L]>().write_unaligned(x) }
    }
    #[inline(never)]
    unsafe fn load_u8(self, p: *const u8) -> [f32; L] {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[u8; L]>().read() };
        lanes!(i => f32::from(x[i]))
    }
    #[inline]
    unsafe fn load_i8(self, p: *const i8) -> [f32; L] {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[i8; L]>().read() };
        lanes!(i => f32::from(x[i]))
    }
    #[inline(never)]
    unsafe fn load_nibbles(self, p: *const u8, at: usize) -> [f32; L] {
        // SAFETY: the caller lends eight bytes.
        let x = unsafe { p.cast::<[u8; 8]>().read() };
        lanes!(i => f32::from((x[(at + i) % 8] >> ((at + i) / 8 % 2 * 4)) & 15))
    }
    #[inline]
    fn add(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        lanes!(i => a[i] + b[i])
    }
    #[inline]
    fn sub(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        lanes!(i => a[i] - b[i])
    }
    #[inline]
    fn mul(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        lanes!(i => a[i] * b[i])
    }
    #[inline(never)]
    fn div(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        lanes!(i => a[i] / b[i])
    }
    #[inline]
    fn fma(self, a: [f32; L], b: [f32; L], c: [f32; L]) -> [f32; L] {
        // Not `mul_add`: without the instruction that is a call into libm for each lane.
        lanes!(i => a[i] * b[i] + c[i])
    }
    #[inline(never)]
    fn max(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(never)]
    fn abs(self, a: [f32; L]) -> [f32; L] {
        lanes!(i => a[i].abs())
    }
    #[inline(never)]
    fn select_lt(self, a: [f32; L], b: [f32; L], yes: [f32; L], no: [f32; L]) -> [f32; L] {
        lanes!(i => if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(never)]
    fn round(self, a: [f32; L]) -> [f32; L] {
        lanes!(i => a[i].round_ties_even())
    }
    #[inline(never)]
    fn exp2_whole(self, n: [f32; L]) -> [f32; L] {
        lanes!(i => f32::from_bits(((n[i] as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(never)]
    fn sum(self, a: [f32; L]) -> f32 {
        let mut a = a;
        let mut half = L / 2;
        while half > 0 {
            let mut i = 0;
            while i < half {
                a[i] += a[i + half];
                i += 1;
            }
            half /= 2;
        }
        a[0]
    }
    #[inline(never)]
    fn max_lane(self, a: [f32; L]) -> f32 {
        let mut max = a[0];
        let mut i = 1;
        while i < L {
            max = if a[i] > max { a[i] } else { max };
            i += 1;
        }
        max
    }
    #[inline(never)]
    unsafe fn store_i8(self, p: *mut i8, x: [f32; L]) {
        // Not `clamp`, which keeps NaN.
        #[allow(clippy::manual_clamp)]
        let x: [i8; L] = lanes!(i => x[i].min(127.0).max(-127.0).round_ties_even() as i8);
        // SAFETY: the caller lends LANES values.
        unsafe { p.cast::<[i8; L]>().write(x) }
    }
    #[inline]
    fn prefetch(self, _p: *const u8) {}
    #[inline(never)]
    unsafe fn bytes(self, p: *const u8) -> [u32; L] {
        // SAFETY: the caller lends LANES x 4 bytes.
        unsafe { p.cast::<[u32; L]>().read_unaligned() }
    }
    #[inline]
    unsafe fn store_bytes(self, p: *mut u8, x: [u32; L]) {
        // SAFETY: the caller lends LANES x 4 bytes.
        unsafe { p.cast::<[u32; L]>().write_unaligned(x) }
    }
    #[inline(never)]
    fn and(self, a: [u32; L], mask: u8) -> [u32; L] {
        lanes!(i => a[i] & u32::from_ne_bytes([mask; 4]))
    }
    #[inline(never)]
    fn or(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
        lanes!(i => a[i] | b[i])
    }
    #[inline(never)]
    fn lookup(self, table: &[u8; 16], index: [u32; L]) -> [u32; L] {
        lanes!(i => u32::from_le_bytes(index[i].to_le_bytes().map(|at| table[usize::from(at)])))
    }
    #[inline(never)]
    fn shl(self, a: [u32; L], n: i32) -> [u32; L] {
        let low = (0xffff_u32 << n) & 0xffff;
        lanes!(i => (a[i] << n) & (low | low << 16))
    }
    #[inline(never)]
    fn shr(self, a: [u32; L], n: i32) -> [u32; L] {
        let low = 0xffff_u32 >> n;
        lanes!(i => (a[i] >> n) & (low | low << 16))
    }
    #[inline]
    fn dot_zero(self) -> [i32; L] {
        [0; L]
    }
    #[inline]
    unsafe fn dot_start(self, sums: *const i32, shift: i32) -> [i32; L] {
        // SAFETY: the caller lends one word.
        [unsafe { *sums } << shift; L]
    }
    #[inline(never)]
    unsafe fn dot(self, s: [i32; L], w: [u32; L], a: *const i32) -> [i32; L] {
        // SAFETY: the caller lends one word.
        let a = unsafe { *a } as u32;
        let a = [signed(a, 0), signed(a, 1), signed(a, 2), signed(a, 3)];
        let dot = |w| {
            unsigned(w, 0) * a[0]
                + unsigned(w, 1) * a[1]
                + unsigned(w, 2) * a[2]
                + unsigned(w, 3) * a[3]
        };
        lanes!(i => s[i] + dot(w[i]))
    }
    #[inline]
    fn pin(self, s: [i32; L]) -> [i32; L] {
        s
    }
    #[inline]
    fn pin_ints(self, s: [i32; L]) -> [i32; L] {
        s
    }
    #[inline(never)]
    unsafe fn half_sums(self, p: *const i8) -> [i32; 2] {
        // SAFETY: the caller lends 32 values.
        let x = unsafe { p.cast::<[[i8; 16]; 2]>().read() };
        [
            -x[0].iter().map(|&x| i32::from(x)).sum::<i32>(),
            -x[1].iter().map(|&x| i32::from(x)).sum::<i32>(),
        ]
    }
    #[inline]
    fn dot_ints(self, s: [i32; L]) -> [i32; L] {
        s
    }
    #[inline]
    unsafe fn signed_start(self, _sums: *const i32, _shift: i32) -> [i32; L] {
        [0; L]
    }
    #[inline(never)]
    unsafe fn dot_signed(self, s: [i32; L], w: [u32; L], a: *const i32) -> [i32; L] {
        // SAFETY: the caller lends one word.
        let a = unsafe { *a } as u32;
        let a = [signed(a, 0), signed(a, 1), signed(a, 2), signed(a, 3)];
        let dot = |w| {
            signed(w, 0) * a[0] + signed(w, 1) * a[1] + signed(w, 2) * a[2] + signed(w, 3) * a[3]
        };
        lanes!(i => s[i] + dot(w[i]))
    }
    #[inline]
    fn add_ints(self, a: [i32; L], b: [i32; L]) -> [i32; L] {
        lanes!(i => a[i] + b[i])
    }
    #[inline(never)]
    fn floats(self, a: [i32; L]) -> [f32; L] {
        lanes!(i => a[i] as f32)
    }
    #[inline(never)]
    unsafe fn half_scales(self, p: *const i8) -> [i32; L] {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[i8; L]>().read() };
        lanes!(i => i32::from(x[i]))
    }
    #[inline(never)]
    unsafe fn half_nibbles(self, p: *const u8) -> ([i32; L], [i32; L]) {
        // SAFETY: the caller lends LANES values.
        let x = unsafe { p.cast::<[u8; L]>().read() };
        (lanes!(i => i32::from(x[i] & 15)), lanes!(i => i32::from(x[i] >> 4)))
    }
    #[inline(never)]
    fn halves_start(self, a: [i32; L], ka: [i32; L]) -> [i32; L] {
        lanes!(i => a[i] * ka[i])
    }
    #[inline(never)]
    fn halves_end(self, a: [i32; L], b: [i32; L], kb: [i32; L]) -> [f32; L] {
        lanes!(i => (a[i] + b[i] * kb[i]) as f32)
    }
}
