//! A model small enough for a test, with a real tokenizer: every byte is a token, the weights are
//! random from a fixed seed. What it says is noise, and the same noise every time.

use std::path::{Path, PathBuf};

use hearth_engine::gguf::Value;
use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::TensorType;

const EMBD: usize = 64;
const HEADS: usize = 2;
const HEADS_KV: usize = 1;
const HEAD_DIM: usize = 32;
const FF: usize = 128;
/// Every byte, `<s>` and `</s>`.
pub(crate) const VOCAB: usize = 258;
/// Long enough that no test reaches it unless it wants to.
pub(crate) const CONTEXT: u32 = 65_536;

const TEMPLATE: &str =
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}[assistant]";

/// No template.
pub(crate) const BROKEN: &str = "{% for m in %}";

/// What is in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A vocabulary without tensors.
    Vocabulary,
    /// A model that continues text.
    Base,
    /// The same with a chat template.
    Chat,
    /// The same with a template whose error is long and full of escapes.
    Hostile,
    /// The same with a template that does not parse.
    Broken,
}

/// Writes the file into a folder.
pub(crate) fn write(folder: &Path, kind: Kind) -> PathBuf {
    let mut writer = Writer::new();
    keys(&mut writer);
    let hostile = format!("{{{{ raise_exception('\x1b]0;owned\x07{}') }}}}", "x".repeat(5000));
    match kind {
        Kind::Vocabulary | Kind::Base => {}
        Kind::Chat => _ = writer.set("tokenizer.chat_template", TEMPLATE),
        Kind::Broken => _ = writer.set("tokenizer.chat_template", BROKEN),
        Kind::Hostile => _ = writer.set("tokenizer.chat_template", hostile.as_str()),
    }
    let tensors = if kind == Kind::Vocabulary { Vec::new() } else { tensors() };
    for (name, dims) in &tensors {
        writer.tensor(name, TensorType::F32, dims).expect("a valid shape");
    }
    let mut random = Random(20_261_121);
    let data: Vec<Vec<u8>> =
        tensors.iter().map(|(name, dims)| values(&mut random, name, dims)).collect();
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let path = folder.join("tiny.gguf");
    std::fs::write(&path, writer.to_vec(&data).expect("the planned tensors")).expect("a file");
    path
}

fn keys(writer: &mut Writer) {
    writer.set("general.architecture", "llama");
    writer.set("general.name", "tiny");
    for (key, value) in [
        ("vocab_size", VOCAB as u32),
        ("block_count", 1),
        ("context_length", CONTEXT),
        ("embedding_length", EMBD as u32),
        ("feed_forward_length", FF as u32),
        ("attention.head_count", HEADS as u32),
        ("attention.head_count_kv", HEADS_KV as u32),
        ("rope.dimension_count", HEAD_DIM as u32),
    ] {
        writer.set(&format!("llama.{key}"), value);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    tokens.extend(["<s>".to_owned(), "</s>".to_owned()]);
    let mut types = vec![1i32; 256];
    types.extend([3, 3]);
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", "gpt-2");
    writer.set("tokenizer.ggml.tokens", Value::strings(&tokens));
    writer.set("tokenizer.ggml.token_type", types);
    writer.set("tokenizer.ggml.merges", Value::strings([""; 0]));
    writer.set("tokenizer.ggml.bos_token_id", 256u32);
    writer.set("tokenizer.ggml.eos_token_id", 257u32);
    writer.set("tokenizer.ggml.add_bos_token", true);
}

/// The character that stands for a byte in GPT-2 vocabularies.
fn byte_char(byte: u8) -> char {
    let plain = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if plain(byte) {
        return char::from(byte);
    }
    let index = (0..byte).filter(|&b| !plain(b)).count() as u32;
    char::from_u32(256 + index).expect("a character")
}

fn tensors() -> Vec<(String, Vec<usize>)> {
    let (q, kv) = (HEADS * HEAD_DIM, HEADS_KV * HEAD_DIM);
    [
        ("token_embd.weight", vec![EMBD, VOCAB]),
        ("output_norm.weight", vec![EMBD]),
        ("output.weight", vec![EMBD, VOCAB]),
        ("blk.0.attn_norm.weight", vec![EMBD]),
        ("blk.0.attn_q.weight", vec![EMBD, q]),
        ("blk.0.attn_k.weight", vec![EMBD, kv]),
        ("blk.0.attn_v.weight", vec![EMBD, kv]),
        ("blk.0.attn_output.weight", vec![q, EMBD]),
        ("blk.0.ffn_norm.weight", vec![EMBD]),
        ("blk.0.ffn_gate.weight", vec![EMBD, FF]),
        ("blk.0.ffn_up.weight", vec![EMBD, FF]),
        ("blk.0.ffn_down.weight", vec![FF, EMBD]),
    ]
    .map(|(name, dims)| (name.to_owned(), dims))
    .to_vec()
}

fn values(random: &mut Random, name: &str, dims: &[usize]) -> Vec<u8> {
    let (middle, spread) = match name {
        _ if name.ends_with("norm.weight") => (1.0, 0.2),
        "token_embd.weight" => (0.0, 1.0),
        _ => (0.0, 1.5 / (dims[0] as f32).sqrt()),
    };
    let count: usize = dims.iter().product();
    (0..count).flat_map(|_| (middle + spread * random.next()).to_le_bytes()).collect()
}

/// Uniform in -1..1, from a linear congruential generator's high bits.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
