//! The integer tile kernel, written once for all formats and instruction sets.
//!
//! A tile of weights (as many rows as lanes) times `M` rows of activations. The weights of a pair
//! of groups are unpacked once and used for all `M` rows; sums of products are whole numbers until
//! the end of a run of 32. For each output the order of floating-point operations is the same for
//! every `M`: `acc = scale * scale_a * dot + acc`, then the minimum's term, run after run.

// Loops over rows count indices of arrays and memory at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::acts::{META, Meta, Panel};
use super::expand::{self, Expanded};
use crate::cpu::Kernel;
use crate::isa::Isa;
use crate::quant::tile::{DotForm, Source};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

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

/// Runs that are unpacked at a time, and tiles: together with the same columns of a panel they stay
/// in the first-level cache.
const CHUNK: usize = 16;
const GROUP: usize = 4;

/// Panels from which on unpacking beforehand pays.
const MANY: usize = 3;

/// Bytes of weights that are asked for ahead of their use by a single row, which waits for nothing
/// else.
const AHEAD: usize = 4096;

/// Room for unpacked weights.
#[repr(align(64))]
struct Unpacked([MaybeUninit<u8>; GROUP * CHUNK * expand::MAX_UNITS * 16]);

impl<T: Source> Kernel for IntTiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        if I::EXPANDS && self.panels.len() >= MANY {
            return self.run_expanded(isa);
        }
        let tile_bytes = self.blocks * T::UNITS * I::LANES;
        let runs = 0..self.blocks * T::RUNS;
        for index in self.panels.clone() {
            let panel = self.acts.panel(index);
            for t in 0..self.tiles {
                // SAFETY: the caller of `linear` checked that tiles, panel and outputs have these
                // sizes.
                unsafe {
                    let w = self.weights.add(t * tile_bytes);
                    self.rows::<I, T>(isa, w, t, panel, runs.clone());
                }
            }
        }
    }
}

impl<T: Source> IntTiles<'_, T> {
    /// For many panels: some runs of some tiles are unpacked and multiplied with all panels.
    #[inline(always)]
    fn run_expanded<I: Isa>(&self, isa: I) {
        let tile_bytes = self.blocks * T::UNITS * I::LANES;
        let runs = self.blocks * T::RUNS;
        let mut unpacked = Unpacked([MaybeUninit::uninit(); _]);
        let unpacked = unpacked.0.as_mut_ptr().cast::<u8>();
        for first in (0..self.tiles).step_by(GROUP) {
            let group = GROUP.min(self.tiles - first);
            for start in (0..runs).step_by(CHUNK) {
                let count = CHUNK.min(runs - start);
                let room = count * <Expanded<T> as Source>::UNITS * I::LANES;
                for t in 0..group {
                    // SAFETY: the tile has these runs, and the buffer holds a chunk of a group.
                    unsafe {
                        let w = self.weights.add((first + t) * tile_bytes);
                        expand::expand::<I, T>(isa, w, start, count, unpacked.add(t * room));
                    }
                }
                for index in self.panels.clone() {
                    let panel = self.acts.panel(index);
                    for t in 0..group {
                        // SAFETY: as above; the chunk is unpacked.
                        unsafe {
                            let w = unpacked.add(t * room);
                            let runs = start..start + count;
                            self.rows::<I, Expanded<T>>(isa, w, first + t, panel, runs);
                        }
                    }
                }
            }
        }
    }

    /// Runs `runs` (`w` points to the first) of tile `t` times a panel, added to the outputs if
    /// they are not the first.
    ///
    /// # Safety
    /// Tile and panel have these runs, and the outputs exist.
    #[inline(always)]
    pub(super) unsafe fn rows<I: Isa, S: Source>(
        &self,
        isa: I,
        w: *const u8,
        t: usize,
        panel: Panel,
        runs: Range<usize>,
    ) {
        // SAFETY: as the caller's.
        unsafe {
            match panel.rows {
                1 => self.fixed_rows::<I, S, 1>(isa, w, t, panel, runs),
                2 => self.fixed_rows::<I, S, 2>(isa, w, t, panel, runs),
                3 => self.fixed_rows::<I, S, 3>(isa, w, t, panel, runs),
                4 => self.fixed_rows::<I, S, 4>(isa, w, t, panel, runs),
                8 => self.fixed_rows::<I, S, 8>(isa, w, t, panel, runs),
                rows => unreachable!("a panel of {rows} rows"),
            }
        }
    }

    /// # Safety
    /// As [`IntTiles::rows`], for a panel of `M` rows.
    #[inline(always)]
    unsafe fn fixed_rows<I: Isa, S: Source, const M: usize>(
        &self,
        isa: I,
        w: *const u8,
        t: usize,
        panel: Panel,
        runs: Range<usize>,
    ) {
        let first = (self.first_tile + t) * I::LANES;
        let valid = I::LANES.min(self.width - first);
        // SAFETY: as the caller's.
        unsafe {
            let out = self.out.add(panel.first * self.width + first);
            let mut acc = [isa.splat(0.0); M];
            if runs.start > 0 {
                for m in 0..M {
                    acc[m] = super::load_lanes(isa, out.add(m * self.width), valid);
                }
            }
            let acc = tile::<I, S, M>(isa, w, panel, runs, acc);
            for m in 0..M {
                super::store_lanes(isa, acc[m], out.add(m * self.width), valid);
            }
        }
    }
}

