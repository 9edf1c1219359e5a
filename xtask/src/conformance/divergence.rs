//! How far the default path strays from exact arithmetic: KL divergence from the plain f32 forward,
//! ours beside llama.cpp's, and how often the likeliest token is the same. Both round activations
//! and cache; we must not lose more than they do.

use super::Bench;
use super::logits::{ours, prompt, reference, theirs};
use crate::record::Row;
use anyhow::{Result, ensure};

/// Tokens compared; the reference is slow.
const TOKENS: usize = 256;

/// Our divergence may be this many times llama.cpp's.
const ALLOWED: f64 = 1.05;

/// Compares both real models.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for model in &bench.models {
        let tokens = prompt(model.name, TOKENS)?;
        let exact = reference(&model.path, &tokens)?;
        let width = exact.len() / tokens.len();
        let ours = ours(bench, &model.path, &tokens, &["--kv", "f16"])?;
        let theirs = theirs(bench, &model.path, &tokens, &["--kv", "f16", "--flash"])?;
        ensure!(ours.len() == exact.len() && theirs.len() == exact.len(), "unequal logits");
        let same = (same_top(&exact, &ours, width), same_top(&exact, &theirs, width));
        let count = |same: &[bool]| same.iter().filter(|same| **same).count();
        rows.push(Row {
            what: format!("likeliest token as in f32, {}", model.name),
            figure: format!("{} to {} of {TOKENS}", count(&same.0), count(&same.1)),
            target: "no fewer than llama.cpp, but for chance".to_owned(),
            holds: not_worse(&same.0, &same.1),
        });
        let (ours, theirs) = (mean_kl(&exact, &ours, width), mean_kl(&exact, &theirs, width));
        let ratio = ours / theirs;
        rows.push(Row {
            what: format!("KL from the f32 reference, {}", model.name),
            figure: format!("{ours:.3e} to {theirs:.3e} ({ratio:.3})"),
            target: format!("<= {ALLOWED} x llama.cpp's"),
            holds: ratio <= ALLOWED,
        });
    }
    Ok(rows)
}

/// For each row, whether the largest value stands at the same place.
fn same_top(p: &[f32], q: &[f32], width: usize) -> Vec<bool> {
    let pairs = p.chunks_exact(width).zip(q.chunks_exact(width));
    pairs.map(|(p, q)| largest(p) == largest(q)).collect()
}

/// Where exactly one of the two is right, two tokens are nearly equal and either side wins by
/// chance: ours may lose by two standard deviations of that (McNemar's test).
fn not_worse(ours: &[bool], theirs: &[bool]) -> bool {
    let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as f64;
    let (won, lost) = (only(ours, theirs), only(theirs, ours));
    lost - won <= 2.0 * (won + lost).sqrt()
}

fn largest(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)))
}

/// Mean over the rows of KL(softmax(p) || softmax(q)), in nats.
fn mean_kl(p: &[f32], q: &[f32], width: usize) -> f64 {
    let rows = p.len() / width;
    let pairs = p.chunks_exact(width).zip(q.chunks_exact(width));
    pairs.map(|(p, q)| kl(p, q)).sum::<f64>() / rows as f64
}

fn kl(p: &[f32], q: &[f32]) -> f64 {
    let (norm_p, norm_q) = (log_sum_exp(p), log_sum_exp(q));
    let term = |(&p, &q): (&f32, &f32)| {
        let (log_p, log_q) = (f64::from(p) - norm_p, f64::from(q) - norm_q);
        log_p.exp() * (log_p - log_q)
    };
    p.iter().zip(q).map(term).sum()
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_known_distributions() {
        assert!(kl(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0]).abs() < 1e-12);
        let halves = [0.5_f32.ln(), 0.5_f32.ln()];
        let skewed = [0.25_f32.ln(), 0.75_f32.ln()];
        let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
        assert!((mean_kl(&halves, &skewed, 2) - expected).abs() < 1e-6);
        assert_eq!(same_top(&[1.0, 2.0, 3.0, 3.0], &[0.0, 9.0, 1.0, 4.0], 2), [true, false]);
        let rows = |right: usize| (0..20).map(|row| row < right).collect::<Vec<_>>();
        assert!(not_worse(&rows(9), &rows(8)) && not_worse(&rows(8), &rows(10)));
        assert!(!not_worse(&rows(8), &rows(14)));
    }
}
