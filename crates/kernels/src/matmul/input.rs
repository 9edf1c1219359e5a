//! What rows of activations are computed from as they are rounded, so that they are written to
//! memory once, in the form that weights read.

use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::ops::{GeluMul, Map, SiluMul, norm_factor};

/// Rows that are computed when they are read.
pub(super) trait Input: Sync {
    /// Whether parts of a row can be read apart: [`Input::open`] does nothing.
    const SPLITS: bool;

    /// What reading the row's elements takes to know of the whole row.
    ///
    /// # Safety
    /// The row exists; where rows do not split, each is opened once, and read by who opened it.
    unsafe fn open<I: Isa>(&self, isa: I, row: usize) -> f32;

    /// The elements of `row` from `at` on, as many as `room` holds, in it or where they are.
    ///
    /// # Safety
    /// The row is open, has these elements, and gave `opened`.
    unsafe fn read<'a, I: Isa>(
        &'a self,
        isa: I,
        row: usize,
        opened: f32,
        at: usize,
        room: &'a mut [f32],
    ) -> &'a [f32];
}

/// Rows that are there already.
pub(super) struct Plain<'a> {
    pub(super) x: &'a [f32],
    pub(super) cols: usize,
}

impl Input for Plain<'_> {
    const SPLITS: bool = true;

    #[inline(always)]
    unsafe fn open<I: Isa>(&self, _: I, _: usize) -> f32 {
        1.0
    }

    #[inline(always)]
    unsafe fn read<'a, I: Isa>(
        &'a self,
        _: I,
        row: usize,
        _: f32,
        at: usize,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        &self.x[row * self.cols + at..][..room.len()]
    }
}

/// The activation functions of gated feed-forward parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `x * sigmoid(x)`.
    Silu,
    /// Gelu in its tanh form.
    GeluTanh,
}

/// `gate(x) * up`.
pub(super) struct Gated<'a> {
    pub(super) gate: Gate,
    pub(super) x: &'a [f32],
    pub(super) up: &'a [f32],
    pub(super) cols: usize,
}

impl Input for Gated<'_> {
    const SPLITS: bool = true;

    #[inline(always)]
    unsafe fn open<I: Isa>(&self, _: I, _: usize) -> f32 {
        1.0
    }

    #[inline(always)]
    unsafe fn read<'a, I: Isa>(
        &'a self,
        isa: I,
        row: usize,
        _: f32,
        at: usize,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let from = row * self.cols + at;
        let (x, up) = (&self.x[from..][..room.len()], &self.up[from..][..room.len()]);
        match self.gate {
            Gate::Silu => SiluMul.write(isa, x, up, room),
            Gate::GeluTanh => GeluMul.write(isa, x, up, room),
        }
        room
    }
}

/// The residual stream on its way into the next part of a layer.
#[derive(Debug)]
pub struct Stream<'a> {
    /// The stream.
    pub x: &'a mut [f32],
    /// What the part before gave, which is added to the stream.
    pub added: Option<Added<'a>>,
    /// Weights of the norm, if the part reads normed rows.
    pub norm: Option<&'a [f32]>,
    /// Of all norms.
    pub eps: f32,
}

/// What is added to the residual stream.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// Rows, as many as the stream's.
    pub y: &'a [f32],
    /// Weights of a norm of `y` before it is added.
    pub norm: Option<&'a [f32]>,
    /// What it is multiplied with after that.
    pub scale: f32,
}

/// [`Stream`] as rows are read.
pub(super) struct Streamed<'a> {
    x: Disjoint<'a, f32>,
    added: Option<Added<'a>>,
    norm: Option<&'a [f32]>,
    eps: f32,
    cols: usize,
}

impl<'a> Streamed<'a> {
    /// # Panics
    /// If sizes differ.
    pub(super) fn new(stream: Stream<'a>, cols: usize) -> Self {
        let Stream { x, added, norm, eps } = stream;
        assert!(added.is_none_or(|added| added.y.len() == x.len()), "rows added to the stream");
        let norms = [norm, added.and_then(|added| added.norm)];
        assert!(norms.iter().flatten().all(|norm| norm.len() == cols), "weights of a norm");
        Self { x: Disjoint::new(x), added, norm, eps, cols }
    }
}

impl Input for Streamed<'_> {
    const SPLITS: bool = false;

    #[inline(always)]
    unsafe fn open<I: Isa>(&self, isa: I, row: usize) -> f32 {
        let span = row * self.cols..(row + 1) * self.cols;
        // SAFETY: whoever opens the row has it to itself.
        let x = unsafe { self.x.part(span.clone()) };
        if let Some(Added { y, norm, scale }) = self.added {
            add(isa, x, &y[span], norm, (scale, self.eps));
        }
        if self.norm.is_some() { norm_factor(isa, x, self.eps) } else { 1.0 }
    }

    #[inline(always)]
    unsafe fn read<'a, I: Isa>(
        &'a self,
        isa: I,
        row: usize,
        opened: f32,
        at: usize,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let from = row * self.cols + at;
        // SAFETY: as above.
        let x = unsafe { self.x.part(from..from + room.len()) };
        match self.norm {
            Some(weight) => {
                Scaled(opened).write(isa, x, &weight[at..][..room.len()], room);
                room
            }
            None => x,
        }
    }
}

