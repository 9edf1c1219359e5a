//! The few directions that hold most of the inputs: subspace iteration on some of them.

use super::DIRECTIONS;

/// Turns of the iteration. The directions need not be the best, only good.
const TURNS: usize = 3;

/// [`DIRECTIONS`] orthonormal vectors (zero where `states` have no more) that hold most of the rows
/// of `states`. `[rows][cols]` to `[DIRECTIONS][cols]`
pub(super) fn of(states: &[f32], cols: usize) -> Vec<f32> {
    let rows = states.len() / cols;
    // Rows far apart from each other are a good start.
    let start = (0..DIRECTIONS).map(|k| &states[k * rows / DIRECTIONS * cols..][..cols]);
    let mut basis = start.collect::<Vec<_>>().concat();
    orthonormal(&mut basis, cols);
    for _ in 0..TURNS {
        let mut next = vec![0.0f32; basis.len()];
        for state in states.chunks_exact(cols) {
            for (v, next) in basis.chunks_exact(cols).zip(next.chunks_exact_mut(cols)) {
                add(next, dot(v, state), state);
            }
        }
        basis = next;
        orthonormal(&mut basis, cols);
    }
    basis
}

/// Gram-Schmidt, twice for the sake of rounding.
fn orthonormal(basis: &mut [f32], cols: usize) {
    for k in 0..basis.len() / cols {
        let (before, rest) = basis.split_at_mut(k * cols);
        let v = &mut rest[..cols];
        let length = dot(v, v).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(cols) {
                add(v, -dot(other, v), other);
            }
        }
        let left = dot(v, v).sqrt();
        // What is left of a vector that depends on the others is noise.
        let scale = if left > 1e-4 * length { 1.0 / left } else { 0.0 };
        v.iter_mut().for_each(|v| *v *= scale);
    }
}

/// `to += factor * x`
fn add(to: &mut [f32], factor: f32, x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += factor * x);
}

/// Sum of products, sixteen sums at a time, so that it becomes vector code.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        (0..16).for_each(|i| sums[i] += a[i] * b[i]);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
