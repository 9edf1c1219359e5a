//! Our logits beside llama.cpp's, on tiny models that both read: a golden is a seed, our writer and
//! a few rows of the other program's logits. How they are made: `CONTRIBUTING.md`.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::arch::{Config, Temperature, Window};
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

/// The goldens of a shape: the file's name is `NAME-TYPE.json`.
macro_rules! goldens {
    ($($name:literal $shape:ident: $($ty:ident $file:literal)*;)*) => {
        &[$($((
            include_str!(concat!("../../../testdata/golden/", $name, "-", $file, ".json")),
            Shape::$shape,
            TensorType::$ty,
        ),)*)*]
    };
}

/// Each golden, and its model.
const GOLDENS: &[(&str, Shape, TensorType)] = goldens! {
    "gemma2" Gemma2: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "gemma3" Gemma3: F32 "f32" F16 "f16" Q8_0 "q8_0" Q4_K "q4_k";
    "gemma3n" Gemma3n: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "gemma4" Gemma4: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "gemma4-moe" Gemma4Moe: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "granite" Granite: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "lfm2" Lfm2: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "llama" Llama: F32 "f32" F16 "f16" Q8_0 "q8_0" Q4_K "q4_k";
    "llama4" Llama4: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "mistral3" Mistral3: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "mixtral" Mixtral: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "olmo2" Olmo2: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "olmo3" Olmo3: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "phi3" Phi3: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "qwen2" Qwen2: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "qwen2moe" Qwen2Moe: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "qwen3" Qwen3: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "qwen3moe" Qwen3Moe: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
    "smollm3" SmolLm3: F32 "f32" Q8_0 "q8_0" Q4_K "q4_k";
};

/// How far from the other program's logits ours may be.
fn limit(ty: TensorType) -> f64 {
    match ty {
        TensorType::F32 | TensorType::F16 => 1e-5,
        _ => 2e-3,
    }
}

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
    for (golden, shape, ty) in GOLDENS {
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
        let rows = golden["rows"].as_array().expect("rows");
        let expected: Vec<f32> =
            rows.iter().flat_map(|row| numbers(&row["logits"])).map(|logit| logit as f32).collect();
        for (what, all) in [("fast", &fast), ("unpacked", &unpacked), ("reference", &plain)] {
            let after = |row: &Value| row["after"].as_u64().expect("an index") as usize;
            let rows = rows.iter().flat_map(|row| &all[after(row) * VOCAB..][..VOCAB]);
            let found: Vec<f32> = rows.copied().collect();
            let error = nmse(&found, &expected);
            println!("{shape:?} {ty}, {what}: {error:.1e}");
            assert!(error <= limit(*ty), "{shape:?} {ty}, {what}: NMSE {error:.1e}");
        }
    }
}

/// Llama 4 cuts at 8,192 tokens, which no golden reaches: both paths with shorter chunks.
#[test]
fn chunks_and_growth_are_those_of_the_reference() {
    let gguf = Gguf::from_vec(tiny::model(Shape::Llama4, TensorType::F32, SEED)).expect("ours");
    let tokens: Vec<u32> = (0..90).map(|at| at * 37 % VOCAB as u32).collect();
    let whole = logits(&gguf, &tokens, true);
    let shorten = |config: &mut Config| {
        config.window = Some(Window::Chunk(24));
        config.temperature = config.temperature.map(|t| Temperature { interval: 16, ..t });
    };
    let mut model = load(&gguf, true);
    shorten(&mut model.config);
    let found = run(&model, &tokens);
    let mut config = Config::read(gguf.meta()).expect("a configuration");
    shorten(&mut config);
    let expected = reference::logits(&gguf, &config, &tokens).expect("all tensors");
    assert!(nmse(&found, &expected) < 1e-9, "{:.1e}", nmse(&found, &expected));
    assert!(nmse(&found, &whole) > 1e-3, "the chunks change nothing");
    // Until the first step and the end of the first chunk, nothing differs.
    assert_eq!(found[..15 * VOCAB], whole[..15 * VOCAB]);
    assert_ne!(found[15 * VOCAB..16 * VOCAB], whole[15 * VOCAB..16 * VOCAB]);
}

/// The fast path's logits, with weights packed for it or as the file has them.
fn logits(gguf: &Gguf, tokens: &[u32], repack: bool) -> Vec<f32> {
    run(&load(gguf, repack), tokens)
}

fn load(gguf: &Gguf, repack: bool) -> Model {
    let options = LoadOptions { repack, ..LoadOptions::default() };
    let never = AtomicBool::new(false);
    Model::load(gguf, &options, Pool::new(2), &never, &mut |_, _| ()).expect("a model")
}

fn run(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let (mut session, mut all) = (Session::new(model, KvKind::F32), Vec::new());
    let mut take = |rows: &[f32]| all.extend_from_slice(rows);
    session.all_logits(model, tokens, 512, &mut take).expect("not stopped");
    all
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number"))
}
