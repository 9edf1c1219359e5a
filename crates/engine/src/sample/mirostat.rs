//! Mirostat 2: drops tokens more surprising than a bound, and steers the bound so that the surprise
//! of the chosen ones stays near a target.

use super::candidates::Candidates;
use super::{Rng, dist};

/// The state of the control loop.
pub(super) struct Mirostat {
    /// Target surprise in bits.
    tau: f32,
    /// Learning rate.
    eta: f32,
    /// Largest surprise allowed now, in bits.
    mu: f32,
}

impl Mirostat {
    /// Starts at twice the target, as the publication does.
    pub(super) fn new(tau: f32, eta: f32) -> Self {
        Self { tau, eta, mu: 2.0 * tau }
    }

    /// Chooses a token and moves the bound.
    pub(super) fn pick(&mut self, kept: &mut Candidates, rng: &mut Rng) -> u32 {
        kept.softmax();
        let best = kept.best().id;
        kept.list.retain(|c| -c.p.log2() <= self.mu || c.id == best);
        let drawn = dist::draw(kept, rng);
        self.mu -= self.eta * (-drawn.p.log2() - self.tau);
        drawn.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{logits, of};
    use crate::sample::top_k;

    #[test]
    fn surprising_tokens_are_dropped_and_the_bound_follows() {
        // Bits of surprise: 1, 2, 3, 4, 4.
        let probabilities = [0.5, 0.25, 0.125, 0.0625, 0.0625];
        for (tau, count) in [(0.25, 1), (0.55, 1), (1.05, 2), (1.55, 3), (1.95, 3), (2.1, 5)] {
            let mut mirostat = Mirostat::new(tau, 0.5);
            let mut kept = of(&probabilities);
            let drawn = mirostat.pick(&mut kept, &mut Rng::new(8));
            assert_eq!(kept.list.len(), count, "tau {tau}");
            let sum: f32 = probabilities[..count].iter().sum();
            let surprise = -(probabilities[drawn as usize] / sum).log2();
            let expected = 2.0 * tau - 0.5 * (surprise - tau);
            assert!((mirostat.mu - expected).abs() < 1e-5, "{} for {expected}", mirostat.mu);
        }
    }

    #[test]
    fn the_mean_surprise_comes_to_the_target() {
        let (mut mirostat, mut rng) = (Mirostat::new(3.0, 0.1), Rng::new(1));
        let mut sum = 0.0;
        for step in 0..4000 {
            let mut kept = Candidates::default();
            top_k::gather(&logits(500, step % 16), 0, &mut kept).expect("numbers");
            let id = mirostat.pick(&mut kept, &mut rng);
            sum -= kept.list.iter().find(|c| c.id == id).unwrap().p.log2();
        }
        assert!((sum / 4000.0 - 3.0).abs() < 0.1, "{}", sum / 4000.0);
    }
}
