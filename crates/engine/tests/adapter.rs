//! Adapters beside a model: what they give is what the merged model gives; each request goes through
//! its own and no other; and what is no adapter of the model is refused.

mod adapter_support;
mod tiny;

use adapter_support::{Deltas, peft};
use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{
    AdapterFile, AdapterPart, AdapterUse, Event, Failure, Generate, Job, KvKind, LoadOptions,
    Prompt,
};
use hearth_engine::worker::Host;
use hearth_kernels::quant::TensorType;
use serde_json::Value;
use std::slice::from_ref;
use tiny::{Shape, VOCAB};

const SEED: u64 = 20_261_121;

fn engine(file: Vec<u8>) -> Engine {
    let options = LoadOptions { kv: KvKind::F32, ..LoadOptions::default() };
    let gguf = Gguf::from_vec(file).expect("our file");
    Engine::load(gguf, &options, 2, "2026-11-21", &mut |_, _| ()).expect("a model")
}

fn tokens() -> Vec<u32> {
    (0..70).map(|at| at * 37 % VOCAB as u32).collect()
}

fn one(engine: &mut Engine, part: AdapterPart) -> Result<(), Failure> {
    let stats = engine.handle(1, Job::Adapter(part), &mut |event| panic!("{event:?}"));
    stats.map(|stats| assert!(stats.is_some(), "at once"))
}

fn give(engine: &mut Engine, name: &str, files: &[(AdapterFile, &[u8])]) -> Result<(), Failure> {
    let lengths = files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect();
    one(engine, AdapterPart::Begin { name: name.to_owned(), files: lengths })?;
    let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| *bytes).copied().collect();
    for bytes in all.chunks(10_000) {
        one(engine, AdapterPart::Piece { bytes: bytes.to_vec() })?;
    }
    one(engine, AdapterPart::End)
}

fn with(name: &str, strength: f32) -> AdapterUse {
    AdapterUse { name: name.to_owned(), strength }
}

fn logits(engine: &mut Engine, adapters: &[AdapterUse]) -> Vec<f32> {
    let mut all = Vec::new();
    let job = Job::Logits { tokens: tokens(), adapters: adapters.to_vec() };
    let result = engine.handle(2, job, &mut |event| match event {
        Event::Logits { values, .. } => all.extend(values),
        event => panic!("{event:?}"),
    });
    result.expect("logits");
    all
}

fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(a - b))).sum();
    error / expected.iter().map(|b| square(f64::from(*b))).sum::<f64>()
}

const SHAPES: [Shape; 7] = [
    Shape::Llama,
    Shape::Gemma3,
    Shape::Gemma3n,
    Shape::Gemma4,
    Shape::Olmo2,
    Shape::Phi3,
    Shape::Qwen3,
];

#[test]
fn an_adapter_gives_what_the_merged_model_gives() {
    for shape in SHAPES {
        let base = tiny::model(shape, TensorType::F32, SEED);
        let deltas = Deltas::new(&base, 8, 16.0, 1);
        let merged = logits(&mut engine(deltas.merged(&base, 0.7)), &[]);
        let mut engine = engine(base);
        give(&mut engine, "a", &[(AdapterFile::Gguf, &deltas.gguf())]).expect("an adapter");
        let plain = logits(&mut engine, &[]);
        let found = logits(&mut engine, &[with("a", 0.7)]);
        let error = nmse(&found, &merged);
        println!("{shape:?}: {error:.1e}, without it {:.1e}", nmse(&plain, &merged));
        assert!(error <= 1e-6, "{shape:?}: {error:.1e}");
        assert!(nmse(&plain, &merged) > 1e-2, "{shape:?}: the adapter changes little");
        assert!(logits(&mut engine, &[with("a", 0.0)]) == plain, "{shape:?}: strength 0");
        assert!(logits(&mut engine, &[]) == plain, "{shape:?}: nothing stays behind");
    }
}

