//! The forms in which keys and values are stored: floats as they are, and whole numbers of 8 or 4
//! bits, which stand for floats together with a scale (`scale.rs`).

use crate::element::{self, Element};
use crate::isa::Isa;

/// A form. A row of elements begins at a whole byte and has whole groups of 16.
pub(super) trait Stored: Copy + Send + Sync + 'static {
    /// Bits of an element.
    const BITS: usize;
    /// The whole number that the largest element of a group becomes; `None` for floats.
    const PEAK: Option<f32>;
    /// Bytes of an element by itself.
    const ALONE: usize;

    /// Reads the LANES elements of a row from `at` on, a multiple of LANES.
    ///
    /// # Safety
    /// The row at `p` has them.
    unsafe fn load<I: Isa>(isa: I, p: *const u8, at: usize) -> I::Floats;
    /// Rounds LANES elements, each by itself in [`Stored::ALONE`] bytes.
    ///
    /// # Safety
    /// `p` points to room for them.
    unsafe fn round<I: Isa>(isa: I, p: *mut u8, x: I::Floats);
    /// Puts rounded elements into a row, from `at` on.
    ///
    /// # Safety
    /// The row at `p` has these elements.
    #[inline(always)]
    unsafe fn put(p: *mut u8, at: usize, elements: &[u8]) {
        // SAFETY: as the caller's.
        unsafe {
            std::ptr::copy_nonoverlapping(
                elements.as_ptr(),
                p.add(bytes::<Self>(at)),
                elements.len(),
            );
        }
    }
}

/// Bytes of so many elements: of an even number, or of any where an element is a whole byte.
#[inline(always)]
pub(super) const fn bytes<E: Stored>(elements: usize) -> usize {
    elements * E::BITS / 8
}

/// Names the types of stored floats.
macro_rules! floats {
    ($($name:ident)*) => {$(
        impl Stored for element::$name {
            const BITS: usize = 8 * <Self as Element>::BYTES;
            const PEAK: Option<f32> = None;
            const ALONE: usize = <Self as Element>::BYTES;

            #[inline(always)]
            unsafe fn load<I: Isa>(isa: I, p: *const u8, at: usize) -> I::Floats {
                // SAFETY: as the caller's.
                unsafe { <Self as Element>::load(isa, p.add(bytes::<Self>(at))) }
            }

            #[inline(always)]
            unsafe fn round<I: Isa>(isa: I, p: *mut u8, x: I::Floats) {
                // SAFETY: as the caller's.
                unsafe { <Self as Element>::store(isa, p, x) }
            }
        }
    )*};
}

floats! { F32 F16 Bf16 }

/// Whole numbers of 8 bits.
#[derive(Clone, Copy)]
pub(super) struct I8;

impl Stored for I8 {
    const BITS: usize = 8;
    const PEAK: Option<f32> = Some(127.0);
    const ALONE: usize = 1;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, p: *const u8, at: usize) -> I::Floats {
        // SAFETY: as the caller's.
        unsafe { isa.load_i8(p.add(at).cast()) }
    }

    #[inline(always)]
    unsafe fn round<I: Isa>(isa: I, p: *mut u8, x: I::Floats) {
        // SAFETY: as the caller's.
        unsafe { isa.store_i8(p.cast(), x) }
    }
}

/// Whole numbers of 4 bits, stored with an offset of 8: of 16 elements, byte `i` has element `i` in
/// its low half and element `i + 8` in its high one, so that vectors of 8 and of 16 lanes are read
/// with one load.
#[derive(Clone, Copy)]
pub(super) struct I4;

impl Stored for I4 {
    const BITS: usize = 4;
    const PEAK: Option<f32> = Some(7.0);
    const ALONE: usize = 1;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, p: *const u8, at: usize) -> I::Floats {
        // SAFETY: as the caller's.
        let x = unsafe { isa.load_nibbles(p.add(at / 16 * 8), at % 16) };
        isa.sub(x, isa.splat(8.0))
    }

    #[inline(always)]
    unsafe fn round<I: Isa>(isa: I, p: *mut u8, x: I::Floats) {
        // SAFETY: as the caller's.
        unsafe { isa.store_i8(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn put(p: *mut u8, at: usize, elements: &[u8]) {
        for (at, &element) in (at..).zip(elements) {
            let nibble = (element as i8).clamp(-8, 7).wrapping_add(8) as u8;
            let shift = at % 16 / 8 * 4;
            // SAFETY: as the caller's.
            unsafe {
                let byte = p.add(at / 16 * 8 + at % 8);
                *byte = *byte & !(15 << shift) | nibble << shift;
            }
        }
    }
}
