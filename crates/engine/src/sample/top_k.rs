//! Top-k: the k best tokens; and the step from logits to a list of candidates.

use super::candidates::{Candidate, Candidates};
use super::greedy;

/// Gathers the `k` best tokens, ties to the lowest id; with `k` of 0 all of them. A token at minus
/// infinity is never a candidate.
///
/// One pass that skips every stretch without a logit above the k-th best seen so far.
pub(super) fn gather(logits: &[f32], k: usize, kept: &mut Candidates) {
    const STRETCH: usize = 64;
    let k = if k == 0 { logits.len() } else { k.min(logits.len()) };
    // Room to collect before the worst are dropped again: constant work per token for any k.
    let limit = k + k.max(256);
    let mut threshold = f32::NEG_INFINITY;
    let list = &mut kept.list;
    list.clear();
    for (i, stretch) in logits.chunks(STRETCH).enumerate() {
        if greedy::largest(stretch).0 <= threshold {
            continue;
        }
        for (id, &logit) in (i * STRETCH..).zip(stretch) {
            if logit > threshold {
                list.push(Candidate::new(id as u32, logit));
            }
        }
        if list.len() >= limit {
            threshold = keep_best(list, k);
        }
    }
    if list.len() > k {
        keep_best(list, k);
        list.sort_unstable_by_key(|candidate| candidate.id);
    } else if threshold > f32::NEG_INFINITY {
        list.sort_unstable_by_key(|candidate| candidate.id);
    }
}

/// Drops all but the `k` best, which are left in any order; returns the worst logit kept.
fn keep_best(list: &mut Vec<Candidate>, k: usize) -> f32 {
    let (_, worst, _) = list.select_nth_unstable_by(k - 1, Candidate::rank);
    let worst = worst.logit;
    list.truncate(k);
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::candidates::tests::{check, logits};

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
            let mut kept = Candidates::default();
            gather(&[0.1f32, 0.2, 0.3, 0.4].map(f32::ln), k, &mut kept);
            check(kept, &expected);
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
                    let mut kept = Candidates::default();
                    gather(&x, k, &mut kept);
                    let found: Vec<u32> = kept.list.iter().map(|c| c.id).collect();
                    assert_eq!(found, expected, "{count} logits, top {k}");
                    assert!(kept.list.iter().all(|c| c.logit == x[c.id as usize]));
                }
            }
        }
    }

    #[test]
    fn a_token_that_is_ruled_out_is_no_candidate() {
        let mut kept = Candidates::default();
        for k in [0, 2, 3] {
            gather(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], k, &mut kept);
            assert_eq!(kept.list.len(), 1);
        }
    }
}
