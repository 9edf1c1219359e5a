//! Tiny random models from a seed, written by our own writer: small enough for a test, with every
//! part of a real one. The same bytes everywhere, so that a golden of another program fits.

#[allow(dead_code)]
pub(crate) mod encoder;
mod shapes;

use hearth_engine::gguf::Value;
use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::{TensorType, quantize};

/// Vocabulary of every tiny model.
pub(crate) const VOCAB: usize = 160;
const EMBD: usize = 256;
const HEADS: usize = 4;
const HEADS_KV: usize = 2;
const FF: usize = 512;

pub(crate) use shapes::Shape;

/// A GGUF file whose matrices have the type `ty`; norms and embeddings are F32.
pub(crate) fn model(shape: Shape, ty: TensorType, seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    let tensors = tensors(shape, ty);
    let mut writer = Writer::new();
    keys(&mut writer, shape);
    for (name, ty, dims) in &tensors {
        writer.tensor(name, *ty, dims).expect("a valid shape");
    }
    let mut data = Vec::new();
    for (name, ty, dims) in &tensors {
        let mut values = values(&mut random, name, dims);
        if shape.scales_queries() && name.ends_with("attn_q_norm.weight") {
            // Nothing else makes their scores small.
            values.iter_mut().for_each(|value| *value *= 0.125);
        }
        let mut bytes = vec![0; ty.row_bytes(values.len()).expect("whole blocks")];
        quantize(*ty, &values, &mut bytes).expect("finite values");
        data.push(bytes);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).expect("the planned tensors")
}

fn keys(writer: &mut Writer, shape: Shape) {
    let spec = shape.spec();
    let arch = spec.arch;
    writer.set("general.architecture", arch);
    writer.set("tokenizer.ggml.model", "none");
    let mut set = |key: &str, value: Value| {
        writer.set(&format!("{arch}.{key}"), value);
    };
    for (key, value) in [
        ("vocab_size", VOCAB),
        ("block_count", spec.layers),
        ("context_length", 512),
        ("embedding_length", EMBD),
        ("feed_forward_length", FF),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", HEADS_KV),
        ("attention.key_length", spec.head_dim),
        ("attention.value_length", spec.head_dim),
        ("rope.dimension_count", spec.rope_dims),
    ] {
        // Where a shape says it otherwise, that counts.
        if spec.keys.iter().all(|(own, _)| *own != key) {
            set(key, Value::U32(value as u32));
        }
    }
    set("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    set("rope.freq_base", Value::F32(500_000.0));
    for (key, value) in spec.keys {
        set(key, value);
    }
}

/// Matrices that are too small for most types.
const SMALL: [&str; 7] = [
    "ffn_gate_inp.weight",
    "shortconv.conv.weight",
    "altup_correct_coef.weight",
    "altup_predict_coef.weight",
    "altup_router.weight",
    "laurel_r.weight",
    "per_layer_token_embd.weight",
];

type Plan = (String, TensorType, Vec<usize>);

fn tensors(shape: Shape, ty: TensorType) -> Vec<Plan> {
    let spec = shape.spec();
    let vector = |name: &str, n: usize| (name.to_owned(), TensorType::F32, vec![n]);
    let mut all = vec![
        ("token_embd.weight".to_owned(), TensorType::F32, vec![EMBD, VOCAB]),
        vector(spec.output_norm, EMBD),
    ];
    if !spec.tied {
        all.push(("output.weight".to_owned(), ty, vec![EMBD, VOCAB]));
    }
    for name in spec.factors {
        all.push(vector(name, spec.rope_dims / 2));
    }
    let of = |name: &str, dims: &[usize]| {
        if dims.len() == 1 || SMALL.contains(&name) { TensorType::F32 } else { ty }
    };
    for (name, dims) in spec.outside() {
        all.push((name.to_owned(), of(name, &dims), dims));
    }
    for layer in 0..spec.layers {
        for (name, dims) in spec.layer(layer) {
            all.push((format!("blk.{layer}.{name}"), of(name, &dims), dims));
        }
    }
    all
}

/// Values that keep a forward pass finite and lively: norms near 1, matrices by their width.
fn values(random: &mut Random, name: &str, dims: &[usize]) -> Vec<f32> {
    let count = dims.iter().product();
    let (middle, spread) = match name {
        _ if name.starts_with("rope_f") => (4.0, 3.0),
        _ if name.ends_with("norm.weight") || name.ends_with("scale.weight") => (1.0, 0.2),
        _ if name.ends_with(".bias") => (0.0, 0.3),
        "token_embd.weight" | "per_layer_token_embd.weight" => (0.0, 1.0),
        _ => (0.0, 1.5 / (dims[0] as f32).sqrt()),
    };
    (0..count).map(|_| middle + spread * random.next()).collect()
}

/// Uniform in -1..1, from a linear congruential generator's high bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
