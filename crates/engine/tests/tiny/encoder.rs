//! Tiny random encoders, as the tiny decoders beside them.

use hearth_engine::gguf::Value;
use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::{TensorType, quantize};

use super::{EMBD, FF, HEADS, Random, VOCAB, values};

const LAYERS: usize = 2;
const CONTEXT: usize = 128;

/// An encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// BERT whose rows' mean is taken.
    Bert,
    /// BERT whose first row is scored.
    Reranker,
    /// Nomic's BERT, query, key and value in one tensor.
    Nomic,
}

/// A GGUF file whose matrices have the type `ty`; the others are F32.
pub(crate) fn encoder(kind: Encoder, ty: TensorType, seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ 0x5851_f42d_4c95_7f2d);
    let mut writer = Writer::new();
    keys(&mut writer, kind);
    let plans = tensors(kind, ty);
    let mut data = Vec::new();
    for (name, ty, dims) in &plans {
        writer.tensor(name, *ty, dims).expect("a valid shape");
        let values = values(&mut random, name, dims);
        let mut bytes = vec![0; ty.row_bytes(values.len()).expect("whole blocks")];
        quantize(*ty, &values, &mut bytes).expect("finite values");
        data.push(bytes);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).expect("the planned tensors")
}

fn keys(writer: &mut Writer, kind: Encoder) {
    let arch = if kind == Encoder::Nomic { "nomic-bert" } else { "bert" };
    writer.set("general.architecture", arch);
    writer.set("tokenizer.ggml.model", "none");
    writer.set("tokenizer.ggml.token_type_count", Value::U32(2));
    for (key, value) in [
        ("vocab_size", VOCAB),
        ("block_count", LAYERS),
        ("context_length", CONTEXT),
        ("embedding_length", EMBD),
        ("feed_forward_length", FF),
        ("attention.head_count", HEADS),
        ("pooling_type", if kind == Encoder::Reranker { 4 } else { 1 }),
    ] {
        writer.set(&format!("{arch}.{key}"), Value::U32(value as u32));
    }
    writer.set(&format!("{arch}.attention.layer_norm_epsilon"), Value::F32(1e-12));
    writer.set(&format!("{arch}.attention.causal"), Value::Bool(false));
    if kind == Encoder::Nomic {
        writer.set(&format!("{arch}.rope.freq_base"), Value::F32(1000.0));
    }
}

fn tensors(kind: Encoder, ty: TensorType) -> Vec<(String, TensorType, Vec<usize>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, ty, dims: &[usize]| all.push((name.to_owned(), ty, dims.to_vec()));
    add("token_embd.weight", TensorType::F32, &[EMBD, VOCAB]);
    add("token_types.weight", TensorType::F32, &[EMBD, 2]);
    if kind != Encoder::Nomic {
        add("position_embd.weight", TensorType::F32, &[EMBD, CONTEXT]);
    }
    let norms =
        |layer: usize| [format!("blk.{layer}.attn_output"), format!("blk.{layer}.layer_output")];
    let all_norms = (0..LAYERS).flat_map(norms).chain(["token_embd".to_owned()]);
    for norm in all_norms {
        add(&format!("{norm}_norm.weight"), TensorType::F32, &[EMBD]);
        add(&format!("{norm}_norm.bias"), TensorType::F32, &[EMBD]);
    }
    let parts: &[(&str, usize, usize)] = match kind {
        Encoder::Nomic => &[
            ("attn_qkv", EMBD, 3 * EMBD),
            ("attn_output", EMBD, EMBD),
            ("ffn_gate", EMBD, FF),
            ("ffn_up", EMBD, FF),
            ("ffn_down", FF, EMBD),
        ],
        Encoder::Bert | Encoder::Reranker => &[
            ("attn_q", EMBD, EMBD),
            ("attn_k", EMBD, EMBD),
            ("attn_v", EMBD, EMBD),
            ("attn_output", EMBD, EMBD),
            ("ffn_up", EMBD, FF),
            ("ffn_down", FF, EMBD),
        ],
    };
    for layer in 0..LAYERS {
        for (part, cols, rows) in parts {
            add(&format!("blk.{layer}.{part}.weight"), ty, &[*cols, *rows]);
            if kind != Encoder::Nomic {
                add(&format!("blk.{layer}.{part}.bias"), TensorType::F32, &[*rows]);
            }
        }
    }
    if kind == Encoder::Reranker {
        add("cls.weight", ty, &[EMBD, EMBD]);
        add("cls.bias", TensorType::F32, &[EMBD]);
        add("cls.output.weight", TensorType::F32, &[EMBD, 1]);
        add("cls.output.bias", TensorType::F32, &[1]);
    }
    all
}
