//! How far the default path strays from exact arithmetic: KL divergence from the plain f32 forward,
//! ours beside llama.cpp's, and how often the likeliest token is the same. Both round activations
//! and cache; we must not lose more than they do.

use super::Bench;
use super::logits::{ours, prompt, reference, theirs};
use crate::hearth::Model;
use crate::record::Row;
use anyhow::{Result, ensure};

/// Tokens compared: the reference is slow, but the likeliest of a few hundred differ by chance.
const TOKENS: usize = 1024;

/// Our divergence may be this many times llama.cpp's.
const ALLOWED: f64 = 1.05;

/// How far two programs stray from exact arithmetic on one model: ours, then llama.cpp.
struct Strayed {
    model: &'static str,
    kl: [f64; 2],
    /// Places whose likeliest token is that of exact arithmetic.
    same: [usize; 2],
}

/// Compares the divergence on both real models.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    Ok(measure(bench)?.iter().map(Strayed::divergence).collect())
}

/// As [`compare`], with the likeliest tokens.
pub(super) fn quality(bench: &Bench) -> Result<Vec<Row>> {
    let both = |model: &Strayed| [model.divergence(), model.agreement()];
    Ok(measure(bench)?.iter().flat_map(both).collect())
}

fn measure(bench: &Bench) -> Result<Vec<Strayed>> {
    let of = |model: &Model| {
        let tokens = prompt(model.name, TOKENS)?;
        let exact = reference(&model.path, &tokens)?;
        let width = exact.len() / tokens.len();
        let ours = ours(bench, &model.path, &tokens, &["--kv", "f16"])?;
        let theirs = theirs(bench, &model.path, &tokens, &["--kv", "f16", "--flash"])?;
        ensure!(ours.len() == exact.len() && theirs.len() == exact.len(), "unequal logits");
        Ok(Strayed {
            model: model.name,
            kl: [&ours, &theirs].map(|logits| mean_kl(&exact, logits, width)),
            same: [&ours, &theirs].map(|logits| agreement(&exact, logits, width)),
        })
    };
    bench.models.iter().map(of).collect()
}

impl Strayed {
    fn divergence(&self) -> Row {
        let [ours, theirs] = self.kl;
        let ratio = ours / theirs;
        Row {
            what: format!("KL from the f32 reference, {}", self.model),
            figure: format!("{ours:.3e} to {theirs:.3e} ({ratio:.3})"),
            target: format!("<= {ALLOWED} x llama.cpp's"),
            holds: ratio <= ALLOWED,
        }
    }

    fn agreement(&self) -> Row {
        let [ours, theirs] = self.same;
        Row {
            what: format!("likeliest token as in f32, {}", self.model),
            figure: format!("{ours} to {theirs} of {TOKENS}"),
            target: "no fewer than llama.cpp".to_owned(),
            holds: ours >= theirs,
        }
    }
}

/// Rows whose largest value stands at the same place.
fn agreement(p: &[f32], q: &[f32], width: usize) -> usize {
    let pairs = p.chunks_exact(width).zip(q.chunks_exact(width));
    pairs.filter(|(p, q)| largest(p) == largest(q)).count()
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
        assert_eq!(agreement(&[1.0, 2.0, 3.0, 3.0], &[0.0, 9.0, 1.0, 4.0], 2), 1);
    }
}
