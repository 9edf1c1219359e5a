//! Top-p (nucleus): the fewest best tokens whose probabilities reach p together.

use super::candidates::Candidates;
use super::{Narrow, Rng};
use crate::protocol::Sampling;

struct TopP(f32);

/// The sampler, unless it keeps all.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Narrow>> {
    if s.top_p >= 1.0 {
        return None;
    }
    Some(Box::new(TopP(s.top_p)))
}

impl Narrow for TopP {
    fn narrow(&self, kept: &mut Candidates, _rng: &mut Rng) {
        kept.softmax();
        let best = kept.best().logit;
        kept.keep_mass(|c| best - c.logit, |sum| sum as f32 >= self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, logits, of};
    use crate::sample::top_k;

    fn narrow(kept: &mut Candidates, top_p: f32) {
        let settings = Sampling { top_p, ..Sampling::default() };
        stage(&settings).inspect(|stage| stage.narrow(kept, &mut Rng::new(0)));
    }

    /// What llama.cpp's test-sampling.cpp expects.
    #[test]
    fn cases_of_llama_cpp() {
        let cases = [
            (0.0, [0.0, 0.0, 0.0, 1.0]),
            (0.7, [0.0, 0.0, 0.428571, 0.571429]),
            (0.8, [0.0, 0.22222, 0.33333, 0.44444]),
            (1.0, [0.1, 0.2, 0.3, 0.4]),
        ];
        for (p, expected) in cases {
            let mut kept = of(&[0.1, 0.2, 0.3, 0.4]);
            narrow(&mut kept, p);
            check(kept, &expected);
        }
    }

    /// Against a full sort and a running sum.
    #[test]
    fn the_fewest_that_reach_p_are_kept() {
        for (count, seed) in [(1, 1), (2, 2), (50, 3), (3000, 4)] {
            let x = logits(count, seed);
            let sum: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
            let mut sorted: Vec<usize> = (0..count).collect();
            sorted.sort_by(|a, b| x[*b].total_cmp(&x[*a]));
            for p in [0.01, 0.3, 0.5, 0.9, 0.95, 0.999] {
                let mut running = 0.0;
                let before = sorted.iter().take_while(|i| {
                    let goes_on = running < f64::from(p);
                    running += f64::from(x[**i]).exp() / sum;
                    goes_on
                });
                let mut expected: Vec<u32> = before.map(|i| *i as u32).collect();
                expected.sort_unstable();
                let mut kept = Candidates::default();
                top_k::gather(&x, 0, &mut kept).expect("numbers");
                narrow(&mut kept, p);
                let found: Vec<u32> = kept.list.iter().map(|c| c.id).collect();
                assert_eq!(found, expected, "{count} candidates, p {p}");
            }
        }
    }
}