#[test]
fn beside_a_quantised_model_it_stays_near_exact_arithmetic() {
    for (shape, ty) in [
        (Shape::Llama, TensorType::Q4_K),
        (Shape::Llama, TensorType::Q8_0),
        (Shape::Gemma3, TensorType::Q4_K),
        (Shape::Phi3, TensorType::Q8_0),
    ] {
        let base = tiny::model(shape, ty, SEED);
        let deltas = Deltas::new(&base, 4, 4.0, 2);
        // What the model's numbers are, in 32 bits, with the difference added.
        let exact = logits(&mut engine(deltas.merged(&base, 1.0)), &[]);
        let mut engine = engine(base);
        give(&mut engine, "a", &[(AdapterFile::Gguf, &deltas.gguf())]).expect("an adapter");
        let error = nmse(&logits(&mut engine, &[with("a", 1.0)]), &exact);
        println!("{shape:?} {ty}: {error:.1e}");
        assert!(error <= 2e-3, "{shape:?} {ty}: {error:.1e}");
    }
}

#[test]
fn several_add_up() {
    let base = tiny::model(Shape::Llama, TensorType::F32, SEED);
    let (a, b) = (Deltas::new(&base, 8, 16.0, 1), Deltas::new(&base, 3, 0.0, 2));
    let merged = logits(&mut engine(b.merged(&a.merged(&base, 0.5), -1.5)), &[]);
    let mut engine = engine(base);
    give(&mut engine, "a", &[(AdapterFile::Gguf, &a.gguf())]).expect("an adapter");
    give(&mut engine, "b", &[(AdapterFile::Gguf, &b.gguf())]).expect("another");
    let found = logits(&mut engine, &[with("b", -1.5), with("a", 0.5)]);
    assert!(nmse(&found, &merged) <= 1e-6, "{:.1e}", nmse(&found, &merged));
}

#[test]
fn a_folder_of_peft_is_the_same_adapter() {
    for shape in [Shape::Llama, Shape::Qwen3, Shape::Phi3] {
        let base = tiny::model(shape, TensorType::F32, SEED);
        let deltas = Deltas::new(&base, 8, 16.0, 1);
        let mut engine = engine(base);
        give(&mut engine, "gguf", &[(AdapterFile::Gguf, &deltas.gguf())]).expect("an adapter");
        let (config, weights) = peft(&deltas, shape);
        let files =
            [(AdapterFile::PeftConfig, &config[..]), (AdapterFile::PeftWeights, &weights[..])];
        give(&mut engine, "peft", &files).expect("an adapter");
        let expected = logits(&mut engine, &[with("gguf", 1.0)]);
        assert!(logits(&mut engine, &[with("peft", 1.0)]) == expected, "{shape:?}");
    }
}

#[test]
fn logits_are_llama_cpps() {
    let golden = include_str!("../../../testdata/golden/adapter-llama-f32.json");
    let golden: Value = serde_json::from_str(golden).expect("a golden");
    let base = tiny::model(Shape::Llama, TensorType::F32, SEED);
    let deltas = Deltas::new(&base, 8, 16.0, 1);
    let mut engine = engine(base);
    give(&mut engine, "a", &[(AdapterFile::Gguf, &deltas.gguf())]).expect("an adapter");
    let found = logits(&mut engine, &[with("a", 0.7)]);
    for row in golden["rows"].as_array().expect("rows") {
        let after = row["after"].as_u64().expect("an index") as usize;
        let numbers = row["logits"].as_array().expect("logits");
        let expected: Vec<f32> =
            numbers.iter().map(|x| x.as_f64().expect("a number") as f32).collect();
        let error = nmse(&found[after * VOCAB..][..VOCAB], &expected);
        assert!(error <= 1e-9, "after {after}: {error:.1e}");
    }
}

/// Requests of one prompt through other adapters, all at once: their tokens with the bits of their
/// log-probabilities.
fn answers(engine: &mut Engine, uses: &[Vec<AdapterUse>]) -> Vec<Vec<(u32, u32)>> {
    let mut all = vec![Vec::new(); uses.len()];
    let mut take = |event| match event {
        Event::Text { id, logprobs, .. } => all[id as usize]
            .extend(logprobs.iter().map(|place| (place.token, place.logprob.to_bits()))),
        Event::Failed { failure, .. } => panic!("{failure:?}"),
        _ => {}
    };
    for (id, adapters) in uses.iter().enumerate() {
        let job = Generate {
            top_logprobs: Some(1),
            loop_detector: false,
            adapters: adapters.clone(),
            ..Generate::new(Prompt::Tokens(tokens()), 12)
        };
        engine.handle(id as u64, Job::Generate(Box::new(job)), &mut take).expect("taken in");
    }
    while !engine.running().is_empty() {
        engine.turn(&mut take);
    }
    all
}

