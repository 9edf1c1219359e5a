//! The portable path: types without tiles are dequantised, some rows and columns at a time, and
//! multiplied in f32.
//!
//! Each output is one vector of running sums over the columns (lane `i` takes columns `i` modulo
//! the lanes), added up at the end. That order is the same for any number of rows.

// Loops over rows count indices of several arrays at once, and must unroll.
#![allow(clippy::needless_range_loop)]

use super::Acts;
use crate::cpu::Kernel;
use crate::isa::Isa;
use crate::quant::{TensorType, dequantize};
use std::ops::Range;

/// Rows of weights multiplied at once.
pub(super) const ROWS: usize = 4;

/// Columns dequantised at a time: a multiple of every block length.
const CHUNK: usize = 512;

/// Rows of activations that one dequantisation serves.
const SPAN: usize = 32;

/// Up to [`ROWS`] rows of weights times rows of activations.
pub(super) struct Rows<'a> {
    pub(super) ty: TensorType,
    /// The rows' bytes.
    pub(super) bytes: &'a [u8],
    /// Bytes of a row.
    pub(super) row_bytes: usize,
    pub(super) acts: &'a Acts,
    pub(super) acts_rows: Range<usize>,
    /// The output of the first row of both; outputs of the next activations are `width` further.
    pub(super) out: *mut f32,
    pub(super) width: usize,
}

/// Running sums, at most sixteen lanes each.
#[repr(align(64))]
struct Sums([[[f32; 16]; ROWS]; SPAN]);

#[repr(align(64))]
struct Weights([[f32; CHUNK]; ROWS]);

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let count = self.bytes.len() / self.row_bytes;
        for start in self.acts_rows.clone().step_by(SPAN) {
            let span = start..self.acts_rows.end.min(start + SPAN);
            let mut sums = Sums([[[0.0; 16]; ROWS]; SPAN]);
            let mut weights = Weights([[0.0; CHUNK]; ROWS]);
            for col in (0..self.acts.cols).step_by(CHUNK) {
                let cols = col..self.acts.cols.min(col + CHUNK);
                self.dequantize(&cols, &mut weights);
                let mut row = 0;
                while row < span.len() {
                    let x = (span.start + row) * self.acts.cols + cols.start;
                    let (x, sums) = (&self.acts.x[x..], &mut sums.0[row..]);
                    let (stride, len) = (self.acts.cols, cols.len());
                    // SAFETY: `x` has this many rows of `len` values, `stride` apart.
                    row += unsafe {
                        match span.len() - row {
                            1 => dots::<I, 1>(isa, &weights, x, stride, len, sums),
                            2 => dots::<I, 2>(isa, &weights, x, stride, len, sums),
                            _ => dots::<I, 3>(isa, &weights, x, stride, len, sums),
                        }
                    };
                }
            }
            for (row, sums) in span.clone().zip(&sums.0) {
                let out = (row - self.acts_rows.start) * self.width;
                for (r, sum) in sums.iter().enumerate().take(count) {
                    // SAFETY: the caller of `linear` checked the outputs; a vector fits the sums.
                    unsafe { *self.out.add(out + r) = isa.sum(isa.load(sum.as_ptr())) };
                }
            }
        }
    }
}

impl Rows<'_> {
    fn dequantize(&self, cols: &Range<usize>, weights: &mut Weights) {
        let (len, bytes) = (self.ty.block_len(), self.ty.block_bytes());
        let part = cols.start / len * bytes..cols.end / len * bytes;
        for (row, to) in self.bytes.chunks_exact(self.row_bytes).zip(&mut weights.0) {
            dequantize(self.ty, &row[part.clone()], &mut to[..cols.len()]);
        }
    }
}

/// Adds the products of `M` rows of activations; returns `M`.
///
/// # Safety
/// `x` holds `M` rows of `len` values, `stride` apart; `len` is a whole number of vectors.
#[inline(always)]
unsafe fn dots<I: Isa, const M: usize>(
    isa: I,
    weights: &Weights,
    x: &[f32],
    stride: usize,
    len: usize,
    sums: &mut [[[f32; 16]; ROWS]],
) -> usize {
    assert!((M - 1) * stride + len <= x.len() && len <= CHUNK && len.is_multiple_of(I::LANES));
    // SAFETY: checked above.
    unsafe {
        let mut acc = [[isa.splat(0.0); ROWS]; M];
        for m in 0..M {
            for r in 0..ROWS {
                acc[m][r] = isa.load(sums[m][r].as_ptr());
            }
        }
        for at in (0..len).step_by(I::LANES) {
            let mut w = [isa.splat(0.0); ROWS];
            for r in 0..ROWS {
                w[r] = isa.load(weights.0[r].as_ptr().add(at));
            }
            for m in 0..M {
                let x = isa.load(x.as_ptr().add(m * stride + at));
                for r in 0..ROWS {
                    acc[m][r] = isa.fma(w[r], x, acc[m][r]);
                }
            }
        }
        for m in 0..M {
            for r in 0..ROWS {
                isa.store(sums[m][r].as_mut_ptr(), acc[m][r]);
            }
        }
    }
    M
}
