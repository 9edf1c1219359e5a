//! How blocks of 256 weights are written: scales of the sub-blocks, themselves quantised.
//!
//! A plain rule of our own (range of each sub-block, round to nearest), good for tests and
//! synthetic models; quantising tools search for better scales. Reading has nothing to do with it.

use super::block::{extremes, inverse, signed_peak};
use super::f16::rounded;

/// Scales of a block whose sub-block `s` holds `x = d scales[s] q - dmin mins[s]` with `q >= 0`.
pub(super) struct Affine<const S: usize> {
    /// Block scale, already a value of f16.
    pub(super) d: f32,
    /// Block scale of the minima, already a value of f16.
    pub(super) dmin: f32,
    /// Codes of the sub-block scales.
    pub(super) scales: [u8; S],
    /// Codes of the sub-block minima.
    pub(super) mins: [u8; S],
}

impl<const S: usize> Affine<S> {
    /// For quants up to `top` and codes up to `cap`.
    pub(super) fn of(x: &[f32; 256], top: f32, cap: f32) -> Self {
        let (mut scales, mut mins) = ([0.0; S], [0.0; S]);
        for ((x, scale), min) in x.chunks_exact(256 / S).zip(&mut scales).zip(&mut mins) {
            let (lo, hi) = extremes(x);
            *min = -lo.min(0.0);
            *scale = (hi + *min) / top;
        }
        let d = rounded(extremes(&scales).1 / cap);
        let dmin = rounded(extremes(&mins).1 / cap);
        let code = |x: f32, d: f32| (x * inverse(d)).round().min(cap) as u8;
        let (scales, mins) = (scales.map(|x| code(x, d)), mins.map(|x| code(x, dmin)));
        Self { d, dmin, scales, mins }
    }

    /// The quants of all weights, at most `top`.
    pub(super) fn quants(&self, x: &[f32; 256], top: f32) -> [u8; 256] {
        let mut quants = [0; 256];
        for (j, (q, &x)) in quants.iter_mut().zip(x).enumerate() {
            let s = j / (256 / S);
            let min = self.dmin * f32::from(self.mins[s]);
            let inv = inverse(self.d * f32::from(self.scales[s]));
            *q = ((x + min) * inv).round().min(top) as u8;
        }
        quants
    }
}

/// Scales of a block whose sub-block `s` holds `x = d scales[s] q` with signed codes and quants.
pub(super) struct Symmetric<const S: usize> {
    /// Block scale, already a value of f16.
    pub(super) d: f32,
    /// Codes of the sub-block scales.
    pub(super) scales: [i8; S],
}

impl<const S: usize> Symmetric<S> {
    /// For quants down to `-low` and codes from `-cap` to `cap - 1`.
    ///
    /// The value of largest magnitude in a sub-block becomes `-low`, the largest scale `-cap`.
    pub(super) fn of(x: &[f32; 256], low: f32, cap: f32) -> Self {
        let mut scales = [0.0; S];
        for (x, scale) in x.chunks_exact(256 / S).zip(&mut scales) {
            *scale = signed_peak(x) / -low;
        }
        let d = rounded(signed_peak(&scales) / -cap);
        let inv = inverse(d);
        let scales = scales.map(|x| (x * inv).round().clamp(-cap, cap - 1.0) as i8);
        Self { d, scales }
    }

    /// Weights divided by their sub-block's scale, 0 where that is 0.
    pub(super) fn normalized(&self, x: &[f32; 256]) -> [f32; 256] {
        let mut values = *x;
        for (values, &scale) in values.chunks_exact_mut(256 / S).zip(&self.scales) {
            let inv = inverse(self.d * f32::from(scale));
            values.iter_mut().for_each(|value| *value *= inv);
        }
        values
    }
}