#[test]
fn every_request_goes_through_its_own() {
    let base = tiny::model(Shape::Llama, TensorType::Q4_K, SEED);
    let files: Vec<Vec<u8>> =
        (1..=2).map(|seed| Deltas::new(&base, 8, 16.0, seed).gguf()).collect();
    let fresh = || {
        let mut engine = engine(base.clone());
        give(&mut engine, "a", &[(AdapterFile::Gguf, &files[0])]).expect("an adapter");
        give(&mut engine, "b", &[(AdapterFile::Gguf, &files[1])]).expect("another");
        engine
    };
    let uses = [
        vec![],
        vec![with("a", 1.0)],
        vec![with("b", 1.0)],
        vec![with("a", 0.5)],
        vec![with("a", 1.0), with("b", 1.0)],
    ];
    let alone: Vec<_> =
        uses.iter().map(|one| answers(&mut fresh(), from_ref(one)).remove(0)).collect();
    for (at, answer) in alone.iter().enumerate() {
        assert_eq!(answer.len(), 12);
        assert!(alone[..at].iter().all(|other| other != answer), "{:?}", uses[at]);
    }
    let mut engine = fresh();
    assert!(answers(&mut engine, &uses) == alone, "together");
    // Now what each computed is kept, and none takes another's.
    for (one, alone) in uses.iter().zip(&alone) {
        assert!(answers(&mut engine, from_ref(one))[0] == *alone, "again: {one:?}");
    }
    // An adapter that takes the place of another of its name brings its own numbers.
    give(&mut engine, "a", &[(AdapterFile::Gguf, &files[1])]).expect("an adapter");
    assert!(answers(&mut engine, &[uses[1].clone()])[0] == alone[2], "replaced");
}

fn refused(engine: &mut Engine, files: &[(AdapterFile, &[u8])], expected: &str) {
    let error = give(engine, "x", files).expect_err(expected).message;
    assert!(error.contains(expected), "{expected:?} in {error:?}");
    let error = engine
        .handle(3, Job::Logits { tokens: vec![1], adapters: vec![with("x", 1.0)] }, &mut |_| ())
        .expect_err("no adapter");
    assert!(error.message.contains("no adapter \"x\""), "{}", error.message);
}

