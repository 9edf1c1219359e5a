//! The bound of one call: activations to the factor that every row's norm is multiplied with.

use super::{Acts, DIRECTIONS, Reads, Screen, Work};
use crate::pool::Pool;

/// One rounding of an f32, relative.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

impl Screen {
    /// Splits the activations into their parts along the directions, left in `work.p`, and the
    /// rest. Returns `f` such that no row's score, as the kernels round it, is above
    /// `c y + sum of p (e v) + f |e|`, as they round that.
    ///
    /// Every error is a multiple of `|e| |y|`. In a block of 32, `|e| >= 0.5 sqrt(32) |d|`, so that
    /// the terms of the whole product, `|d| 128 |y|_1 <= |d| 128 sqrt(32) |y|` a block, add up to
    /// no more than `256 |e| |y|`, and those of the coarse one, `|d| (16 * 15 + 120.5) |y|_1`, to
    /// `721 |e| |y|`; the residual's, `22.5`, to `45 |e| |v|`. Each sum of `n` terms is off by at
    /// most `n + 3` roundings of all its terms, and has two for each block, or one.
    pub(super) fn factor(&self, pool: &Pool, acts: &Acts, work: &mut Work) -> f32 {
        let cols = acts.cols();
        work.y.resize(cols, 0.0);
        acts.seen(0, &mut work.y);
        let y2 = work.y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>();
        let length = y2.sqrt();
        let directions = self.directions.chunks_exact(cols);
        work.parts.clear();
        work.parts.extend(directions.map(|v| super::directions::dot(v, &work.y)));
        let quants = Reads { quants: true, floats: false };
        let (mut along, mut size, mut count) = (0.0, 0.0, 0.0);
        let mut p = [0.0; DIRECTIONS];
        work.p.fill(pool, &work.parts, 1, DIRECTIONS, quants);
        work.p.seen(0, &mut p);
        for (i, (&part, row)) in p.iter().zip(self.gram.chunks_exact(DIRECTIONS)).enumerate() {
            let part = f64::from(part);
            let others: f64 = row.iter().zip(&p).map(|(g, &p)| g * f64::from(p)).sum();
            along += part * (others - 2.0 * f64::from(work.parts[i]));
            size += part * part;
            count += part.abs() * row[i].sqrt();
        }
        // The parts are sums of `cols` products in f32.
        let slack = 2.0 * count * length * cols as f64 * UNIT;
        let rest = (y2 + along + slack).max(0.0).sqrt();
        let roundings = (cols / 32 * 2 + 16) as f64 * UNIT;
        let total =
            rest + self.rounding * size.sqrt() + roundings * (1000.0 * length + 50.0 * count);
        (total * (1.0 + 1e-6)) as f32
    }
}