/// Runs `runs` of a tile times `M` rows, added to `acc`.
///
/// # Safety
/// `w` points to whole blocks of these runs, and the panel holds `M` rows that have them.
#[inline(always)]
pub(super) unsafe fn tile<I: Isa, S: Source, const M: usize>(
    isa: I,
    w: *const u8,
    panel: Panel,
    runs: Range<usize>,
    mut acc: [I::Floats; M],
) -> [I::Floats; M] {
    let mut w = w;
    // SAFETY: the first run of the panel.
    let (mut q, mut meta) =
        unsafe { (panel.quants.add(runs.start * 8 * M), panel.meta.add(runs.start * META * M)) };
    for _ in 0..runs.len() / S::RUNS {
        if M == 1 {
            prefetch(isa, w, S::UNITS);
        }
        for run in 0..S::RUNS {
            // SAFETY: runs, quants and meta go on together to the ends the caller vouches for.
            unsafe {
                let dots = dots::<I, S, M>(isa, w, run, q, meta);
                let s = S::scale(isa, w, run);
                for m in 0..M {
                    let a = *meta.add(Meta::Scale as usize * M + m).cast::<f32>();
                    acc[m] = isa.fma(isa.mul(s.scale, isa.splat(a)), dots[m], acc[m]);
                    if S::DOT == DotForm::HalvesLess {
                        let less = half_mins::<I, S>(isa, w, run, meta.add(m), M);
                        acc[m] = isa.fma(isa.mul(s.min, isa.splat(a)), less, acc[m]);
                    } else if S::HAS_MIN {
                        let sum = *meta.add(Meta::ScaledSum as usize * M + m).cast::<f32>();
                        acc[m] = isa.fma(s.min, isa.splat(sum), acc[m]);
                    }
                }
                q = q.add(8 * M);
                meta = meta.add(META * M);
            }
        }
        // SAFETY: one block further, at most to the end.
        w = unsafe { w.add(S::UNITS * I::LANES) };
    }
    acc
}

