//! Eight lanes on AVX2, FMA and F16C.
//!
//! Byte products come from `maddubs`, which adds neighbouring pairs in 16 bits; up to eight such
//! sums are added before they are widened. Signed weights go through `|w| x sign(a, w)` and are
//! widened each time, as two products of full bytes fill 16 bits.

use super::{Isa, bf16_bits};
use crate::cpu::Kernel;
use std::arch::x86_64::*;

/// Proof that the machine has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the machine has the features.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    /// Runs `kernel` with the features switched on.
    #[inline]
    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn door<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` proves the features.
        unsafe { door(self, kernel) }
    }
}

/// A value that the compiler may not look through.
#[target_feature(enable = "avx2")]
#[inline]
fn pin(s: __m256i) -> __m256i {
    let mut s = s;
    // SAFETY: no instructions.
    unsafe {
        std::arch::asm!(
            "/* {s} */",
            s = inout(ymm_reg) s,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    s
}

/// Operations on registers.
macro_rules! registers {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $out {
            // SAFETY: `self` proves the features; no memory is touched.
            unsafe { $body }
        }
    )*};
}

/// Operations on memory.
macro_rules! memory {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $($arg: $ty),*) $(-> $out)? {
            // SAFETY: `self` proves the features; the caller lends the memory the trait names.
            unsafe { $body }
        }
    )*};
}

impl Isa for Avx2 {
    const LANES: usize = 8;
    const EXPANDS: bool = true;
    const WIDE_DOT: bool = false;

    type Floats = __m256;
    type Ints = __m256i;
    type Bytes = __m256i;
    type Dot = __m256i;
    type HalfScales = __m256i;
    type Half = __m256i;

    memory! {
        fn load(p: *const f32) -> __m256 = _mm256_loadu_ps(p);
        fn store(p: *mut f32, x: __m256) = _mm256_storeu_ps(p, x);
        fn load_f16(p: *const u16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(p.cast()));
        fn load_bf16(p: *const u16) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(
            _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))
        ));
        fn store_f16(p: *mut u16, x: __m256) =
            _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
        fn store_bf16(p: *mut u16, x: __m256) = {
            // Rounded lane by lane: the cache is written far less than it is read.
            let x = std::mem::transmute::<__m256, [f32; 8]>(x);
            for (lane, x) in x.into_iter().enumerate() {
                p.add(lane).write_unaligned(bf16_bits(x));
            }
        };
        fn load_u8(p: *const u8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())));
        fn load_i8(p: *const i8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())));
        fn load_nibbles(p: *const u8, at: usize) -> __m256 = {
            let x = _mm_loadl_epi64(p.cast());
            let x = if at == 0 { x } else { _mm_srli_epi16::<4>(x) };
            let x = _mm_and_si128(x, _mm_set1_epi8(15));
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x))
        };
        fn store_i8(p: *mut i8, x: __m256) = {
            // Clamped as floats: out of range, the conversion gives i32::MIN whatever the sign.
            let x = _mm256_min_ps(x, _mm256_set1_ps(127.0));
            let x = _mm256_cvtps_epi32(_mm256_max_ps(x, _mm256_set1_ps(-127.0)));
            let x = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            _mm_storel_epi64(p.cast(), _mm_packs_epi16(x, x))
        };
        fn bytes(p: *const u8) -> __m256i = _mm256_loadu_si256(p.cast());
        fn store_bytes(p: *mut u8, x: __m256i) = _mm256_storeu_si256(p.cast(), x);
        fn dot(s: __m256i, w: __m256i, a: *const i32) -> __m256i =
            _mm256_add_epi16(s, _mm256_maddubs_epi16(w, _mm256_set1_epi32(*a)));
        fn dot_start(sums: *const i32, shift: i32) -> __m256i =
            _mm256_sll_epi16(_mm256_set1_epi32(*sums), _mm_cvtsi32_si128(shift));
        fn half_sums(p: *const i8) -> [i32; 2] = {
            // Pairs of both halves at once; each word then holds both places' sums in 16 bits.
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_loadu_si256(p.cast()));
            let sums = _mm256_add_epi16(pairs, _mm256_shuffle_epi32::<0b01_00_11_10>(pairs));
            let sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32::<0b10_11_00_01>(sums));
            let sums = _mm256_sub_epi16(_mm256_setzero_si256(), sums);
            [_mm256_extract_epi32::<0>(sums), _mm256_extract_epi32::<4>(sums)]
        };
        fn signed_start(_sums: *const i32, _shift: i32) -> __m256i = _mm256_setzero_si256();
        fn dot_signed(s: __m256i, w: __m256i, a: *const i32) -> __m256i = {
            let a = _mm256_sign_epi8(_mm256_set1_epi32(*a), w);
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), a);
            _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        };
        fn half_scales(p: *const i8) -> __m256i = {
            // Each scale twice, for both pairs of a lane.
            let x = _mm_loadl_epi64(p.cast());
            _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(x, x))
        };
        fn half_nibbles(p: *const u8) -> (__m256i, __m256i) = {
            let x = _mm_loadl_epi64(p.cast());
            let x = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, x));
            (_mm256_and_si256(x, _mm256_set1_epi16(15)), _mm256_srli_epi16::<4>(x))
        };
    }

    registers! {
        fn prefetch(p: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(p.cast());
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        fn select_lt(a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 =
            _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        fn round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn exp2_whole(n: __m256) -> __m256 = {
            let n = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n))
        };
        fn sum(a: __m256) -> f32 = {
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        };
        fn max_lane(a: __m256) -> f32 = {
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        };
        fn and(a: __m256i, mask: u8) -> __m256i =
            _mm256_and_si256(a, _mm256_set1_epi8(mask as i8));
        fn or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        fn lookup(table: &[u8; 16], index: __m256i) -> __m256i = {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index)
        };
        fn shl(a: __m256i, n: i32) -> __m256i = _mm256_sll_epi16(a, _mm_cvtsi32_si128(n));
        fn shr(a: __m256i, n: i32) -> __m256i = _mm256_srl_epi16(a, _mm_cvtsi32_si128(n));
        fn pin(s: __m256i) -> __m256i = pin(s);
        fn pin_ints(s: __m256i) -> __m256i = pin(s);
        fn dot_zero() -> __m256i = _mm256_setzero_si256();
        fn dot_ints(s: __m256i) -> __m256i = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
        fn add_ints(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn floats(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        fn halves_start(a: __m256i, ka: __m256i) -> __m256i = _mm256_madd_epi16(a, ka);
        fn halves_end(a: __m256i, b: __m256i, kb: __m256i) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_add_epi32(a, _mm256_madd_epi16(b, kb)));
    }
}
