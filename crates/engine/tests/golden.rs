//! Our logits beside llama.cpp's, on tiny models that both read: a golden is a seed, our writer and
//! a few rows of the other program's logits. How they are made: `CONTRIBUTING.md`.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::arch::Config;
use hearth_engine::gguf::Gguf;
use hearth_engine::model::Model;
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::reference;
use hearth_engine::session::Session;
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tiny::{Shape, VOCAB};

/// Each golden, its model, and how far we may be from it.
const GOLDENS: &[(&str, Shape, TensorType, f64)] = &[
    (include_str!("../../../testdata/golden/llama-f32.json"), Shape::Llama, TensorType::F32, 1e-5),
    (include_str!("../../../testdata/golden/llama-f16.json"), Shape::Llama, TensorType::F16, 1e-5),
    (
        include_str!("../../../testdata/golden/llama-q8_0.json"),
        Shape::Llama,
        TensorType::Q8_0,
        2e-3,
    ),
    (
        include_str!("../../../testdata/golden/llama-q4_k.json"),
        Shape::Llama,
        TensorType::Q4_K,
        2e-3,
    ),
    (
        include_str!("../../../testdata/golden/gemma3-f32.json"),
        Shape::Gemma3,
        TensorType::F32,
        1e-5,
    ),
    (
        include_str!("../../../testdata/golden/gemma3-f16.json"),
        Shape::Gemma3,
        TensorType::F16,
        1e-5,
    ),
    (
        include_str!("../../../testdata/golden/gemma3-q8_0.json"),
        Shape::Gemma3,
        TensorType::Q8_0,
        2e-3,
    ),
    (
        include_str!("../../../testdata/golden/gemma3-q4_k.json"),
        Shape::Gemma3,
        TensorType::Q4_K,
        2e-3,
    ),
];

/// Seed of the models behind the goldens.
const SEED: u64 = 20_261_121;

/// Normalised mean squared error of `found` against `expected`.
fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(a - b))).sum();
    error / expected.iter().map(|b| square(f64::from(*b))).sum::<f64>()
}

#[test]
fn logits_are_llama_cpps() {
    for (golden, shape, ty, limit) in GOLDENS {
        let golden: Value = serde_json::from_str(golden).expect("a golden");
        let file = tiny::model(*shape, *ty, SEED);
        let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            golden["model_sha256"], hash,
            "{shape:?} {ty}: the writer changed, not the arithmetic"
        );
        let tokens: Vec<u32> = numbers(&golden["tokens"]).map(|token| token as u32).collect();
        let gguf = Gguf::from_vec(file).expect("our own file");
        let (fast, unpacked) = (logits(&gguf, &tokens, true), logits(&gguf, &tokens, false));
        let config = Config::read(gguf.meta()).expect("a configuration");
        let plain = reference::logits(&gguf, &config, &tokens).expect("all tensors");
        for row in golden["rows"].as_array().expect("rows") {
            let after = row["after"].as_u64().expect("an index") as usize;
            let expected: Vec<f32> = numbers(&row["logits"]).map(|logit| logit as f32).collect();
            for (what, found) in [("fast", &fast), ("unpacked", &unpacked), ("reference", &plain)] {
                let error = nmse(&found[after * VOCAB..][..VOCAB], &expected);
                println!("{shape:?} {ty} after {after}, {what}: {error:.1e}");
                assert!(
                    error <= *limit,
                    "{shape:?} {ty} after token {after}, {what}: NMSE {error:.1e}"
                );
            }
        }
    }
}

/// The fast path's logits, with weights packed for it or as the file has them.
fn logits(gguf: &Gguf, tokens: &[u32], repack: bool) -> Vec<f32> {
    let options = LoadOptions { repack, ..LoadOptions::default() };
    let never = AtomicBool::new(false);
    let model = Model::load(gguf, &options, Pool::new(2), &never, &mut |_, _| ()).expect("a model");
    let (mut session, mut all) = (Session::new(&model, KvKind::F32), Vec::new());
    let mut take = |rows: &[f32]| all.extend_from_slice(rows);
    session.all_logits(&model, tokens, 512, &mut take).expect("not stopped");
    all
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number"))
}
