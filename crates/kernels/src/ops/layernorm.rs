//! Layer normalisation: rows of mean 0 and variance 1, then weights and biases.

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;

/// Elements of a unit, about.
const UNIT: usize = 8192;

/// Values summed in f32 before they are added in f64: keeps long rows exact.
const CHUNK: usize = 512;

/// For each row of `weight.len()` values, `x += y`, then
/// `x = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias`.
///
/// # Panics
/// If `x` and `y`, or `weight` and `bias`, differ in length, or `x` holds no whole rows.
pub fn add_layernorm(
    pool: &Pool,
    x: &mut [f32],
    y: Option<&[f32]>,
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
) {
    let cols = weight.len();
    assert!(y.is_none_or(|y| y.len() == x.len()) && bias.len() == cols, "operands of a norm");
    if x.is_empty() {
        return;
    }
    assert!(cols > 0 && x.len().is_multiple_of(cols), "{} values in rows of {cols}", x.len());
    let count = x.len() / cols;
    let per_unit = (UNIT / cols).max(1);
    let x = Disjoint::new(x);
    pool.run_units(count.div_ceil(per_unit), &|unit, _| {
        for row in unit * per_unit..count.min((unit + 1) * per_unit) {
            let range = row * cols..(row + 1) * cols;
            // SAFETY: each row belongs to one unit.
            let x = unsafe { x.part(range.clone()) };
            pool.cpu().run(Row { x, y: y.map(|y| &y[range]), weight, bias, eps });
        }
    });
}

struct Row<'a> {
    x: &'a mut [f32],
    y: Option<&'a [f32]>,
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { x, y, weight, bias, eps } = self;
        if let Some(y) = y {
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        }
        let cols = x.len();
        let mean = (sum(isa, x, None) / cols as f64) as f32;
        let variance = sum(isa, x, Some(mean)) / cols as f64;
        let factor = (1.0 / (variance + f64::from(eps)).sqrt()) as f32;
        for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * factor * weight + bias;
        }
    }
}

/// The sum of a row, or of the squared distances from its mean, in a fixed order.
#[inline(always)]
fn sum<I: Isa>(isa: I, x: &[f32], mean: Option<f32>) -> f64 {
    let mut total = 0.0f64;
    for chunk in x.chunks(CHUNK) {
        let whole = chunk.len() / I::LANES * I::LANES;
        let mut sum = isa.splat(0.0);
        for at in (0..whole).step_by(I::LANES) {
            // SAFETY: a whole vector inside the chunk.
            let x = unsafe { isa.load(chunk.as_ptr().add(at)) };
            sum = match mean {
                Some(mean) => {
                    let apart = isa.sub(x, isa.splat(mean));
                    isa.fma(apart, apart, sum)
                }
                None => isa.add(sum, x),
            };
        }
        total += f64::from(isa.sum(sum));
        for &x in &chunk[whole..] {
            total += mean.map_or(f64::from(x), |mean| f64::from(x - mean).powi(2));
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
            for cols in (1..40).chain([384, 768, 8191]) {
                let mut rng = Rng::new(cols as u64);
                let x: Vec<f32> = (0..3 * cols).map(|_| rng.float() * 10.0 + 3.0).collect();
                let (y, weight, bias) = (rng.floats(3 * cols), rng.floats(cols), rng.floats(cols));
                for y in [None, Some(y.as_slice())] {
                    let mut out = x.clone();
                    add_layernorm(&pool, &mut out, y, (&weight, &bias), 1e-5);
                    for (row, out) in out.chunks_exact(cols).enumerate() {
                        let at = |i: usize| {
                            let i = row * cols + i;
                            f64::from(x[i] + y.map_or(0.0, |y| y[i]))
                        };
                        let mean = (0..cols).map(at).sum::<f64>() / cols as f64;
                        let squares = (0..cols).map(|i| (at(i) - mean).powi(2)).sum::<f64>();
                        let factor = 1.0 / (squares / cols as f64 + f64::from(1e-5f32)).sqrt();
                        for i in 0..cols {
                            let scaled = (at(i) - mean) * factor * f64::from(weight[i]);
                            let error = (f64::from(out[i]) - scaled - f64::from(bias[i])).abs();
                            // A row of one value has its rounding multiplied by 1 / sqrt(eps).
                            let bound = if cols == 1 { 1e-3 } else { 5e-6 };
                            assert!(error <= bound, "{cpu:?} {cols}: {error}");
                        }
                    }
                }
            }
        }
    }
}
