//! Logits after every token of a prompt, f32 cache on both sides, on the real models.
//!
//! The measure is the squared error over the squared size of llama.cpp's logits (NMSE). With
//! quantised weights both programs round activations, each its own way. Where llama.cpp alone
//! strays from exact arithmetic by more than the target, no exact engine could meet it: there it
//! must be enough to stand nearer to the plain f32 forward than llama.cpp does. The figure says so.

use super::Bench;
use crate::hearth::{hearth, read_f32};
use crate::record::Row;
use crate::{cargo, text};
use anyhow::{Context, Result, ensure};
use hearth_engine::arch::Config;
use hearth_engine::gguf::Gguf;
use std::fs::File;
use std::path::Path;

/// Tokens compared on a real model: enough for several cache blocks and an uneven last one.
const TOKENS: usize = 200;

/// Allowed for quantised weights, where the two programs round activations differently.
pub(super) const QUANTISED: f64 = 2e-3;

/// Compares both real models.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for model in &bench.models {
        let tokens = prompt(model.name, TOKENS)?;
        let ours = ours(bench, &model.path, &tokens, &[])?;
        let theirs = theirs(bench, &model.path, &tokens, &[])?;
        let exact = reference(&model.path, &tokens)?;
        ensure!(ours.len() == theirs.len() && exact.len() == theirs.len(), "unequal logits");
        let apart = nmse(&ours, &theirs);
        let (ours, theirs) = (nmse(&ours, &exact), nmse(&theirs, &exact));
        rows.push(Row {
            what: format!("logits NMSE, {}", model.name),
            figure: format!("{apart:.2e} (from f32: ours {ours:.2e}, llama.cpp {theirs:.2e})"),
            target: format!("<= {QUANTISED:e}, or nearer to f32 where llama.cpp is not"),
            holds: apart <= QUANTISED || (theirs > QUANTISED && ours < theirs),
        });
    }
    Ok(rows)
}

/// Logits of the plain forward pass, computed in this process and without a seal.
pub(super) fn reference(model: &Path, tokens: &[u32]) -> Result<Vec<f32>> {
    let gguf = Gguf::open(vec![File::open(model)?])?;
    Ok(hearth_engine::reference::logits(&gguf, &Config::read(gguf.meta())?, tokens)?)
}

/// The first tokens of the text, as our tokenizer reads it.
pub(super) fn prompt(model: &str, count: usize) -> Result<Vec<u32>> {
    let mut tokens = super::tokens::ours(model, &text::beginning(count * 8)?, false)?;
    ensure!(tokens.len() >= count, "{model} reads only {} tokens", tokens.len());
    tokens.truncate(count);
    Ok(tokens)
}

/// NMSE of our logits against llama.cpp's, on one file.
pub(super) fn nmse_of(bench: &Bench, model: &Path, tokens: &[u32]) -> Result<f64> {
    let ours = ours(bench, model, tokens, &[])?;
    let theirs = theirs(bench, model, tokens, &[])?;
    ensure!(ours.len() == theirs.len(), "{} logits, expected {}", ours.len(), theirs.len());
    Ok(nmse(&ours, &theirs))
}

/// Our logits, row-major `[tokens, vocabulary]`.
pub(super) fn ours(bench: &Bench, model: &Path, tokens: &[u32], more: &[&str]) -> Result<Vec<f32>> {
    let out = bench.folder.join("ours.f32");
    let mut command = hearth(&["logits"]);
    command.arg(model).arg("--tokens").arg(list(tokens)).arg("--out").arg(&out).args(more);
    cargo::output(&mut command)?;
    read_f32(&out)
}

/// llama.cpp's logits in the same order.
pub(super) fn theirs(
    bench: &Bench,
    model: &Path,
    tokens: &[u32],
    more: &[&str],
) -> Result<Vec<f32>> {
    let out = bench.folder.join("theirs.f32");
    let mut command = bench.oracle.script("logits.py");
    command.arg(model).arg("--tokens").arg(list(tokens)).arg("--out").arg(&out).args(more);
    cargo::output(&mut command).context("llama.cpp's logits")?;
    read_f32(&out)
}

/// Squared error over the squared size of the reference; not a number counts as infinitely wrong.
pub(super) fn nmse(ours: &[f32], theirs: &[f32]) -> f64 {
    let mut error = 0.0;
    let mut size = 0.0;
    for (&ours, &theirs) in ours.iter().zip(theirs) {
        error += (f64::from(ours) - f64::from(theirs)).powi(2);
        size += f64::from(theirs).powi(2);
    }
    let nmse = error / size;
    if nmse.is_finite() { nmse } else { f64::INFINITY }
}

/// Ids as commands take them.
pub(super) fn list(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nmse_is_relative_and_never_lost() {
        assert_eq!(nmse(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(nmse(&[2.0, 0.0], &[1.0, 0.0]), 1.0);
        assert_eq!(nmse(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(nmse(&[0.0], &[0.0]), f64::INFINITY);
    }
}
