//! Locally typical sampling: the tokens whose surprise is nearest to the expected one, until their
//! probabilities exceed p together.

use super::candidates::{Candidate, Candidates};
use super::{Narrow, Rng};
use crate::protocol::Sampling;

struct Typical(f32);

/// The sampler, unless it keeps all.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Narrow>> {
    if s.typical_p >= 1.0 {
        return None;
    }
    Some(Box::new(Typical(s.typical_p)))
}

impl Narrow for Typical {
    fn narrow(&self, kept: &mut Candidates, _rng: &mut Rng) {
        let log_sum = kept.softmax();
        let surprise = |c: &Candidate| log_sum - f64::from(c.logit);
        let expected: f64 = kept.list.iter().map(|c| f64::from(c.p) * surprise(c)).sum();
        let distance = |c: &Candidate| (surprise(c) - expected).abs() as f32;
        kept.keep_mass(distance, |sum| sum as f32 > self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, logits, of};
    use crate::sample::top_k;

    fn narrow(kept: &mut Candidates, typical_p: f32) {
        let settings = Sampling { typical_p, ..Sampling::default() };
        stage(&settings).inspect(|stage| stage.narrow(kept, &mut Rng::new(0)));
    }

    /// What llama.cpp's test-sampling.cpp expects (before it normalises).
    #[test]
    fn cases_of_llama_cpp() {
        let third = 1.0 / 3.0;
        for (probabilities, p, expected) in [
            ([0.97, 0.01, 0.01, 0.01], 0.5, [1.0, 0.0, 0.0, 0.0]),
            ([0.4, 0.2, 0.2, 0.2], 0.5, [0.0, third, third, third]),
            ([0.4, 0.3, 0.2, 0.1], 1.0, [0.4, 0.3, 0.2, 0.1]),
        ] {
            let mut kept = of(&probabilities);
            narrow(&mut kept, p);
            check(kept, &expected);
        }
    }

    /// Against a full sort in double precision.
    #[test]
    fn the_nearest_to_the_expected_surprise_are_kept() {
        for (count, seed) in [(1, 1), (2, 2), (50, 3), (3000, 4)] {
            let x = logits(count, seed);
            let sum: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
            let p: Vec<f64> = x.iter().map(|x| f64::from(*x).exp() / sum).collect();
            let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
            for typical_p in [0.05, 0.2, 0.5, 0.9, 0.99] {
                let mut kept = Candidates::default();
                top_k::gather(&x, 0, &mut kept).expect("numbers");
                narrow(&mut kept, typical_p);
                let distance = |id: usize| (-p[id].ln() - entropy).abs();
                let is_kept = |id: &usize| kept.list.iter().any(|c| c.id as usize == *id);
                let (inside, outside): (Vec<usize>, Vec<usize>) = (0..count).partition(is_kept);
                // The kept ones are the nearest, enough, and not enough without the farthest.
                let farthest = inside.iter().map(|&id| distance(id)).fold(0.0, f64::max);
                assert!(outside.iter().all(|&id| distance(id) > farthest - 1e-5));
                let mass: f64 = inside.iter().map(|&id| p[id]).sum();
                let at_edge = |id: &&usize| distance(**id) > farthest - 1e-5;
                let edge: f64 = inside.iter().filter(at_edge).map(|&id| p[id]).sum();
                let typical_p = f64::from(typical_p);
                assert!(mass > typical_p - 1e-6 || outside.is_empty(), "{mass} of {typical_p}");
                assert!(mass - edge <= typical_p + 1e-6, "{mass} - {edge} of {typical_p}");
            }
        }
    }
}
