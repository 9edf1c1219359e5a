//! Rotary position embedding.

use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// `i` and `i + n / 2` (NeoX: Gemma, Qwen).
    Halves,
    /// `2 i` and `2 i + 1` (Llama as stored in GGUF).
    Interleaved,
}

/// Writes `magnitude * (cos, sin)(position * frequency)` for each position and frequency, row-major
/// `[positions][frequencies]`; made once and used by all layers that share the frequencies.
///
/// # Panics
/// If an output has another size.
pub fn rope_angles(
    positions: &[u32],
    frequencies: &[f32],
    magnitude: f32,
    cos: &mut [f32],
    sin: &mut [f32],
) {
    let n = frequencies.len();
    assert_eq!((cos.len(), sin.len()), (positions.len() * n, positions.len() * n), "angles");
    for (row, &position) in positions.iter().enumerate() {
        for (i, &frequency) in frequencies.iter().enumerate() {
            // In f64: a product in f32 is off by 1e-3 radians at position 10,000.
            let (s, c) = (f64::from(position) * f64::from(frequency)).sin_cos();
            cos[row * n + i] = c as f32 * magnitude;
            sin[row * n + i] = s as f32 * magnitude;
        }
    }
}

/// Rotates the first `2 n` elements of every head of `x`, `[rows][heads][head_dim]`, by the angles
/// `cos` and `sin`, `[rows][n]`.
///
/// # Panics
/// If the sizes disagree.
pub fn rope(
    pool: &Pool,
    style: RopeStyle,
    x: &mut [f32],
    head_dim: usize,
    rows: usize,
    angles: (&[f32], &[f32]),
) {
    if rows == 0 {
        return;
    }
    let (cos, sin) = angles;
    let (width, n) = (x.len() / rows, cos.len() / rows);
    assert!(x.len() == width * rows && width.is_multiple_of(head_dim), "heads of {head_dim}");
    assert!(cos.len() == n * rows && sin.len() == cos.len() && 2 * n <= head_dim, "{n} angles");
    let per_unit = (8192 / width.max(1)).max(1);
    let x = Disjoint::new(x);
    pool.run_units(rows.div_ceil(per_unit), &|unit, _| {
        for row in unit * per_unit..rows.min((unit + 1) * per_unit) {
            // SAFETY: each row belongs to one unit.
            let x = unsafe { x.part(row * width..(row + 1) * width) };
            let (cos, sin) = (&cos[row * n..(row + 1) * n], &sin[row * n..(row + 1) * n]);
            pool.cpu().run(Row { style, x, head_dim, cos, sin });
        }
    });
}

struct Row<'a> {
    style: RopeStyle,
    x: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    /// Plain loops: with the instructions switched on, the compiler makes vectors of them.
    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        let n = self.cos.len();
        for head in self.x.chunks_exact_mut(self.head_dim) {
            match self.style {
                RopeStyle::Halves => {
                    let (first, second) = head[..2 * n].split_at_mut(n);
                    let pairs = first.iter_mut().zip(second);
                    for ((a, b), (&c, &s)) in pairs.zip(self.cos.iter().zip(self.sin)) {
                        (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
                    }
                }
                RopeStyle::Interleaved => {
                    let pairs = head[..2 * n].as_chunks_mut::<2>().0;
                    for ([a, b], (&c, &s)) in pairs.iter_mut().zip(self.cos.iter().zip(self.sin)) {
                        (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, all_cpus};

    #[test]
    fn pairs_turn_by_their_angles() {
        let (rows, heads, head_dim, n) = (5, 3, 20, 8);
        let frequencies: Vec<f32> = (0..n).map(|i| 10000f32.powf(-(i as f32) / n as f32)).collect();
        let positions = [0, 1, 7, 1000, 131_071];
        let (mut cos, mut sin) = (vec![0.0; rows * n], vec![0.0; rows * n]);
        rope_angles(&positions, &frequencies, 1.5, &mut cos, &mut sin);
        let x = Rng::new(1).floats(rows * heads * head_dim);
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for style in [RopeStyle::Halves, RopeStyle::Interleaved] {
                let mut got = x.clone();
                rope(&pool, style, &mut got, head_dim, rows, (&cos, &sin));
                for (at, (x, got)) in x.chunks(head_dim).zip(got.chunks(head_dim)).enumerate() {
                    assert_eq!(x[2 * n..], got[2 * n..], "the rest of a head stays");
                    for (i, &frequency) in frequencies.iter().enumerate() {
                        let angle = f64::from(positions[at / heads]) * f64::from(frequency);
                        let (a, b) = match style {
                            RopeStyle::Halves => (i, i + n),
                            RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                        };
                        let (re, im) = (f64::from(x[a]), f64::from(x[b]));
                        let want = [
                            1.5 * (re * angle.cos() - im * angle.sin()),
                            1.5 * (re * angle.sin() + im * angle.cos()),
                        ];
                        for (got, want) in [got[a], got[b]].into_iter().zip(want) {
                            assert!((f64::from(got) - want).abs() < 1e-6, "{got} not {want}");
                        }
                    }
                }
            }
        }
    }
}
