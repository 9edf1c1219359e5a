//! Root-mean-square normalisation.

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;

/// Elements of a unit, about.
const UNIT: usize = 8192;

/// Squares summed in f32 before they are added in f64: keeps long rows exact.
const CHUNK: usize = 512;

/// Writes `x / sqrt(mean(x^2) + eps) * weight` to `out` for each row of `weight.len()` values.
///
/// # Panics
/// If `x` and `out` differ in length or hold no whole rows.
pub fn rmsnorm(pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "input and output of a norm");
    rows(pool, Some(x), weight, eps, out);
}

/// As [`rmsnorm`], to where the rows are: a row may be one head of many.
///
/// # Panics
/// If `x` holds no whole rows.
pub fn rmsnorm_in_place(pool: &Pool, x: &mut [f32], weight: &[f32], eps: f32) {
    rows(pool, None, weight, eps, x);
}

fn rows(pool: &Pool, x: Option<&[f32]>, weight: &[f32], eps: f32, out: &mut [f32]) {
    let cols = weight.len();
    if out.is_empty() {
        return;
    }
    assert!(cols > 0 && out.len().is_multiple_of(cols), "{} values in rows of {cols}", out.len());
    let count = out.len() / cols;
    let per_unit = (UNIT / cols).max(1);
    let out = Disjoint::new(out);
    pool.run_units(count.div_ceil(per_unit), &|unit, _| {
        for row in unit * per_unit..count.min((unit + 1) * per_unit) {
            let range = row * cols..(row + 1) * cols;
            // SAFETY: each row belongs to one unit.
            let out = unsafe { out.part(range.clone()) };
            pool.cpu().run(Row { x: x.map(|x| &x[range]), weight, eps, out });
        }
    });
}

/// One row, from `x` or from `out` itself.
struct Row<'a> {
    x: Option<&'a [f32]>,
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, weight, eps, out } = self;
        let cols = out.len();
        let factor = norm_factor(isa, x.unwrap_or(out), eps);
        let to = out.as_mut_ptr();
        let x = x.map_or(to.cast_const(), |x| x.as_ptr());
        let whole = cols / I::LANES * I::LANES;
        for at in (0..whole).step_by(I::LANES) {
            // SAFETY: whole vectors inside slices of `cols` values.
            unsafe {
                let scaled = isa.mul(isa.load(x.add(at)), isa.splat(factor));
                isa.store(to.add(at), isa.mul(scaled, isa.load(weight.as_ptr().add(at))));
            }
        }
        for (at, weight) in weight.iter().enumerate().skip(whole) {
            // SAFETY: inside the slices.
            unsafe { *to.add(at) = *x.add(at) * factor * weight };
        }
    }
}

/// What a row is multiplied with, before the weights.
#[inline(always)]
pub(crate) fn norm_factor<I: Isa>(isa: I, x: &[f32], eps: f32) -> f32 {
    let mean = sum_of_squares(isa, x) / x.len() as f64;
    (1.0 / (mean + f64::from(eps)).sqrt()) as f32
}

/// In a fixed order.
#[inline(always)]
fn sum_of_squares<I: Isa>(isa: I, x: &[f32]) -> f64 {
    let mut total = 0.0f64;
    for chunk in x.chunks(CHUNK) {
        let whole = chunk.len() / I::LANES * I::LANES;
        let mut sum = isa.splat(0.0);
        for at in (0..whole).step_by(I::LANES) {
            // SAFETY: a whole vector inside the chunk.
            let x = unsafe { isa.load(chunk.as_ptr().add(at)) };
            sum = isa.fma(x, x, sum);
        }
        total += f64::from(isa.sum(sum));
        for &x in &chunk[whole..] {
            total += f64::from(x) * f64::from(x);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, all_cpus};

    #[test]
    fn rows_of_every_length_match_the_twin() {
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for cols in (1..40).chain([576, 640, 2048, 8191]) {
                let mut rng = Rng::new(cols as u64);
                let x: Vec<f32> = (0..3 * cols).map(|_| rng.float() * 10.0).collect();
                let weight = rng.floats(cols);
                let mut out = vec![0.0; 3 * cols];
                rmsnorm(&pool, &x, &weight, 1e-5, &mut out);
                for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact(cols)) {
                    let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cols as f64;
                    let factor = 1.0 / (mean + f64::from(1e-5f32)).sqrt();
                    for i in 0..cols {
                        let want = f64::from(x[i]) * factor * f64::from(weight[i]);
                        let error = (f64::from(out[i]) - want).abs();
                        assert!(
                            error <= 5e-7 * want.abs(),
                            "{cpu:?} {cols}: {} not {want}",
                            out[i]
                        );
                    }
                }
                let mut in_place = x.clone();
                rmsnorm_in_place(&pool, &mut in_place, &weight, 1e-5);
                assert_eq!(in_place, out);
            }
        }
    }
}
