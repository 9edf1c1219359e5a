//! The integer tile kernel, written once for all formats and instruction sets.
//!
//! A tile of weights (as many rows as lanes) times `M` rows of activations. The weights of a pair
//! of groups are unpacked once and used for all `M` rows; sums of products are whole numbers until
//! the end of a run of 32. For each output the order of floating-point operations is the same for
//! every `M`: `acc = scale * scale_a * dot + acc`, then the minimum's term, run after run.

// Loops over rows count indices of arrays and memory at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::acts::{META, Meta, Panel};
use crate::cpu::Kernel;
use crate::isa::Isa;
use crate::quant::tile::{DotForm, Tile};
use std::marker::PhantomData;

/// Tiles `tiles` times rows `panels` of activations.
pub(super) struct IntTiles<'a, T> {
    pub(super) format: PhantomData<T>,
    /// The first of the tiles.
    pub(super) weights: *const u8,
    /// Blocks in a tile.
    pub(super) blocks: usize,
    /// The first tile's number, and how many.
    pub(super) first_tile: usize,
    pub(super) tiles: usize,
    /// Row-major outputs `[rows of activations][width]`.
    pub(super) out: *mut f32,
    pub(super) width: usize,
    /// Numbers of panels to do.
    pub(super) panels: std::ops::Range<usize>,
    pub(super) acts: &'a super::Acts,
}

impl<T: Tile> Kernel for IntTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for index in self.panels.clone() {
            let panel = self.acts.panel(index);
            match panel.rows {
                1 => self.panel::<I, 1>(isa, panel),
                2 => self.panel::<I, 2>(isa, panel),
                3 => self.panel::<I, 3>(isa, panel),
                4 => self.panel::<I, 4>(isa, panel),
                5 if I::MAX_ROWS >= 5 => self.panel::<I, 5>(isa, panel),
                6 if I::MAX_ROWS >= 6 => self.panel::<I, 6>(isa, panel),
                7 if I::MAX_ROWS >= 7 => self.panel::<I, 7>(isa, panel),
                8 if I::MAX_ROWS >= 8 => self.panel::<I, 8>(isa, panel),
                rows => unreachable!("a panel of {rows} rows"),
            }
        }
    }
}

impl<T: Tile> IntTiles<'_, T> {
    #[inline(always)]
    fn panel<I: Isa, const M: usize>(&self, isa: I, panel: Panel) {
        let bytes = self.blocks * T::UNITS * I::LANES;
        for t in 0..self.tiles {
            let first = (self.first_tile + t) * I::LANES;
            let valid = I::LANES.min(self.width - first);
            // SAFETY: the caller of `linear` checked that tiles, panel and outputs have these
            // sizes.
            unsafe {
                let acc = tile::<I, T, M>(isa, self.weights.add(t * bytes), self.blocks, panel);
                for (m, acc) in acc.into_iter().enumerate() {
                    let out = self.out.add((panel.first + m) * self.width + first);
                    super::store_lanes(isa, acc, out, valid);
                }
            }
        }
    }
}

/// One tile times `M` rows.
///
/// # Safety
/// `w` points to `blocks` blocks, and the panel holds `M` rows as long as they.
#[inline(always)]
unsafe fn tile<I: Isa, T: Tile, const M: usize>(
    isa: I,
    w: *const u8,
    blocks: usize,
    panel: Panel,
) -> [I::Floats; M] {
    let mut acc = [isa.splat(0.0); M];
    let (mut w, mut q, mut meta) = (w, panel.quants, panel.meta);
    for _ in 0..blocks {
        for run in 0..T::RUNS {
            // SAFETY: runs, quants and meta go on together to the ends the caller vouches for.
            unsafe {
                let dots = dots::<I, T, M>(isa, w, run, q, meta);
                let s = T::scale(isa, w, run);
                for m in 0..M {
                    let a = *meta.add(Meta::Scale as usize * M + m).cast::<f32>();
                    acc[m] = isa.fma(isa.mul(s.scale, isa.splat(a)), dots[m], acc[m]);
                    if T::HAS_MIN {
                        let sum = *meta.add(Meta::ScaledSum as usize * M + m).cast::<f32>();
                        acc[m] = isa.fma(s.min, isa.splat(sum), acc[m]);
                    }
                }
                q = q.add(8 * M);
                meta = meta.add(META * M);
            }
        }
        // SAFETY: one block further, at most to the end.
        w = unsafe { w.add(T::UNITS * I::LANES) };
    }
    acc
}

