//! A real encoder beside Hugging Face's library: the model of the catalogue, made of its makers'
//! folder, gives the rows that transformers gives (`xtask/oracle/sentence_rows.py`), and the same
//! bytes for a text in any company.

use super::Verdict;
use crate::cargo::{output, root};
use crate::fetch::ENCODER;
use crate::hearth::hearth;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Least cosine between a row and that of the library.
const LEAST: f64 = 0.9999;

/// Compares every text of the golden.
pub(super) fn run() -> Result<Verdict> {
    let golden = std::fs::read(root().join("testdata/golden/minilm-l6-v2.json"))?;
    let golden: Value = serde_json::from_slice(&golden)?;
    let texts = golden["texts"].as_array().context("the golden has no texts")?;
    let of = |text: &Value| text["text"].as_str().map(str::to_owned).context("no text");
    let inputs = texts.iter().map(of).collect::<Result<Vec<_>>>()?;
    let together = lines(&inputs)?;
    let mut least = f64::INFINITY;
    for (text, line) in texts.iter().zip(&together) {
        let cosine = cosine(&row(line)?, &numbers(&text["row"])?);
        least = least.min(cosine);
        ensure!(cosine >= LEAST, "cosine {cosine} for {}, expected {LEAST}", text["text"]);
    }
    println!("{ENCODER}: {} texts, least cosine {least:.9}", texts.len());
    let backwards: Vec<String> = inputs.iter().rev().cloned().collect();
    let mut found = lines(&backwards)?;
    found.reverse();
    ensure!(found == together, "{ENCODER}: rows depend on the order of the texts");
    for (input, line) in inputs.iter().zip(&together) {
        let alone = lines(std::slice::from_ref(input))?;
        ensure!(alone == [line.as_str()], "{ENCODER}: another row for {input:?} alone");
    }
    Ok(Verdict::Passed)
}

/// What `hearth embed` prints, a line for each text.
fn lines(texts: &[String]) -> Result<Vec<String>> {
    let printed = output(hearth(&["embed", ENCODER]).args(texts))?;
    let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    ensure!(lines.len() == texts.len(), "{} lines for {} texts", lines.len(), texts.len());
    Ok(lines)
}

fn row(line: &str) -> Result<Vec<f64>> {
    numbers(&serde_json::from_str(line)?)
}

fn numbers(list: &Value) -> Result<Vec<f64>> {
    let list = list.as_array().context("a row that is no list")?;
    list.iter()
        .map(|number| number.as_f64().context("a row of other things than numbers"))
        .collect()
}

/// Not a number, and so never enough, where the rows are of unequal length or one is of zeros.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match a.len() == b.len() {
        true => product(a, b) / (product(a, a) * product(b, b)).sqrt(),
        false => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_differ_are_far_apart() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), 0.0);
        assert!(cosine(&[1.0], &[1.0, 0.0]).is_nan());
        assert!(cosine(&[0.0], &[1.0]).is_nan());
    }
}
