//! Perplexity of a text, chunk by chunk as llama-perplexity does it, f32 cache on both sides.

use super::Bench;
use crate::cargo::line;
use crate::hearth::hearth;
use crate::record::Row;
use crate::{cargo, text};
use anyhow::{Context, Result, bail};

/// Bytes of text read: 60 kB, over 15,000 tokens.
const BYTES: usize = 60_000;

/// Allowed difference, as a share.
const ALLOWED: f64 = 0.005;

/// Compares both real models.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let path = bench.folder.join("beginning.txt");
    std::fs::write(&path, text::beginning(BYTES)?)?;
    let mut rows = Vec::new();
    for model in &bench.models {
        let mut command = hearth(&["perplexity", model.name, "--ctx", "512", "--json"]);
        let ours = cargo::output(command.arg("--file").arg(&path))?;
        let ours: serde_json::Value = serde_json::from_str(&ours).context("hearth perplexity")?;
        let ours = ours.get("ppl").and_then(serde_json::Value::as_f64).context("no `ppl`")?;
        let theirs = theirs(bench, model, &path)?;
        let difference = (ours / theirs - 1.0).abs();
        rows.push(Row {
            what: format!("perplexity, {}", model.name),
            figure: format!("{ours:.4} to {theirs:.4} ({:.3} %)", 100.0 * difference),
            target: format!("within {} %", 100.0 * ALLOWED),
            holds: difference <= ALLOWED,
        });
    }
    Ok(rows)
}

/// llama-perplexity's final estimate, which it prints on stderr.
fn theirs(bench: &Bench, model: &crate::hearth::Model, text: &std::path::Path) -> Result<f64> {
    let options = ["--ctx-size", "512", "-t", "2", "-ctk", "f32", "-ctv", "f32", "-fa", "off"];
    let mut command = bench.oracle.program("llama-perplexity", &options);
    command.arg("-m").arg(&model.path).arg("-f").arg(text);
    let done = command.output().with_context(|| line(&command))?;
    let printed =
        [done.stdout, done.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
    match printed.split("Final estimate: PPL = ").nth(1).and_then(|tail| tail.split(' ').next()) {
        Some(figure) => figure.parse().with_context(|| format!("`{figure}` is no number")),
        None => bail!("{} printed no final estimate", line(&command)),
    }
}