/// The whole-number dot products of one run, as f32.
///
/// # Safety
/// As [`tile`], for one run.
#[inline(always)]
unsafe fn dots<I: Isa, S: Source, const M: usize>(
    isa: I,
    w: *const u8,
    run: usize,
    q: *const i32,
    meta: *const u32,
) -> [I::Floats; M] {
    let mut out = [isa.splat(0.0); M];
    // SAFETY: as the caller's.
    unsafe {
        match S::DOT {
            DotForm::Signed => out = signed_dots(isa, |i| S::pair(isa, w, run, i), q, meta),
            DotForm::SignedHalves => out = signed_halves::<I, S, M>(isa, w, run, q, meta),
            DotForm::Halves => {
                let k = S::halves::<I>(w, run);
                let k = (isa.half_scales(k), isa.half_scales(k.add(I::LANES)));
                out = halves::<I, S, M>(isa, w, run, q, k, Some(meta));
            }
            DotForm::HalvesLess => {
                let k = S::halves::<I>(w, run).cast::<u8>();
                let k = (isa.half_nibbles(k).0, isa.half_nibbles(k.add(I::LANES)).0);
                out = halves::<I, S, M>(isa, w, run, q, k, None);
            }
            // Five bits: eight groups would not fit 16-bit sums.
            DotForm::Unsigned { bits } if bits > 4 && !I::WIDE_DOT => {
                let s = pairs::<I, S, M>(isa, w, run, q, [isa.dot_zero(); M], 0..2);
                let mut ints = [isa.dot_ints(s[0]); M];
                for m in 1..M {
                    ints[m] = isa.dot_ints(s[m]);
                }
                let s = pairs::<I, S, M>(isa, w, run, q, [isa.dot_zero(); M], 2..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.add_ints(ints[m], isa.dot_ints(s[m])));
                }
            }
            DotForm::Unsigned { .. } => {
                let s = pairs::<I, S, M>(isa, w, run, q, [isa.dot_zero(); M], 0..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.dot_ints(s[m]));
                }
            }
            // Less the offset, the sum of eight groups fits 16 bits up to five bits.
            DotForm::Centred { bits } => {
                let sums = meta.add(Meta::Sum as usize * M);
                let s = starts::<I, M>(isa, sums, bits as i32 - 1);
                let s = pairs::<I, S, M>(isa, w, run, q, s, 0..4);
                for m in 0..M {
                    out[m] = isa.floats(isa.dot_ints(s[m]));
                }
            }
        }
    }
    out
}

/// Both halves of a run, each sum times its scale `k`; less 32 for each weight if `meta`, the
/// run's, is given.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn halves<I: Isa, S: Source, const M: usize>(
    isa: I,
    w: *const u8,
    run: usize,
    q: *const i32,
    k: (I::HalfScales, I::HalfScales),
    meta: Option<*const u32>,
) -> [I::Floats; M] {
    let mut out = [isa.splat(0.0); M];
    // SAFETY: as the caller's.
    unsafe {
        let s = half_starts::<I, M>(isa, meta, Meta::FirstHalf);
        let s = pairs::<I, S, M>(isa, w, run, q, s, 0..2);
        let mut half = [isa.halves_start(s[0], k.0); M];
        for m in 1..M {
            half[m] = isa.halves_start(s[m], k.0);
        }
        let s = half_starts::<I, M>(isa, meta, Meta::SecondHalf);
        let s = pairs::<I, S, M>(isa, w, run, q, s, 2..4);
        for m in 0..M {
            out[m] = isa.halves_end(half[m], s[m], k.1);
        }
    }
    out
}

/// What the sums of a half begin at.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn half_starts<I: Isa, const M: usize>(
    isa: I,
    meta: Option<*const u32>,
    sums: Meta,
) -> [I::Dot; M] {
    match meta {
        // SAFETY: as the caller's.
        Some(meta) => unsafe { starts::<I, M>(isa, meta.add(sums as usize * M), 0) },
        None => [isa.dot_zero(); M],
    }
}

/// The minima of a run's halves times minus the sums of a row's activations, as f32. The sums come
/// times 32, and so are taken back.
///
/// # Safety
/// As [`dots`]; `meta` points to the row's first word, and the others follow `stride` apart.
#[inline(always)]
unsafe fn half_mins<I: Isa, S: Source>(
    isa: I,
    w: *const u8,
    run: usize,
    meta: *const u32,
    stride: usize,
) -> I::Floats {
    // SAFETY: as the caller's.
    unsafe {
        let k = S::halves::<I>(w, run).cast::<u8>();
        let first = isa.dot_start(meta.add(Meta::FirstHalf as usize * stride).cast(), 0);
        let second = isa.dot_start(meta.add(Meta::SecondHalf as usize * stride).cast(), 0);
        let half = isa.halves_start(first, isa.half_nibbles(k).1);
        let sum = isa.halves_end(half, second, isa.half_nibbles(k.add(I::LANES)).1);
        isa.mul(sum, isa.splat(1.0 / 32.0))
    }
}

