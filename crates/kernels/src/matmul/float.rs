//! The float tile kernel: weights of 16 or 32 bits, four vectors of rows wide, times f32 rows.
//!
//! Also the last step of the portable path: formats without integer tiles are dequantised, some
//! columns at a time, into such a tile of f32. Each output is one chain of multiply-adds in
//! ascending column order, carried through memory between column ranges, whatever the number of
//! rows.

// Loops over rows count indices of arrays and memory at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::Acts;
use crate::cpu::Kernel;
use crate::element::{Element, F32};
use crate::isa::Isa;
use crate::quant::{TensorType, dequantize};
use std::marker::PhantomData;
use std::ops::Range;

/// Vectors across a float tile.
pub(super) const WIDE: usize = 4;

/// The outputs of some rows of weights, row-major `[rows of activations][width]`.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) out: *mut f32,
    pub(super) width: usize,
    /// The first row of weights, and how many of the tile's rows there are.
    pub(super) first: usize,
    pub(super) valid: usize,
}

/// One tile `[cols][WIDE * LANES]` times rows `rows` of activations.
pub(super) struct FloatTile<'a, E> {
    pub(super) element: PhantomData<E>,
    pub(super) weights: *const u8,
    pub(super) rows: Range<usize>,
    pub(super) output: Output,
    pub(super) acts: &'a Acts,
}

impl<E: Element> Kernel for FloatTile<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let cols = 0..self.acts.cols;
        // SAFETY: the caller of `linear` checked the sizes of tile, activations and outputs.
        unsafe { columns::<I, E>(isa, self.weights, cols, self.rows, self.output, self.acts) }
    }
}

/// Columns dequantised at a time: a multiple of every block length.
const CHUNK: usize = 256;

/// As [`FloatTile`], from rows of bytes of any type.
pub(super) struct Dequantized<'a> {
    pub(super) ty: TensorType,
    /// The bytes of the tile's valid rows.
    pub(super) bytes: &'a [u8],
    pub(super) rows: Range<usize>,
    pub(super) output: Output,
    pub(super) acts: &'a Acts,
}

impl Kernel for Dequantized<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { ty, bytes, rows, output, acts } = self;
        let row_bytes = bytes.len() / output.valid;
        let tile_rows = WIDE * I::LANES;
        // Sixty-four rows at most.
        let mut tile = [0.0f32; CHUNK * 64];
        let mut row = [0.0f32; CHUNK];
        for start in (0..acts.cols).step_by(CHUNK) {
            let end = acts.cols.min(start + CHUNK);
            let part =
                start / ty.block_len() * ty.block_bytes()..end / ty.block_len() * ty.block_bytes();
            let row = &mut row[..end - start];
            for (r, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
                dequantize(ty, &bytes[part.clone()], row);
                for (x, to) in row.iter().zip(tile[r..].iter_mut().step_by(tile_rows)) {
                    *to = *x;
                }
            }
            let weights = tile.as_ptr().cast();
            // SAFETY: the tile holds these columns; the caller of `linear` checked the others.
            unsafe { columns::<I, F32>(isa, weights, start..end, rows.clone(), output, acts) }
        }
    }
}

/// Columns `cols` of a tile (`w` points to the first of them) times rows of activations, added to
/// what the outputs hold, or to zero for the first columns.
///
/// # Safety
/// `w` points to `cols.len()` columns, and `output` to the outputs of all `rows`.
#[inline(always)]
unsafe fn columns<I: Isa, E: Element>(
    isa: I,
    w: *const u8,
    cols: Range<usize>,
    rows: Range<usize>,
    output: Output,
    acts: &Acts,
) {
    let mut row = rows.start;
    while row < rows.end {
        let m = (rows.end - row).min(I::MAX_FLOAT_ROWS);
        // SAFETY: as the caller's.
        unsafe {
            match m {
                1 => block::<I, E, 1>(isa, w, cols.clone(), row, output, acts),
                2 => block::<I, E, 2>(isa, w, cols.clone(), row, output, acts),
                3 => block::<I, E, 3>(isa, w, cols.clone(), row, output, acts),
                4 if I::MAX_FLOAT_ROWS >= 4 => {
                    block::<I, E, 4>(isa, w, cols.clone(), row, output, acts)
                }
                5 if I::MAX_FLOAT_ROWS >= 5 => {
                    block::<I, E, 5>(isa, w, cols.clone(), row, output, acts)
                }
                6 if I::MAX_FLOAT_ROWS >= 6 => {
                    block::<I, E, 6>(isa, w, cols.clone(), row, output, acts)
                }
                _ => unreachable!("{m} rows at a time"),
            }
        }
        row += m;
    }
}

/// As [`columns`] for the `M` rows from `row`.
///
/// # Safety
/// As [`columns`].
#[inline(always)]
unsafe fn block<I: Isa, E: Element, const M: usize>(
    isa: I,
    w: *const u8,
    cols: Range<usize>,
    row: usize,
    output: Output,
    acts: &Acts,
) {
    let x = acts.x[row * acts.cols..(row + M) * acts.cols].as_ptr();
    let mut acc = [[isa.splat(0.0); WIDE]; M];
    // SAFETY: lanes are loaded and stored up to `valid`; columns and rows are as the caller's.
    unsafe {
        let lane =
            |v: usize| (v * I::LANES, I::LANES.min(output.valid.saturating_sub(v * I::LANES)));
        if cols.start > 0 {
            for m in 0..M {
                for v in 0..WIDE {
                    let (at, valid) = lane(v);
                    let out = output.out.add((row + m) * output.width + output.first + at);
                    acc[m][v] = super::load_lanes(isa, out, valid);
                }
            }
        }
        let mut w = w;
        for col in cols {
            let mut weights = [isa.splat(0.0); WIDE];
            for v in 0..WIDE {
                weights[v] = E::load(isa, w.add(v * I::LANES * E::BYTES));
            }
            for m in 0..M {
                let x = isa.splat(*x.add(m * acts.cols + col));
                for v in 0..WIDE {
                    acc[m][v] = isa.fma(weights[v], x, acc[m][v]);
                }
            }
            w = w.add(WIDE * I::LANES * E::BYTES);
        }
        for m in 0..M {
            for v in 0..WIDE {
                let (at, valid) = lane(v);
                let out = output.out.add((row + m) * output.width + output.first + at);
                super::store_lanes(isa, acc[m][v], out, valid);
            }
        }
    }
}
