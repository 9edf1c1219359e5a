//! Repetition, frequency and presence penalties over the last tokens of the context.

use std::collections::{HashMap, VecDeque};

use super::Adjust;
use crate::protocol::Sampling;

struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    /// Most tokens looked back at.
    last_n: usize,
    window: VecDeque<u32>,
    /// How often each token occurs in the window.
    counts: HashMap<u32, u32>,
}

/// The sampler, unless it has no effect.
pub(super) fn stage(s: &Sampling, ctx: usize) -> Option<Box<dyn Adjust>> {
    let last_n = look_back(s.repeat_last_n, ctx);
    let neutral = (1.0, 0.0, 0.0);
    if last_n == 0 || (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) == neutral {
        return None;
    }
    Some(Box::new(Penalties {
        repeat: s.repeat_penalty,
        frequency: s.frequency_penalty,
        presence: s.presence_penalty,
        last_n,
        window: VecDeque::new(),
        counts: HashMap::new(),
    }))
}

/// Tokens to look back at: -1 means the whole context.
pub(super) fn look_back(last_n: i32, ctx: usize) -> usize {
    usize::try_from(last_n).map_or(ctx, |n| n.min(ctx))
}

impl Adjust for Penalties {
    fn adjust(&mut self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // Dividing a negative logit would make the token likelier.
            *logit = if *logit <= 0.0 { *logit * self.repeat } else { *logit / self.repeat };
            *logit -= count as f32 * self.frequency + self.presence;
        }
    }

    fn accept(&mut self, token: u32) {
        if self.window.len() == self.last_n
            && let Some(oldest) = self.window.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        self.window.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::{Candidate, Candidates, tests::check_shares};

    fn settings(repeat: f32, frequency: f32, presence: f32) -> Sampling {
        Sampling {
            repeat_penalty: repeat,
            frequency_penalty: frequency,
            presence_penalty: presence,
            ..Sampling::default()
        }
    }

    /// What llama.cpp's test-sampling.cpp expects of five equally likely tokens.
    #[test]
    fn cases_of_llama_cpp() {
        let cases: &[(f32, f32, &[u32], [f32; 5])] = &[
            (50.0, 0.0, &[0], [0.0, 0.25, 0.25, 0.25, 0.25]),
            (50.0, 0.0, &[0, 1, 2], [0.0, 0.0, 0.0, 0.5, 0.5]),
            (50.0, 0.0, &[0, 1, 2, 0, 0], [0.0, 0.0, 0.0, 0.5, 0.5]),
            (1.0, 5.0, &[0], [0.000011, 0.249997, 0.249997, 0.249997, 0.249997]),
            (1.0, 5.0, &[0, 1, 2], [0.000023, 0.000023, 0.000023, 0.499966, 0.499966]),
            (1.0, 5.0, &[0, 1, 2, 0, 0], [0.0, 0.000023, 0.000023, 0.499977, 0.499977]),
        ];
        for &(repeat, other, history, expected) in cases {
            let mut stage = stage(&settings(repeat, other, other), 100).unwrap();
            history.iter().for_each(|&token| stage.accept(token));
            let mut logits = [0.2f32.ln(); 5];
            stage.adjust(&mut logits);
            let list = (0..5).zip(logits).map(|(id, logit)| Candidate::new(id, logit)).collect();
            check_shares(Candidates { list, ..Default::default() }, &expected);
        }
    }

    #[test]
    fn only_the_last_tokens_count() {
        let history: Vec<u32> = (0..40).map(|i| i * i % 11).collect();
        for (last_n, window) in [(1, 1), (3, 3), (16, 16), (100, 24), (-1, 24)] {
            let settings = Sampling { repeat_last_n: last_n, ..settings(2.0, 0.5, 0.25) };
            let mut stage = stage(&settings, 24).unwrap();
            history.iter().for_each(|&token| stage.accept(token));
            let mut logits: Vec<f32> = (0..12).map(|i| i as f32 - 6.0).collect();
            let before = logits.clone();
            stage.adjust(&mut logits);
            for (token, (after, before)) in logits.iter().zip(before).enumerate() {
                let seen = &history[history.len() - window..];
                let count = seen.iter().filter(|&&t| t as usize == token).count() as f32;
                let scaled = if before > 0.0 { before / 2.0 } else { before * 2.0 };
                let expected = if count > 0.0 { scaled - count * 0.5 - 0.25 } else { before };
                assert_eq!(*after, expected, "last {last_n}, token {token}");
            }
        }
        assert!(stage(&Sampling { repeat_last_n: 0, ..settings(2.0, 0.0, 0.0) }, 24).is_none());
    }
}
