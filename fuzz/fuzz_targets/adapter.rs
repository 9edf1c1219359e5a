//! Any bytes as an adapter for a tiny model: ready or refused, and an engine that goes on.
//!
//! An input that begins with `GGUF` is one file; any other is the two files of a folder of the PEFT
//! library, separated by the first byte 0x1e.
#![no_main]

use std::cell::RefCell;

use hearth_engine::gguf::Gguf;
use hearth_engine::gguf::write::Writer;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{AdapterFile, AdapterPart, AdapterUse, Job, LoadOptions};
use hearth_engine::worker::Host;
use hearth_kernels::quant::TensorType;
use libfuzzer_sys::fuzz_target;

/// Width of everything.
const WIDTH: usize = 32;
const VOCAB: usize = 8;

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(engine());
}

fuzz_target!(|bytes: &[u8]| {
    let (config, weights) = match bytes.iter().position(|byte| *byte == 0x1e) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let files = match bytes.starts_with(b"GGUF") {
        true => vec![(AdapterFile::Gguf, bytes)],
        false => vec![(AdapterFile::PeftConfig, config), (AdapterFile::PeftWeights, weights)],
    };
    ENGINE.with_borrow_mut(|engine| {
        if give(engine, &files).is_some() {
            let adapters = vec![AdapterUse { name: "x".to_owned(), strength: 1.0 }];
            let job = Job::Logits { tokens: vec![1, 2], adapters };
            engine.handle(2, job, &mut |_| ()).expect("logits");
        }
    });
});

fn give(engine: &mut Engine, files: &[(AdapterFile, &[u8])]) -> Option<()> {
    let mut one = |part| engine.handle(1, Job::Adapter(part), &mut |_| ()).ok();
    let lengths = files.iter().map(|(file, bytes)| (*file, bytes.len() as u64)).collect();
    one(AdapterPart::Begin { name: "x".to_owned(), files: lengths })?;
    for (_, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        one(AdapterPart::Piece { bytes: bytes.to_vec() })?;
    }
    one(AdapterPart::End).map(|_| ())
}

/// A model of one layer.
fn engine() -> Engine {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").set("tokenizer.ggml.model", "none");
    for (key, count) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", WIDTH),
        ("feed_forward_length", WIDTH),
        ("attention.head_count", 4),
    ] {
        writer.set(&format!("llama.{key}"), count as u32);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let norms = ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"];
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let mut tensors = vec![("token_embd".to_owned(), vec![WIDTH, VOCAB])];
    tensors.extend(norms.map(|name| (name.to_owned(), vec![WIDTH])));
    tensors.extend(parts.map(|part| (format!("blk.0.{part}"), vec![WIDTH, WIDTH])));
    let mut data = Vec::new();
    for (name, dims) in &tensors {
        writer.tensor(&format!("{name}.weight"), TensorType::F32, dims).expect("a shape");
        let count: usize = dims.iter().product();
        let value = |at: usize| ((at * 7 % 13) as f32 - 6.0) / 16.0;
        data.push((0..count).flat_map(|at| value(at).to_le_bytes()).collect::<Vec<u8>>());
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let gguf = Gguf::from_vec(writer.to_vec(&data).expect("a file")).expect("our own");
    let options = LoadOptions::default();
    Engine::load(gguf, &options, 1, "2026-11-22", &mut |_, _| ()).expect("a model")
}
