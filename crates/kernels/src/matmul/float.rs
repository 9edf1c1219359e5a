//! The float tile kernel: weights of 16 or 32 bits, four vectors of rows wide, times f32 rows.
//!
//! Each output is one chain of multiply-adds in ascending column order, whatever the number of
//! rows.

// Loops over rows count indices of arrays and memory at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::Acts;
use crate::cpu::Kernel;
use crate::element::Element;
use crate::isa::Isa;
use std::marker::PhantomData;
use std::ops::Range;

/// Vectors across a float tile.
pub(super) const WIDE: usize = 4;

/// Rows of activations in one pass at most.
const MAX_ROWS: usize = 6;

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
        let mut row = self.rows.start;
        while row < self.rows.end {
            let m = (self.rows.end - row).min(MAX_ROWS);
            // One row is bound by memory and wants as many chains as it can have; several have
            // chains enough, and half the vectors leave registers for six of them.
            // SAFETY: the caller of `linear` checked the sizes of tile, activations and outputs.
            unsafe {
                if m == 1 {
                    self.block::<I, 1, WIDE>(isa, row, 0);
                } else {
                    for first in (0..WIDE).step_by(2) {
                        match m {
                            2 => self.block::<I, 2, 2>(isa, row, first),
                            3 => self.block::<I, 3, 2>(isa, row, first),
                            4 => self.block::<I, 4, 2>(isa, row, first),
                            5 => self.block::<I, 5, 2>(isa, row, first),
                            _ => self.block::<I, 6, 2>(isa, row, first),
                        }
                    }
                }
            }
            row += m;
        }
    }
}

impl<E: Element> FloatTile<'_, E> {
    /// The `M` rows from `row`, vectors `first` to `first + V` of the tile.
    ///
    /// # Safety
    /// The tile, these rows and their outputs exist.
    #[inline(always)]
    unsafe fn block<I: Isa, const M: usize, const V: usize>(
        &self,
        isa: I,
        row: usize,
        first: usize,
    ) {
        let Self { weights, output, acts, .. } = self;
        let x = acts.x[row * acts.cols..(row + M) * acts.cols].as_ptr();
        let mut acc = [[isa.splat(0.0); V]; M];
        // SAFETY: as the caller's; lanes are stored up to `valid`.
        unsafe {
            let mut w = weights.add(first * I::LANES * E::BYTES);
            for col in 0..acts.cols {
                let mut weights = [isa.splat(0.0); V];
                for v in 0..V {
                    weights[v] = E::load(isa, w.add(v * I::LANES * E::BYTES));
                }
                for m in 0..M {
                    let x = isa.splat(*x.add(m * acts.cols + col));
                    for v in 0..V {
                        acc[m][v] = isa.fma(weights[v], x, acc[m][v]);
                    }
                }
                w = w.add(WIDE * I::LANES * E::BYTES);
            }
            for m in 0..M {
                let out = output.out.add((row + m) * output.width + output.first);
                for v in 0..V {
                    let at = (first + v) * I::LANES;
                    if at < output.valid {
                        let valid = I::LANES.min(output.valid - at);
                        super::store_lanes(isa, acc[m][v], out.add(at), valid);
                    }
                }
            }
        }
    }
}