/// As [`dots`], for signed weights, whose groups `2 i` and `2 i + 1` are `pair(i)`.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
pub(super) unsafe fn signed_dots<I: Isa, const M: usize>(
    isa: I,
    pair: impl Fn(usize) -> (I::Bytes, I::Bytes),
    q: *const i32,
    meta: *const u32,
) -> [I::Floats; M] {
    let mut out = [isa.splat(0.0); M];
    // SAFETY: as the caller's.
    unsafe {
        let mut s = signed_starts::<I, M>(isa, meta.add(Meta::Sum as usize * M), 7);
        for i in 0..4 {
            s = signed_pair::<I, M>(isa, pair(i), q.add(2 * i * M), s);
        }
        for m in 0..M {
            out[m] = isa.floats(s[m]);
        }
    }
    out
}

/// As [`dots`], for [`DotForm::SignedHalves`]: both products and their sum are whole numbers that
/// f32 holds. The sums of halves come times 32.
///
/// Pairs are not taken through a closure here: called in two places it is compiled apart, without
/// the instruction set, and twenty times slower.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn signed_halves<I: Isa, S: Source, const M: usize>(
    isa: I,
    w: *const u8,
    run: usize,
    q: *const i32,
    meta: *const u32,
) -> [I::Floats; M] {
    let mut out = [isa.splat(0.0); M];
    // SAFETY: as the caller's.
    unsafe {
        let k = S::halves::<I>(w, run);
        let (first, second) = (isa.load_i8(k), isa.load_i8(k.add(I::LANES)));
        let mut s = signed_starts::<I, M>(isa, meta.add(Meta::FirstHalf as usize * M), 2);
        for i in 0..2 {
            s = signed_pair::<I, M>(isa, S::pair(isa, w, run, i), q.add(2 * i * M), s);
        }
        for m in 0..M {
            out[m] = isa.mul(isa.floats(s[m]), first);
        }
        let mut s = signed_starts::<I, M>(isa, meta.add(Meta::SecondHalf as usize * M), 2);
        for i in 2..4 {
            s = signed_pair::<I, M>(isa, S::pair(isa, w, run, i), q.add(2 * i * M), s);
        }
        for m in 0..M {
            out[m] = isa.fma(isa.floats(s[m]), second, out[m]);
        }
    }
    out
}

/// Sums of signed weights at their beginning: those of the activations, times `2^shift`.
///
/// # Safety
/// `sums` points to `M` words.
#[inline(always)]
unsafe fn signed_starts<I: Isa, const M: usize>(
    isa: I,
    sums: *const u32,
    shift: i32,
) -> [I::Ints; M] {
    // SAFETY: as the caller's.
    unsafe {
        let mut s = [isa.signed_start(sums.cast(), shift); M];
        for m in 1..M {
            s[m] = isa.signed_start(sums.add(m).cast(), shift);
        }
        s
    }
}

/// Adds two groups of signed weights; `q` points to the activations of the first.
///
/// # Safety
/// As [`dots`], for two groups.
#[inline(always)]
unsafe fn signed_pair<I: Isa, const M: usize>(
    isa: I,
    (a, b): (I::Bytes, I::Bytes),
    q: *const i32,
    mut s: [I::Ints; M],
) -> [I::Ints; M] {
    // SAFETY: as the caller's.
    unsafe {
        for m in 0..M {
            s[m] = isa.pin_ints(isa.dot_signed(s[m], a, q.add(m)));
        }
        for m in 0..M {
            s[m] = isa.pin_ints(isa.dot_signed(s[m], b, q.add(M + m)));
        }
    }
    s
}

/// Asks for the weights that come [`AHEAD`] of a block of `units`.
#[inline(always)]
pub(super) fn prefetch<I: Isa>(isa: I, block: *const u8, units: usize) {
    let mut at = 0;
    while at < units * I::LANES {
        isa.prefetch(block.wrapping_add(AHEAD + at));
        at += 64;
    }
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
unsafe fn pairs<I: Isa, S: Source, const M: usize>(
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
            let (a, b) = S::pair(isa, w, run, pair);
            for m in 0..M {
                s[m] = isa.pin(isa.dot(s[m], a, q.add(2 * pair * M + m)));
            }
            for m in 0..M {
                s[m] = isa.pin(isa.dot(s[m], b, q.add((2 * pair + 1) * M + m)));
            }
        }
    }
    s
}
