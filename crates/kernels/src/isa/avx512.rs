//! Sixteen lanes on AVX-512 with VNNI: byte products summed in 32 bits by one instruction.
//!
//! `dpbusd` wants unsigned weights, so signed ones are shifted up by 128 in the register and the
//! sum starts at -128 times the sum of the activations.

use super::{Isa, bf16_bits};
use crate::cpu::Kernel;
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, VL and VNNI besides AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if the machine has the features.
    pub(crate) fn detect() -> Option<Self> {
        let has = super::avx2::Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    /// Runs `kernel` with the features switched on.
    #[inline]
    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
        fn door<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
            kernel.run(isa)
        }
        // SAFETY: `self` proves the features.
        unsafe { door(self, kernel) }
    }
}

/// Lanes 0..8 and 8..16.
///
/// # Safety
/// The machine has AVX-512 F.
#[inline(always)]
unsafe fn split(a: __m512) -> (__m256, __m256) {
    // SAFETY: as the caller's.
    unsafe {
        let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a));
        (_mm512_castps512_ps256(a), _mm256_castpd_ps(high))
    }
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

impl Isa for Avx512 {
    const LANES: usize = 16;
    const EXPANDS: bool = false;
    const WIDE_DOT: bool = true;

    type Floats = __m512;
    type Ints = __m512i;
    type Bytes = __m512i;
    type Dot = __m512i;
    type HalfScales = __m512;
    type Half = __m512;

    memory! {
        fn load(p: *const f32) -> __m512 = _mm512_loadu_ps(p);
        fn store(p: *mut f32, x: __m512) = _mm512_storeu_ps(p, x);
        fn load_f16(p: *const u16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(p.cast()));
        fn load_bf16(p: *const u16) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))
        ));
        fn store_f16(p: *mut u16, x: __m512) =
            _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
        fn store_bf16(p: *mut u16, x: __m512) = {
            // Rounded lane by lane: the cache is written far less than it is read.
            let x = std::mem::transmute::<__m512, [f32; 16]>(x);
            for (lane, x) in x.into_iter().enumerate() {
                p.add(lane).write_unaligned(bf16_bits(x));
            }
        };
        fn load_u8(p: *const u8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())));
        fn load_i8(p: *const i8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())));
        fn load_nibbles(p: *const u8, _at: usize) -> __m512 = {
            let x = _mm_loadl_epi64(p.cast());
            let x = _mm_unpacklo_epi64(x, _mm_srli_epi16::<4>(x));
            let x = _mm_and_si128(x, _mm_set1_epi8(15));
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(x))
        };
        fn store_i8(p: *mut i8, x: __m512) = {
            // Clamped as floats: out of range, the conversion gives i32::MIN whatever the sign.
            let x = _mm512_min_ps(x, _mm512_set1_ps(127.0));
            let x = _mm512_cvtps_epi32(_mm512_max_ps(x, _mm512_set1_ps(-127.0)));
            _mm_storeu_si128(p.cast(), _mm512_cvtsepi32_epi8(x))
        };
        fn bytes(p: *const u8) -> __m512i = _mm512_loadu_si512(p.cast());
        fn store_bytes(p: *mut u8, x: __m512i) = _mm512_storeu_si512(p.cast(), x);
        fn dot(s: __m512i, w: __m512i, a: *const i32) -> __m512i =
            _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(*a));
        fn dot_start(sums: *const i32, shift: i32) -> __m512i =
            _mm512_sll_epi32(_mm512_set1_epi32(*sums), _mm_cvtsi32_si128(shift));
        fn half_sums(p: *const i8) -> [i32; 2] = {
            let ones = _mm256_set1_epi8(1);
            let bytes = _mm256_loadu_si256(p.cast());
            let sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), ones, bytes);
            let sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b01_00_11_10>(sums));
            let sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32::<0b10_11_00_01>(sums));
            [-_mm256_extract_epi32::<0>(sums), -_mm256_extract_epi32::<4>(sums)]
        };
        fn signed_start(sums: *const i32, shift: i32) -> __m512i =
            _mm512_sll_epi32(_mm512_set1_epi32(*sums), _mm_cvtsi32_si128(shift));
        fn dot_signed(s: __m512i, w: __m512i, a: *const i32) -> __m512i = {
            let w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
            _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(*a))
        };
        fn half_scales(p: *const i8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())));
        fn half_nibbles(p: *const u8) -> (__m512, __m512) = {
            let x = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
            let low = _mm512_and_si512(x, _mm512_set1_epi32(15));
            (_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(x)))
        };
    }

    // `dpbusd` adds by itself, so there is nothing to reorder.
    #[inline(always)]
    fn pin(self, s: __m512i) -> __m512i {
        s
    }
    #[inline(always)]
    fn pin_ints(self, s: __m512i) -> __m512i {
        s
    }
    #[inline(always)]
    fn dot_ints(self, s: __m512i) -> __m512i {
        s
    }

    registers! {
        fn prefetch(p: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(p.cast());
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        fn select_lt(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 =
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes);
        fn round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn exp2_whole(n: __m512) -> __m512 = {
            let n = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(n))
        };
        fn sum(a: __m512) -> f32 = {
            let (low, high) = split(a);
            let a = _mm256_add_ps(low, high);
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        };
        fn max_lane(a: __m512) -> f32 = {
            let (low, high) = split(a);
            let a = _mm256_max_ps(low, high);
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        };
        fn and(a: __m512i, mask: u8) -> __m512i =
            _mm512_and_si512(a, _mm512_set1_epi8(mask as i8));
        fn or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn lookup(table: &[u8; 16], index: __m512i) -> __m512i = {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index)
        };
        fn shl(a: __m512i, n: i32) -> __m512i = _mm512_sll_epi16(a, _mm_cvtsi32_si128(n));
        fn shr(a: __m512i, n: i32) -> __m512i = _mm512_srl_epi16(a, _mm_cvtsi32_si128(n));
        fn dot_zero() -> __m512i = _mm512_setzero_si512();
        fn add_ints(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn floats(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        fn halves_start(a: __m512i, ka: __m512) -> __m512 =
            _mm512_mul_ps(_mm512_cvtepi32_ps(a), ka);
        fn halves_end(a: __m512, b: __m512i, kb: __m512) -> __m512 =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(b), kb, a);
    }
}