#[test]
fn t6_what_is_no_adapter_of_the_model_is_refused() {
    let base = tiny::model(Shape::Llama, TensorType::F32, SEED);
    let deltas = Deltas::new(&base, 8, 16.0, 1);
    let other = tiny::model(Shape::Gemma3, TensorType::F32, SEED);
    let mut engine = engine(base.clone());
    let gguf = |file: &[u8], engine: &mut Engine, expected: &str| {
        refused(engine, &[(AdapterFile::Gguf, file)], expected);
    };
    gguf(&base, &mut engine, "`general.type` is");
    gguf(
        &Deltas::new(&other, 8, 16.0, 1).gguf(),
        &mut engine,
        "`general.architecture` is \"gemma3\"",
    );
    gguf(&deltas.gguf()[..999], &mut engine, "refused");
    gguf(&deltas.changed(|deltas| deltas.rank = 0), &mut engine, "refused");
    gguf(&deltas.changed(|deltas| deltas.pairs.clear()), &mut engine, "no difference");
    gguf(&deltas.changed(|deltas| deltas.pairs[0].a[5] = f32::NAN), &mut engine, "not finite");
    gguf(&deltas.changed(|deltas| deltas.alpha = f32::INFINITY), &mut engine, "not finite");
    let rename = |name: &str| deltas.changed(|deltas| deltas.pairs[0].name = name.to_owned());
    gguf(&rename("token_embd"), &mut engine, "`token_embd`");
    gguf(&rename("blk.99.attn_q"), &mut engine, "`blk.99.attn_q`");
    gguf(&rename("blk.01.attn_q"), &mut engine, "`blk.01.attn_q`");
    gguf(&rename("blk.0.attn_k"), &mut engine, "blk.0.attn_k");
    let narrow = deltas.changed(|deltas| {
        deltas.pairs[0].inputs /= 2;
        let half = deltas.pairs[0].a.len() / 2;
        deltas.pairs[0].a.truncate(half);
    });
    gguf(&narrow, &mut engine, "made for another model");
    let (config, weights) = peft(&deltas, Shape::Llama);
    let folder = |config: &[u8], weights: &[u8], engine: &mut Engine, expected: &str| {
        let files = [(AdapterFile::PeftConfig, config), (AdapterFile::PeftWeights, weights)];
        refused(engine, &files, expected);
    };
    let said = |from: &str, to: &str| {
        let text = String::from_utf8(config.clone()).expect("text");
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    };
    folder(&said("\"use_dora\":false", "\"use_dora\":true"), &weights, &mut engine, "use_dora");
    folder(&said("\"LORA\"", "\"IA3\""), &weights, &mut engine, "IA3");
    folder(&said("\"bias\":\"none\"", "\"bias\":\"all\""), &weights, &mut engine, "bias");
    for (key, value) in [
        ("alora_invocation_tokens", "[1,2]"),
        ("layer_replication", "[[0,1]]"),
        ("use_qalora", "true"),
        ("init_lora_weights", "\"pissa\""),
        ("modules_to_save", "[\"lm_head\"]"),
    ] {
        let config = said("{", &format!("{{\"{key}\":{value},"));
        folder(&config, &weights, &mut engine, key);
    }
    let patterns = said("{", "{\"alpha_pattern\":{\"q_proj\":1,\"self_attn.q_proj\":2},");
    folder(&patterns, &weights, &mut engine, "alpha_pattern");
    // Of another number of heads, which does not divide the rows.
    let mut other = deltas.clone();
    for pair in &mut other.pairs {
        pair.outputs = 18;
        pair.b.truncate(18 * other.rank);
    }
    folder(&config, &peft(&other, Shape::Qwen3).1, &mut engine, "made for another model");
    folder(&config[..9], &weights, &mut engine, "adapter_config.json");
    folder(&config, &weights[..weights.len() - 1], &mut engine, "adapter_model.safetensors");
    folder(&config, &[255; 64], &mut engine, "adapter_model.safetensors");
    folder(&config, &[], &mut engine, "adapter_model.safetensors");
    refused(&mut engine, &[], "other files");
    // The engine goes on, and takes a good one.
    give(&mut engine, "x", &[(AdapterFile::Gguf, &deltas.gguf())]).expect("an adapter");
    logits(&mut engine, &[with("x", 1.0)]);
}

#[test]
fn t10_parts_out_of_their_place_are_refused() {
    let base = tiny::model(Shape::Llama, TensorType::F32, SEED);
    let mut engine = engine(base);
    let begin = |bytes| AdapterPart::Begin {
        name: "x".to_owned(),
        files: vec![(AdapterFile::Gguf, bytes)],
    };
    let piece = |bytes| AdapterPart::Piece { bytes: vec![7; bytes] };
    let mut check = |parts: &[AdapterPart], expected: &str| {
        let (last, before) = parts.split_last().expect("a part");
        before.iter().for_each(|part| one(&mut engine, part.clone()).expect("a good part"));
        let error = one(&mut engine, last.clone()).expect_err(expected).message;
        assert!(error.contains(expected), "{expected:?} in {error:?}");
    };
    check(&[AdapterPart::End], "without its beginning");
    check(&[piece(1)], "without its beginning");
    check(&[begin(10), piece(4), AdapterPart::End], "after 4 of 10 bytes");
    check(&[begin(10), piece(4), piece(7)], "a piece of 7 bytes of an adapter that lacks 6");
    check(&[begin(10), piece(0)], "a piece of 0 bytes");
    check(&[begin(u64::MAX)], "more than");
    check(&[begin(10), piece(10), AdapterPart::End], "refused");
    let wrap = vec![(AdapterFile::Gguf, u64::MAX), (AdapterFile::Gguf, 2)];
    check(&[AdapterPart::Begin { name: "x".to_owned(), files: wrap }], "more than");
    let uses = vec![with("x", 1.0); 9];
    let job = Job::Logits { tokens: vec![1], adapters: uses };
    let error = engine.handle(3, job, &mut |_| ()).expect_err("too many");
    assert!(error.message.contains("at most 8"), "{}", error.message);
}
