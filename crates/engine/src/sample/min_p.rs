//! Min-p: the tokens with at least a share p of the best one's probability.

use super::candidates::Candidates;
use super::{Narrow, Rng};
use crate::protocol::Sampling;

struct MinP(f32);

/// The sampler, unless it keeps all.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Narrow>> {
    if s.min_p <= 0.0 {
        return None;
    }
    Some(Box::new(MinP(s.min_p)))
}

impl Narrow for MinP {
    fn narrow(&self, kept: &mut Candidates, _rng: &mut Rng) {
        // A ratio of probabilities is a difference of logits: no exponential is needed.
        let least = kept.best().logit + self.0.ln();
        kept.list.retain(|candidate| candidate.logit >= least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, of};

    /// What llama.cpp's test-sampling.cpp expects.
    #[test]
    fn cases_of_llama_cpp() {
        let cases = [
            (0.0, [0.1, 0.2, 0.3, 0.4]),
            (0.24, [0.1, 0.2, 0.3, 0.4]),
            (0.26, [0.0, 0.2 / 0.9, 0.3 / 0.9, 0.4 / 0.9]),
            (0.49, [0.0, 0.2 / 0.9, 0.3 / 0.9, 0.4 / 0.9]),
            (0.51, [0.0, 0.0, 0.3 / 0.7, 0.4 / 0.7]),
            (0.74, [0.0, 0.0, 0.3 / 0.7, 0.4 / 0.7]),
            (0.76, [0.0, 0.0, 0.0, 1.0]),
            (1.0, [0.0, 0.0, 0.0, 1.0]),
        ];
        for (min_p, expected) in cases {
            let mut kept = of(&[0.1, 0.2, 0.3, 0.4]);
            let settings = Sampling { min_p, ..Sampling::default() };
            stage(&settings).inspect(|stage| stage.narrow(&mut kept, &mut Rng::new(0)));
            check(kept, &expected);
        }
    }
}
