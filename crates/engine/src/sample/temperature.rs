//! Temperature: divides the logits, which flattens (above 1) or sharpens the distribution.

use super::candidates::Candidates;
use super::{Narrow, Rng};
use crate::protocol::Sampling;

struct Temperature(f32);

/// The sampler, unless it has no effect; 0 means the greedy pick instead.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Narrow>> {
    if s.temperature == 1.0 || s.temperature == 0.0 {
        return None;
    }
    Some(Box::new(Temperature(s.temperature)))
}

impl Narrow for Temperature {
    fn narrow(&self, kept: &mut Candidates, _rng: &mut Rng) {
        // Taking the best from all changes no probability and keeps a tiny temperature from
        // turning the logits into infinities of both signs.
        let best = kept.best().logit;
        for candidate in &mut kept.list {
            candidate.logit = (candidate.logit - best) / self.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check_shares, of};

    #[test]
    fn probabilities_are_raised_to_the_inverse_power() {
        for temperature in [1e-40f32, 0.1, 0.5, 1.0, 2.0, 1e6] {
            let settings = Sampling { temperature, ..Sampling::default() };
            let mut kept = of(&[0.1, 0.2, 0.3, 0.4]);
            stage(&settings).inspect(|stage| stage.narrow(&mut kept, &mut Rng::new(0)));
            let power = |p: f64| (p / 0.4).powf(1.0 / f64::from(temperature));
            let powers = [0.1, 0.2, 0.3, 0.4].map(power);
            let sum: f64 = powers.iter().sum();
            check_shares(kept, &powers.map(|p| (p / sum) as f32));
        }
    }
}
