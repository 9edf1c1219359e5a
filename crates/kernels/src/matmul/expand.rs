//! Weights unpacked to whole bytes beside their f32 scales: what the kernel reads when many rows
//! share them, so that nibbles are taken apart once and not for every panel of rows.
//!
//! Unpacking changes no value, so the results are those of the packed tile, bit for bit.

use crate::isa::Isa;
use crate::quant::tile::{DotForm, ScaleMin, Source};
use std::marker::PhantomData;

/// Bytes of one run for each row at most: 32 weights, f32 scale, f32 minimum, scales of halves.
pub(super) const MAX_UNITS: usize = 48;

/// The unpacked form of `T`.
pub(super) struct Expanded<T>(PhantomData<T>);

impl<T> Clone for Expanded<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Expanded<T> {}

impl<T: Source> Source for Expanded<T> {
    /// Whole lines for any number of lanes.
    const UNITS: usize = if matches!(T::DOT, DotForm::HalvesLess) { MAX_UNITS } else { 40 };
    const RUNS: usize = 1;
    const DOT: DotForm = T::DOT;
    const HAS_MIN: bool = T::HAS_MIN;

    #[inline(always)]
    unsafe fn pair<I: Isa>(isa: I, p: *const u8, _: usize, pair: usize) -> (I::Bytes, I::Bytes) {
        // SAFETY: eight vectors open the run.
        unsafe {
            let at = p.add(8 * pair * I::LANES);
            (isa.bytes(at), isa.bytes(at.add(4 * I::LANES)))
        }
    }

    #[inline(always)]
    unsafe fn scale<I: Isa>(isa: I, p: *const u8, _: usize) -> ScaleMin<I::Floats> {
        // SAFETY: scales follow the weights, and minima follow them.
        unsafe {
            let scale = isa.load(p.add(32 * I::LANES).cast());
            let min =
                if T::HAS_MIN { isa.load(p.add(36 * I::LANES).cast()) } else { isa.splat(0.0) };
            ScaleMin { scale, min }
        }
    }

    #[inline(always)]
    unsafe fn halves<I: Isa>(p: *const u8, _: usize) -> *const i8 {
        // SAFETY: inside the run.
        unsafe { p.add(Self::HALVES * I::LANES).cast() }
    }
}

impl<T: Source> Expanded<T> {
    /// Units before the scales of halves: they take the minimum's place if there is none.
    const HALVES: usize = if T::HAS_MIN { 40 } else { 36 };
}

/// Unpacks `runs` runs of a tile from run `first` on.
///
/// # Safety
/// `w` points to a tile that has them, and `out` to `runs` blocks of [`Expanded<T>`].
#[inline(always)]
pub(super) unsafe fn expand<I: Isa, T: Source>(
    isa: I,
    w: *const u8,
    first: usize,
    runs: usize,
    out: *mut u8,
) {
    for index in 0..runs {
        let run = (first + index) % T::RUNS;
        // SAFETY: as the caller's.
        unsafe {
            let block = w.add((first + index) / T::RUNS * T::UNITS * I::LANES);
            let out = out.add(index * Expanded::<T>::UNITS * I::LANES);
            for pair in 0..4 {
                let (a, b) = T::pair(isa, block, run, pair);
                isa.store_bytes(out.add(8 * pair * I::LANES), a);
                isa.store_bytes(out.add((8 * pair + 4) * I::LANES), b);
            }
            let s = T::scale(isa, block, run);
            isa.store(out.add(32 * I::LANES).cast(), s.scale);
            if T::HAS_MIN {
                isa.store(out.add(36 * I::LANES).cast(), s.min);
            }
            if matches!(T::DOT, DotForm::Halves | DotForm::HalvesLess | DotForm::SignedHalves) {
                let to = out.add(Expanded::<T>::HALVES * I::LANES);
                std::ptr::copy_nonoverlapping(T::halves::<I>(block, run).cast(), to, 2 * I::LANES);
            }
        }
    }
}
