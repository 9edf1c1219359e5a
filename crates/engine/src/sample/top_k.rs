//! Top-k: the k best tokens; and the step from logits to a list of candidates.

use super::SampleError;
use super::candidates::{Candidate, Candidates};
use super::greedy::STRETCH;

/// Gathers the `k` best tokens, ties to the lowest id; with `k` of 0 all of them. A token at minus
/// infinity is never a candidate.
///
/// All logits are read once; then only stretches that may hold one of the best are looked at.
///
/// # Errors
/// As [`greedy::best`](super::greedy::best).
pub(super) fn gather(logits: &[f32], k: usize, kept: &mut Candidates) -> Result<(), SampleError> {
    let k = if k == 0 { logits.len() } else { k.min(logits.len()) };
    let Candidates { list, maxima, .. } = kept;
    maxima.read(logits)?;
    let floor = maxima.floor(k);
    list.clear();
    for (i, stretch) in logits.chunks(STRETCH).enumerate() {
        if maxima.values[i] < floor {
            continue;
        }
        for (id, &logit) in (i * STRETCH..).zip(stretch) {
            if logit >= floor && logit > f32::NEG_INFINITY {
                list.push(Candidate::new(id as u32, logit));
            }
        }
    }
    if list.len() > k {
        keep_best(list, k);
        list.sort_unstable_by_key(|candidate| candidate.id);
    }
    Ok(())
}

/// Drops all but the `k` best, which are left in any order.
fn keep_best(list: &mut Vec<Candidate>, k: usize) {
    list.select_nth_unstable_by(k - 1, Candidate::rank);
    list.truncate(k);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, logits};

    fn gathered(logits: &[f32], k: usize) -> Candidates {
        let mut kept = Candidates::default();
        gather(logits, k, &mut kept).expect("numbers");
        kept
    }

    /// What llama.cpp's test-sampling.cpp expects.
    #[test]
    fn cases_of_llama_cpp() {
        let cases = [
            (1, [0.0, 0.0, 0.0, 1.0]),
            (3, [0.0, 0.22222, 0.33333, 0.44444]),
            (4, [0.1, 0.2, 0.3, 0.4]),
            (0, [0.1, 0.2, 0.3, 0.4]),
        ];
        for (k, expected) in cases {
            check(gathered(&[0.1f32, 0.2, 0.3, 0.4].map(f32::ln), k), &expected);
        }
    }

    /// Random, rising, falling and constant logits of many lengths against a plain sort.
    #[test]
    fn the_best_are_kept_in_order_of_id() {
        for count in [1, 2, 63, 64, 65, 700, 5000] {
            let random = logits(count, 7);
            let rising: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let falling = rising.iter().rev().copied().collect();
            for x in [random, rising, falling, vec![1.0; count]] {
                for k in [0, 1, 2, 40, 300, 4999, 10_000] {
                    let mut expected: Vec<u32> = (0..count as u32).collect();
                    expected.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]));
                    expected.truncate(if k == 0 { count } else { k });
                    expected.sort_unstable();
                    let kept = gathered(&x, k);
                    let found: Vec<u32> = kept.list.iter().map(|c| c.id).collect();
                    assert_eq!(found, expected, "{count} logits, top {k}");
                    assert!(kept.list.iter().all(|c| c.logit == x[c.id as usize]));
                }
            }
        }
    }

    #[test]
    fn a_token_that_is_ruled_out_is_no_candidate() {
        for k in [0, 2, 3] {
            let kept = gathered(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], k);
            assert_eq!(kept.list.len(), 1);
        }
    }
}
