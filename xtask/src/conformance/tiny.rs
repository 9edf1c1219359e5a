//! Logits on tiny random models that llama.cpp itself writes: every optional tensor of an
//! architecture (biases, scales, rope factors, windows) is there with random values, in four weight
//! types.

use super::Bench;
use super::logits::{QUANTISED, nmse_of};
use crate::cargo::output;
use crate::record::Row;
use anyhow::Result;
use std::path::PathBuf;

/// Architectures, as llama.cpp names them and says whether they have experts. It writes no models
/// of Gemma 3n and 4; goldens of our own tiny models stand for them.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("gemma2", "dense"),
    ("gemma3", "dense"),
    ("granite", "dense"),
    ("granite", "moe"),
    ("granitemoe", "dense"),
    ("granitemoe", "moe"),
    ("lfm2", "dense"),
    ("llama", "dense"),
    ("llama", "moe"),
    ("llama4", "moe"),
    ("mistral3", "dense"),
    ("mistral3", "moe"),
    ("olmo2", "dense"),
    ("phi3", "dense"),
    ("qwen2", "dense"),
    ("qwen2moe", "moe"),
    ("qwen3", "dense"),
    ("qwen3moe", "moe"),
    ("smollm3", "dense"),
];
const SEEDS: &[u32] = &[1, 2, 3];

/// Weight types, and the NMSE allowed.
const TYPES: &[(&str, f64)] =
    &[("F32", 1e-5), ("F16", 1e-5), ("Q8_0", QUANTISED), ("Q4_K", QUANTISED)];

/// The models' vocabulary, and the lengths of prompts: from one token to three windows.
const VOCABULARY: u32 = 128;
const LENGTHS: &[u32] = &[1, 33, 100];

/// Compares every architecture in every type; a row holds the worst seed.
pub(super) fn compare(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &(architecture, parts) in ARCHITECTURES {
        for &(kind, allowed) in TYPES {
            let what = format!("logits NMSE, tiny random {architecture} ({parts}) {kind}");
            let model = |seed| model(bench, (architecture, parts), seed, kind);
            rows.push(match worst(bench, model) {
                Ok(nmse) => Row::at_most(what, nmse, allowed),
                Err(error) => Row::failed(what, &error),
            });
        }
    }
    Ok(rows)
}

/// The largest NMSE of the models of all seeds, on prompts of all lengths.
pub(super) fn worst(bench: &Bench, model: impl Fn(u32) -> Result<PathBuf>) -> Result<f64> {
    let mut worst = 0.0_f64;
    for &seed in SEEDS {
        let model = model(seed)?;
        for &length in LENGTHS {
            let token = |at| (at * 37 + seed * 11) % VOCABULARY;
            let tokens: Vec<u32> = (0..length).map(token).collect();
            worst = worst.max(nmse_of(bench, &model, &tokens)?);
        }
    }
    Ok(worst)
}

/// Lets llama.cpp write the model and quantise it.
pub(super) fn model(
    bench: &Bench,
    (architecture, parts): (&str, &str),
    seed: u32,
    kind: &str,
) -> Result<PathBuf> {
    let folder = bench.folder.join(format!("tiny-{seed}"));
    std::fs::create_dir_all(&folder)?;
    let full = folder.join(format!("{architecture}-{parts}.gguf"));
    let seed = seed.to_string();
    let write = ["-a", architecture, "-s", &seed, "-o"];
    output(bench.oracle.program("test-llama-archs", &write).arg(&folder))?;
    if kind == "F32" {
        return Ok(full);
    }
    let path = folder.join(format!("{architecture}-{parts}-{kind}.gguf"));
    output(bench.oracle.program("llama-quantize", &[]).arg(&full).arg(&path).arg(kind))?;
    Ok(path)
}
