//! XTC (exclude top choices): by chance, drops every token above a threshold but the last of them.

use super::candidates::{Candidate, Candidates};
use super::{Narrow, Rng};
use crate::protocol::Sampling;

struct Xtc {
    probability: f32,
    threshold: f32,
}

/// The sampler, unless it has no effect: two tokens cannot both be above one half.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Narrow>> {
    if s.xtc_probability <= 0.0 || s.xtc_threshold > 0.5 {
        return None;
    }
    Some(Box::new(Xtc { probability: s.xtc_probability, threshold: s.xtc_threshold }))
}

impl Narrow for Xtc {
    fn narrow(&self, kept: &mut Candidates, rng: &mut Rng) {
        if rng.uniform() >= f64::from(self.probability) {
            return;
        }
        kept.softmax();
        let top = kept.list.iter().filter(|c| c.p >= self.threshold);
        let Some(&last) = top.max_by(|a, b| a.rank(b)) else { return };
        kept.list.retain(|candidate| Candidate::rank(&last, candidate).is_le());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, of};

    fn narrow(kept: &mut Candidates, xtc_probability: f32, xtc_threshold: f32, rng: &mut Rng) {
        let settings = Sampling { xtc_probability, xtc_threshold, ..Sampling::default() };
        stage(&settings).inspect(|stage| stage.narrow(kept, rng));
    }

    /// What llama.cpp's test-sampling.cpp expects (before it normalises).
    #[test]
    fn cases_of_llama_cpp() {
        let (third, sixth) = (1.0 / 3.0, 1.0 / 6.0);
        for (threshold, expected) in [
            (0.09, [0.0, 0.0, 0.0, 1.0]),
            (0.19, [0.0, 0.0, 2.0 * third, third]),
            (0.29, [0.0, 0.5, third, sixth]),
            (0.39, [0.4, 0.3, 0.2, 0.1]),
            (0.51, [0.4, 0.3, 0.2, 0.1]),
        ] {
            let mut kept = of(&[0.4, 0.3, 0.2, 0.1]);
            narrow(&mut kept, 1.0, threshold, &mut Rng::new(0));
            check(kept, &expected);
        }
    }

    #[test]
    fn it_applies_as_often_as_asked() {
        for probability in [0.0, 0.25, 0.9] {
            let mut rng = Rng::new(3);
            let mut applied = 0;
            for _ in 0..10_000 {
                let mut kept = of(&[0.4, 0.3, 0.2, 0.1]);
                narrow(&mut kept, probability, 0.19, &mut rng);
                applied += usize::from(kept.list.len() == 2);
            }
            let share = applied as f32 / 10_000.0;
            assert!((share - probability).abs() < 0.02, "{share} for {probability}");
        }
    }
}