/// Adds `y`, normed and scaled, to `x`.
#[inline(always)]
fn add<I: Isa>(isa: I, x: &mut [f32], y: &[f32], norm: Option<&[f32]>, (scale, eps): (f32, f32)) {
    const RUN: usize = 32;
    let factor = norm.map_or(1.0, |_| norm_factor(isa, y, eps));
    for (i, (x, y)) in x.chunks_mut(RUN).zip(y.chunks(RUN)).enumerate() {
        let mut normed = [0.0; RUN];
        let normed = &mut normed[..y.len()];
        let y = match norm {
            Some(weight) => {
                Scaled(factor).write(isa, y, &weight[i * RUN..][..y.len()], normed);
                &*normed
            }
            None => y,
        };
        let mut sum = [0.0; RUN];
        PlusScaled(scale).write(isa, x, y, &mut sum[..y.len()]);
        x.copy_from_slice(&sum[..y.len()]);
    }
}

/// `x * factor * y`.
#[derive(Clone, Copy)]
struct Scaled(f32);
impl Map for Scaled {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats {
        isa.mul(isa.mul(x, isa.splat(self.0)), y)
    }
}

/// `x + y * factor`, both rounded.
#[derive(Clone, Copy)]
struct PlusScaled(f32);
impl Map for PlusScaled {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats {
        isa.add(x, isa.mul(y, isa.splat(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Acts, Reads};
    use crate::ops;
    use crate::pool::Pool;
    use crate::testing::{Rng, all_cpus};

    /// Rows of every panel, in rows that split, that do not, and that no quants are made of.
    const SHAPES: [(usize, usize); 7] =
        [(1, 32), (3, 40), (7, 576), (8, 2048), (13, 96), (1, 20_000), (9, 9_000)];

    fn same(found: &Acts, expected: &Acts, what: &str) {
        assert_eq!(
            (found.rows, found.cols, found.reads),
            (expected.rows, expected.cols, expected.reads)
        );
        assert_eq!(found.x, expected.x, "{what}");
        assert_eq!((&found.quants, &found.meta), (&expected.quants, &expected.meta), "{what}");
    }

    #[test]
    fn gated_rows_are_those_that_are_computed_first() {
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for (rows, cols) in SHAPES {
                let mut rng = Rng::new((rows * cols) as u64);
                let x: Vec<f32> = (0..rows * cols).map(|_| rng.float() * 9.0).collect();
                let up = rng.floats(rows * cols);
                for (gate, twin) in [
                    (Gate::Silu, (|x| x / (1.0 + (-x).exp())) as fn(f64) -> f64),
                    (Gate::GeluTanh, |x| {
                        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                        0.5 * x * (1.0 + u.tanh())
                    }),
                ] {
                    let (mut acts, mut expected) = (Acts::new(), Acts::new());
                    acts.fill_gated(&pool, gate, (&x, &up), (rows, cols), Reads::ALL);
                    for ((&x, &up), &found) in x.iter().zip(&up).zip(&acts.x) {
                        let want = twin(f64::from(x)) * f64::from(up);
                        let bound = 1e-6 * want.abs() + 1e-7 * f64::from(x.abs()).min(1.0);
                        assert!((f64::from(found) - want).abs() <= bound, "{cpu:?} {found} {want}");
                    }
                    expected.fill(&pool, &acts.x, rows, cols, Reads::ALL);
                    same(&acts, &expected, &format!("{cpu:?} {gate:?} {rows} x {cols}"));
                }
            }
        }
    }

    /// Against the same operations one after another, with the same bits.
    #[test]
    fn a_stream_is_what_the_single_operations_make_of_it() {
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for (rows, cols) in SHAPES {
                let mut rng = Rng::new((rows * cols) as u64);
                let before = rng.floats(rows * cols);
                let given = rng.floats(rows * cols);
                let (norm, post_norm) = (rng.floats(cols), rng.floats(cols));
                for case in 0..12 {
                    let added = (case % 3 > 0).then_some(given.as_slice());
                    let post = (case % 3 > 1).then_some(post_norm.as_slice());
                    let scale = if case / 3 % 2 > 0 { 0.22 } else { 1.0 };
                    let norm = (case / 6 > 0).then_some(norm.as_slice());

                    let mut x = before.clone();
                    if let Some(given) = added {
                        let mut y = given.to_vec();
                        if let Some(weight) = post {
                            ops::rmsnorm_in_place(&pool, &mut y, weight, 1e-5);
                        }
                        ops::scale(&pool, &mut y, scale);
                        ops::add(&pool, &mut x, &y);
                    }
                    let mut normed = x.clone();
                    if let Some(weight) = norm {
                        ops::rmsnorm_in_place(&pool, &mut normed, weight, 1e-5);
                    }
                    let (mut acts, mut expected) = (Acts::new(), Acts::new());
                    expected.fill(&pool, &normed, rows, cols, Reads::ALL);

                    let mut stream = before.clone();
                    let added = added.map(|y| Added { y, norm: post, scale });
                    let all = Stream { x: &mut stream, added, norm, eps: 1e-5 };
                    acts.fill_stream(&pool, all, rows, cols, Reads::ALL);
                    let what = format!("{cpu:?} {rows} x {cols}, case {case}");
                    assert_eq!(stream, x, "{what}");
                    same(&acts, &expected, &what);
                }
            }
        }
    }
}
