//! Log-probabilities under the unmodified logits.

use super::candidates::{Candidate, Candidates};
use super::{SampleError, greedy, top_k};

/// The natural logarithm of the probability of `token`, and of the `k` best tokens, best first.
///
/// To be asked before [`super::Sampler::sample`], which changes the logits. `token` must be one of
/// them; `k` beyond their number gives all.
///
/// # Errors
/// Logits that are not numbers.
///
/// # Panics
/// If there is no logit of `token`.
pub fn logprobs(
    logits: &[f32],
    token: u32,
    k: usize,
) -> Result<(f32, Vec<(u32, f32)>), SampleError> {
    let max = logits[greedy::best(logits)? as usize];
    let sum: f64 = logits.iter().map(|&x| f64::from((x - max).exp())).sum();
    let log_sum = f64::from(max) + sum.ln();
    let logprob = |logit: f32| (f64::from(logit) - log_sum) as f32;
    let mut top = Candidates::default();
    if k > 0 {
        top_k::gather(logits, k, &mut top)?;
        top.list.sort_unstable_by(Candidate::rank);
    }
    let top = top.list.iter().map(|c| (c.id, logprob(c.logit))).collect();
    Ok((logprob(logits[token as usize]), top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::logits;

    #[test]
    fn they_are_the_logarithms_of_the_softmax() {
        for (count, shift) in [(1, 0.0), (30, 0.0), (30, 3e4), (5000, -80.0)] {
            let x: Vec<f32> = logits(count, 5).iter().map(|x| x + shift).collect();
            let shift = f64::from(x[0]);
            let sum: f64 = x.iter().map(|&x| (f64::from(x) - shift).exp()).sum();
            let expected = |id: usize| f64::from(x[id]) - shift - sum.ln();
            for k in [0, 1, 5, 100_000] {
                let (logprob, top) = logprobs(&x, 0, k).unwrap();
                assert!((f64::from(logprob) - expected(0)).abs() < 1e-5 * sum.ln().abs().max(1.0));
                let mut ids: Vec<u32> = (0..count as u32).collect();
                ids.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]));
                ids.truncate(k);
                assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), ids);
                assert!(top.iter().all(|t| (f64::from(t.1) - expected(t.0 as usize)).abs() < 1e-4));
            }
        }
        assert!(logprobs(&[1.0, f32::NAN], 0, 1).is_err());
    }
}
