//! The Hadamard rotation of heads, which spreads an element that is much larger than the others
//! over all of them, so that few bits hold them all.

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;

/// Elements of a unit, at least.
const UNIT: usize = 8192;

/// Multiplies every head of `x` by an orthonormal symmetric matrix: products of two rotated heads
/// are those of the heads, and rotating twice gives the head back, but for rounding. Where
/// `head_dim` is no power of two, its parts are rotated that are one.
///
/// # Panics
/// If `x` is not made of whole heads.
pub fn rotate(pool: &Pool, x: &mut [f32], head_dim: usize) {
    let len = x.len();
    assert!(head_dim > 0 && len.is_multiple_of(head_dim), "heads of {head_dim}");
    let size = 1 << head_dim.trailing_zeros();
    let unit_len = UNIT.next_multiple_of(size);
    let x = Disjoint::new(x);
    pool.run_units(len.div_ceil(unit_len), &|unit, _| {
        // SAFETY: each unit has its own range.
        let x = unsafe { x.part(unit * unit_len..len.min((unit + 1) * unit_len)) };
        pool.cpu().run(Parts { x, size });
    });
}

/// Rotates whole parts of `size`, a power of two.
struct Parts<'a> {
    x: &'a mut [f32],
    size: usize,
}

impl Kernel for Parts<'_> {
    type Output = ();

    /// Plain loops: with the instructions switched on, the compiler makes vectors of them.
    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        let factor = 1.0 / (self.size as f32).sqrt();
        for part in self.x.chunks_exact_mut(self.size) {
            let mut half = 1;
            while half < part.len() {
                for both in part.chunks_exact_mut(2 * half) {
                    let (first, second) = both.split_at_mut(half);
                    for (a, b) in first.iter_mut().zip(second) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                half *= 2;
            }
            part.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, all_cpus};

    #[test]
    fn products_stay_and_turning_twice_changes_nothing() {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for head_dim in [1, 7, 16, 40, 64, 96, 256, 512] {
                let heads = 20_000 / head_dim;
                let mut rng = Rng::new(head_dim as u64);
                let (x, y) = (rng.floats(heads * head_dim), rng.floats(heads * head_dim));
                let (mut p, mut q) = (x.clone(), y.clone());
                rotate(&pool, &mut p, head_dim);
                rotate(&pool, &mut q, head_dim);
                for at in (0..x.len()).step_by(head_dim) {
                    let head = at..at + head_dim;
                    let (want, got) =
                        (dot(&x[head.clone()], &y[head.clone()]), dot(&p[head.clone()], &q[head]));
                    assert!((want - got).abs() < 1e-4, "{cpu:?} {head_dim}: {got}, not {want}");
                }
                rotate(&pool, &mut p, head_dim);
                assert!(x.iter().zip(&p).all(|(x, p)| (x - p).abs() < 1e-5), "{cpu:?} {head_dim}");
            }
        }
    }

    #[test]
    fn one_large_element_is_spread() {
        let mut head = [0.0f32; 64];
        head[5] = 8.0;
        rotate(&Pool::new(1), &mut head, 64);
        assert!(head.iter().all(|x| x.abs() == 1.0), "{head:?}");
    }
}
