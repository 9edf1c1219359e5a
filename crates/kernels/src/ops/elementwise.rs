//! Operations on each element by itself.

use super::math::{erf, sigmoid, tanh};
use crate::cpu::Kernel;
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::pool::Pool;

/// Elements of a unit.
const UNIT: usize = 8192;

/// `f(x, y)` for each element, where `y` is another slice or `x` itself.
pub(crate) trait Map: Copy + Send + Sync {
    /// Of a vector.
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats;

    /// Of all elements of slices of the same length.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline(always)]
    fn write<I: Isa>(self, isa: I, x: &[f32], y: &[f32], out: &mut [f32]) {
        assert!(x.len() == out.len() && y.len() == out.len(), "operands of different length");
        // SAFETY: of these lengths.
        unsafe { all(isa, self, x.as_ptr(), y.as_ptr(), out.as_mut_ptr(), out.len()) }
    }
}

/// `out = f(x, y)`, element by element.
///
/// # Safety
/// All three point to `len` elements; `out` may be one of the others.
#[inline(always)]
unsafe fn all<I: Isa, F: Map>(
    isa: I,
    f: F,
    x: *const f32,
    y: *const f32,
    out: *mut f32,
    len: usize,
) {
    let whole = len / I::LANES * I::LANES;
    // SAFETY: whole vectors inside the slices, then the rest through buffers of sixteen.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            isa.store(out.add(at), f.map(isa, isa.load(x.add(at)), isa.load(y.add(at))));
        }
        if whole < len {
            let (mut a, mut b) = ([0.0f32; 16], [0.0f32; 16]);
            std::ptr::copy_nonoverlapping(x.add(whole), a.as_mut_ptr(), len - whole);
            std::ptr::copy_nonoverlapping(y.add(whole), b.as_mut_ptr(), len - whole);
            let z = f.map(isa, isa.load(a.as_ptr()), isa.load(b.as_ptr()));
            isa.store(a.as_mut_ptr(), z);
            std::ptr::copy_nonoverlapping(a.as_ptr(), out.add(whole), len - whole);
        }
    }
}

/// `x = f(x, y)`.
struct Zip<'a, F> {
    x: &'a mut [f32],
    /// As long as `x`, or absent.
    y: Option<&'a [f32]>,
    f: F,
}

impl<F: Map> Kernel for Zip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (x, len) = (self.x.as_mut_ptr(), self.x.len());
        let y = self.y.map_or(x.cast_const(), |y| y.as_ptr());
        // SAFETY: of this length both.
        unsafe { all(isa, self.f, x, y, x, len) }
    }
}

fn zip<F: Map>(pool: &Pool, x: &mut [f32], y: Option<&[f32]>, f: F) {
    assert!(y.is_none_or(|y| y.len() == x.len()), "operands of different length");
    let len = x.len();
    let x = Disjoint::new(x);
    pool.run_units(len.div_ceil(UNIT), &|unit, _| {
        let range = unit * UNIT..len.min((unit + 1) * UNIT);
        // SAFETY: each unit has its own range.
        let x = unsafe { x.part(range.clone()) };
        pool.cpu().run(Zip { x, y: y.map(|y| &y[range]), f });
    });
}

#[derive(Clone, Copy)]
struct Add;
impl Map for Add {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats {
        isa.add(x, y)
    }
}

/// `x += y`.
///
/// # Panics
/// If the lengths differ.
pub fn add(pool: &Pool, x: &mut [f32], y: &[f32]) {
    zip(pool, x, Some(y), Add);
}

#[derive(Clone, Copy)]
struct Scale(f32);
impl Map for Scale {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, _: I::Floats) -> I::Floats {
        isa.mul(x, isa.splat(self.0))
    }
}

/// `x *= factor`.
pub fn scale(pool: &Pool, x: &mut [f32], factor: f32) {
    zip(pool, x, None, Scale(factor));
}

#[derive(Clone, Copy)]
struct Softcap(f32);
impl Map for Softcap {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, _: I::Floats) -> I::Floats {
        isa.mul(tanh(isa, isa.div(x, isa.splat(self.0))), isa.splat(self.0))
    }
}

