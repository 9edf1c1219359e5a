//! Stored floats: f32, f16 and bf16, widened on load and rounded to nearest even on store.

use crate::isa::Isa;

/// A type of stored float.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// Bytes of an element.
    const BYTES: usize;
    /// Reads LANES elements.
    ///
    /// # Safety
    /// `p` points to them.
    unsafe fn load<I: Isa>(isa: I, p: *const u8) -> I::Floats;
    /// Writes LANES elements.
    ///
    /// # Safety
    /// `p` points to room for them.
    unsafe fn store<I: Isa>(isa: I, p: *mut u8, x: I::Floats);
}

/// Names how each type is read and written.
macro_rules! elements {
    ($($name:ident, $bytes:literal, $load:ident, $store:ident;)*) => {$(
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;
        impl Element for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            unsafe fn load<I: Isa>(isa: I, p: *const u8) -> I::Floats {
                // SAFETY: as the caller's.
                unsafe { isa.$load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn store<I: Isa>(isa: I, p: *mut u8, x: I::Floats) {
                // SAFETY: as the caller's.
                unsafe { isa.$store(p.cast(), x) }
            }
        }
    )*};
}

elements! {
    F32, 4, load, store;
    F16, 2, load_f16, store_f16;
    Bf16, 2, load_bf16, store_bf16;
}