/// The whole-number dot products of one run, as f32.
///
/// # Safety
/// As [`tile`], for one run.
#[inline(always)]
unsafe fn dots<I: Isa, T: Tile, const M: usize>(
    isa: I,
    w: *const u8,
    run: usize,
    q: *const i32,
    meta: *const u32,
) -> [I::Floats; M] {
    let mut out = [isa.splat(0.0); M];
    // SAFETY: as the caller's.
    unsafe {
        match T::DOT {
            DotForm::Signed => {
                let mut s = [isa.signed_start(meta.add(Meta::Sum as usize * M).cast()); M];
                for m in 1..M {
                    s[m] = isa.signed_start(meta.add(Meta::Sum as usize * M + m).cast());
                }
                for pair in 0..4 {
                    let (a, b) = T::pair(isa, w, run, pair);
                    for m in 0..M {
                        s[m] = isa.dot_signed(s[m], a, q.add(2 * pair * M + m));
                    }
                    for m in 0..M {
                        s[m] = isa.dot_signed(s[m], b, q.add((2 * pair + 1) * M + m));
                    }
                }
                for m in 0..M {
                    out[m] = isa.floats(s[m]);
                }
            }
            DotForm::Halves => {
                let (ka, kb) = T::halves(isa, w, run);
                let s = starts::<I, M>(isa, meta.add(Meta::FirstHalf as usize * M), 5);
                let s = pairs::<I, T, M>(isa, w, run, q, s, 0..2);
                let mut half = [isa.halves_start(s[0], ka); M];
                for m in 1..M {
                    half[m] = isa.halves_start(s[m], ka);
                }
                let s = starts::<I, M>(isa, meta.add(Meta::SecondHalf as usize * M), 5);
                let s = pairs::<I, T, M>(isa, w, run, q, s, 2..4);
                for m in 0..M {
                    out[m] = isa.halves_end(half[m], s[m], kb);
                }
            }
            // Five bits: eight groups would not fit 16-bit sums.
            DotForm::Unsigned { bits } if bits > 4 && !I::WIDE_DOT => {
                let s = pairs::<I, T, M>(isa, w, run, q, [isa.dot_zero(); M], 0..2);
                let mut ints = [isa.dot_ints(s[0]); M];
                for m in 1..M {
                    ints[m] = isa.dot_ints(s[m]);
                }
                let s = pairs::<I, T, M>(isa, w, run, q, [isa.dot_zero(); M], 2..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.add_ints(ints[m], isa.dot_ints(s[m])));
                }
            }
            DotForm::Unsigned { .. } => {
                let s = pairs::<I, T, M>(isa, w, run, q, [isa.dot_zero(); M], 0..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.dot_ints(s[m]));
                }
            }
            // Less the offset, the sum of eight groups fits 16 bits up to five bits.
            DotForm::Centred { bits } => {
                let sums = meta.add(Meta::Sum as usize * M);
                let s = starts::<I, M>(isa, sums, bits as i32 - 1);
                let s = pairs::<I, T, M>(isa, w, run, q, s, 0..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.dot_ints(s[m]));
                }
            }
        }
    }
    out
}

/// Sums that begin at minus the offset `2^shift` times the sum of the activations.
///
/// # Safety
/// `sums` points to `M` words.
#[inline(always)]
unsafe fn starts<I: Isa, const M: usize>(isa: I, sums: *const u32, shift: i32) -> [I::Dot; M] {
    let mut s = [isa.dot_zero(); M];
    for m in 0..M {
        // SAFETY: as the caller's.
        s[m] = unsafe { isa.dot_start(sums.add(m).cast(), shift) };
    }
    s
}

/// Adds the groups of `pairs` to the sums.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn pairs<I: Isa, T: Tile, const M: usize>(
    isa: I,
    w: *const u8,
    run: usize,
    q: *const i32,
    mut s: [I::Dot; M],
    pairs: std::ops::Range<usize>,
) -> [I::Dot; M] {
    for pair in pairs {
        // SAFETY: as the caller's.
        unsafe {
            let (a, b) = T::pair(isa, w, run, pair);
            for m in 0..M {
                s[m] = isa.dot(s[m], a, q.add(2 * pair * M + m));
            }
            for m in 0..M {
                s[m] = isa.dot(s[m], b, q.add((2 * pair + 1) * M + m));
            }
        }
    }
    s
}