/// `x = cap * tanh(x / cap)`.
pub fn softcap(pool: &Pool, x: &mut [f32], cap: f32) {
    zip(pool, x, None, Softcap(cap));
}

#[derive(Clone, Copy)]
struct Gelu;
impl Map for Gelu {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, _: I::Floats) -> I::Floats {
        let half = isa.mul(x, isa.splat(0.5));
        isa.fma(half, erf(isa, isa.mul(x, isa.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    }
}

/// `x = x (1 + erf(x / sqrt 2)) / 2`: gelu as it was defined.
pub fn gelu(pool: &Pool, x: &mut [f32]) {
    zip(pool, x, None, Gelu);
}

/// `x * sigmoid(x) * y`.
#[derive(Clone, Copy)]
pub(crate) struct SiluMul;
impl Map for SiluMul {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats {
        isa.mul(isa.mul(x, sigmoid(isa, x)), y)
    }
}

/// `gelu(x) * y`, gelu in its tanh form.
#[derive(Clone, Copy)]
pub(crate) struct GeluMul;
impl Map for GeluMul {
    #[inline(always)]
    fn map<I: Isa>(self, isa: I, x: I::Floats, y: I::Floats) -> I::Floats {
        // (1 + tanh u) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
        let inner = isa.fma(isa.mul(x, x), isa.splat(0.044_715), isa.splat(1.0));
        let double = isa.mul(isa.mul(x, isa.splat(1.595_769_2)), inner);
        isa.mul(isa.mul(x, sigmoid(isa, double)), y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, all_cpus};

    type Case = (&'static str, fn(&Pool, &mut [f32], &[f32]), fn(f64, f64) -> f64);

    const CASES: [Case; 6] = [
        ("add", add, |x, y| x + y),
        ("scale", |pool, x, _| scale(pool, x, 0.3), |x, _| x * f64::from(0.3f32)),
        ("softcap", |pool, x, _| softcap(pool, x, 30.0), |x, _| 30.0 * (x / 30.0).tanh()),
        ("gelu", |pool, x, _| gelu(pool, x), |x, _| 0.5 * x * (1.0 + erf_twin(x / 2f64.sqrt()))),
        ("silu_mul", |p, x, y| zip(p, x, Some(y), SiluMul), |x, y| x / (1.0 + (-x).exp()) * y),
        (
            "gelu_mul",
            |p, x, y| zip(p, x, Some(y), GeluMul),
            |x, y| {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + u.tanh()) * y
            },
        ),
    ];

    /// Its integral, by Simpson's rule; beyond 6 it is 1 in f64.
    fn erf_twin(x: f64) -> f64 {
        const STEPS: u32 = 600;
        let step = x.clamp(-6.0, 6.0) / f64::from(STEPS);
        let at = |i: u32| (-(f64::from(i) * step).powi(2)).exp();
        let weight = |i: u32| if i % 2 == 1 { 4.0 } else { 2.0 };
        let inner: f64 = (1..STEPS).map(|i| weight(i) * at(i)).sum();
        (at(0) + inner + at(STEPS)) * step / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn each_matches_its_twin_at_every_length() {
        for cpu in all_cpus() {
            let pool = Pool::with_cpu(2, cpu);
            for len in (0..40).chain([UNIT, UNIT + 1, 3 * UNIT - 7]) {
                let mut rng = Rng::new(len as u64);
                let x: Vec<f32> = (0..len).map(|_| rng.float() * 12.0).collect();
                let y = rng.floats(len);
                for (name, f, twin) in CASES {
                    let mut got = x.clone();
                    f(&pool, &mut got, &y);
                    for i in 0..len {
                        let want = twin(f64::from(x[i]), f64::from(y[i]));
                        // What erf is off by is multiplied by half of x.
                        let (most, off) = if name == "gelu" { (12.0, 2e-7) } else { (1.0, 1e-7) };
                        let near = f64::from(x[i].abs()).min(most);
                        let bound = 1e-6 * want.abs() + off * near + 1e-30;
                        let error = (f64::from(got[i]) - want).abs();
                        assert!(error <= bound, "{cpu:?} {name} at {i}: {} not {want}", got[i]);
                    }
                }
            }
        }
    }
}
