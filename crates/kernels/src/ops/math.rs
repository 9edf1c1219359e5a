//! Functions of one variable on vectors.

use crate::isa::Isa;

/// `e^x`, within 2 ULP; 0 below -86.6 (results under 2.5e-38) and infinity above 88.72283.
#[inline(always)]
pub(crate) fn exp<I: Isa>(isa: I, x: I::Floats) -> I::Floats {
    // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first short enough to be exact.
    let n = isa.round(isa.mul(x, isa.splat(std::f32::consts::LOG2_E)));
    let r = isa.fma(n, isa.splat(-0.693_359_4), x);
    let r = isa.fma(n, isa.splat(2.121_944_4e-4), r);
    // The series up to r^7: the rest is below 6e-9.
    let mut sum = isa.splat(1.0 / 5040.0);
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = isa.fma(sum, r, isa.splat(factor));
    }
    // In two steps, as 2^128 is no f32.
    let power = isa.exp2_whole(isa.sub(n, isa.splat(1.0)));
    let y = isa.mul(isa.mul(sum, power), isa.splat(2.0));
    let y = isa.select_lt(x, isa.splat(-86.6), isa.splat(0.0), y);
    isa.select_lt(isa.splat(88.722_83), x, isa.splat(f32::INFINITY), y)
}

/// `tanh x`, within 4 ULP.
#[inline(always)]
pub(crate) fn tanh<I: Isa>(isa: I, x: I::Floats) -> I::Floats {
    let one = isa.splat(1.0);
    let two = isa.splat(2.0);
    let far = isa.sub(one, isa.div(two, isa.add(exp(isa, isa.mul(x, two)), one)));
    // Near zero that form cancels; there, the odd series up to x^13.
    let square = isa.mul(x, x);
    let mut sum = isa.splat(21844.0 / 6_081_075.0);
    for factor in [-1382.0 / 155_925.0, 62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
        sum = isa.fma(sum, square, isa.splat(factor));
    }
    let near = isa.fma(isa.mul(sum, square), x, x);
    isa.select_lt(isa.abs(x), isa.splat(0.4), near, far)
}

/// The error function, within 2e-7.
///
/// Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", formula 7.1.26.
#[inline(always)]
pub(crate) fn erf<I: Isa>(isa: I, x: I::Floats) -> I::Floats {
    let (zero, one) = (isa.splat(0.0), isa.splat(1.0));
    let t = isa.div(one, isa.fma(isa.abs(x), isa.splat(0.327_591_1), one));
    let mut sum = isa.splat(1.061_405_4);
    for factor in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6, 0.0] {
        sum = isa.fma(sum, t, isa.splat(factor));
    }
    let rest = isa.mul(sum, exp(isa, isa.mul(isa.sub(zero, x), x)));
    let size = isa.sub(one, rest);
    isa.select_lt(x, zero, isa.sub(zero, size), size)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<I: Isa>(isa: I, x: I::Floats) -> I::Floats {
    let one = isa.splat(1.0);
    isa.div(one, isa.add(one, exp(isa, isa.sub(isa.splat(0.0), x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Kernel;
    use crate::testing::all_cpus;

    /// Applies a function to each value.
    struct Map<'a>(&'a [f32], u8);

    impl Kernel for Map<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> Vec<f32> {
            let mut out = vec![0.0; self.0.len()];
            for at in (0..self.0.len()).step_by(I::LANES) {
                // SAFETY: the length is a multiple of the lanes.
                unsafe {
                    let x = isa.load(self.0.as_ptr().add(at));
                    let y = match self.1 {
                        0 => exp(isa, x),
                        1 => tanh(isa, x),
                        _ => sigmoid(isa, x),
                    };
                    isa.store(out.as_mut_ptr().add(at), y);
                }
            }
            out
        }
    }

    /// Distance from `want` in units of the last place of `want`.
    fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        let ulp = f64::from(near.abs().next_up()) - f64::from(near.abs());
        (f64::from(got) - want).abs() / ulp
    }

    #[test]
    fn functions_are_close_to_their_twins() {
        let x: Vec<f32> = (-40_000..40_000).map(|i| i as f32 * 0.002_15).collect();
        for cpu in all_cpus() {
            for (name, which, bound) in [("exp", 0, 2.0), ("tanh", 1, 4.0), ("sigmoid", 2, 4.0)] {
                for (x, got) in x.iter().zip(cpu.run(Map(&x, which))) {
                    let x = f64::from(*x);
                    let want = [x.exp(), x.tanh(), 1.0 / (1.0 + (-x).exp())][usize::from(which)];
                    if want.abs() > 2.5e-38 {
                        let error = ulps(got, want);
                        assert!(error <= bound, "{cpu:?} {name}({x}) is {got}: {error} ULP off");
                    } else {
                        assert!((0.0..3e-38).contains(&got), "{cpu:?} {name}({x}) is {got}");
                    }
                }
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        let mut x =
            vec![f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 0.0, -200.0, 200.0, 88.7, -86.0];
        x.extend_from_within(..);
        for cpu in all_cpus() {
            let exps = cpu.run(Map(&x, 0));
            assert_eq!(exps[..2], [0.0, f32::INFINITY]);
            assert!(exps[2].is_nan());
            assert_eq!(exps[3..6], [1.0, 0.0, f32::INFINITY]);
            assert!(exps[6].is_finite() && exps[7] > 0.0);
            let tanhs = cpu.run(Map(&x, 1));
            assert_eq!((tanhs[0], tanhs[1], tanhs[3]), (-1.0, 1.0, 0.0));
            assert!(tanhs[2].is_nan());
        }
    }
}
