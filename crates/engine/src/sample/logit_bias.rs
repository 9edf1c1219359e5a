//! Logit bias: added to the logits of single tokens.

use super::Adjust;
use crate::protocol::Sampling;

struct LogitBias(Vec<(u32, f32)>);

/// The sampler, if there are biases; their tokens have been checked.
pub(super) fn stage(s: &Sampling) -> Option<Box<dyn Adjust>> {
    if s.logit_bias.is_empty() {
        return None;
    }
    Some(Box::new(LogitBias(s.logit_bias.clone())))
}

impl Adjust for LogitBias {
    fn adjust(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.0 {
            logits[token as usize] += bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_added() {
        let logit_bias = vec![(2, 1.5), (0, f32::NEG_INFINITY), (2, 0.25)];
        let settings = Sampling { logit_bias, ..Sampling::default() };
        let mut logits = [1.0; 4];
        stage(&settings).unwrap().adjust(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY, 1.0, 2.75, 1.0]);
    }
}
