//! An adapter's files become an [`Adapter`] for one model: every matrix is checked against the
//! model's own. All of it is foreign.

use std::collections::HashMap;

use hearth_kernels::bytes::Bytes;
use hearth_kernels::matmul::Weight;
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, dequantize};

use super::{Adapter, AdapterError, Delta, TARGETS, Target};
use crate::arch::Config;
use crate::gguf::Gguf;
use crate::import::peft;
use crate::model::Model;
use crate::rope::RopeStyle;
use crate::weights::{Ffn, Mix};

/// No adapter has a larger rank.
const MOST_RANK: usize = 4096;

/// A matrix of 32-bit floats. `[rows][cols]`
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) values: Vec<f32>,
}

/// The difference to one tensor of the model.
pub(crate) struct Pair {
    /// The tensor's name without `.weight`.
    pub(crate) name: String,
    /// `[rank][inputs]`
    pub(crate) a: Matrix,
    /// `[outputs][rank]`
    pub(crate) b: Matrix,
    /// What the product is multiplied with.
    pub(crate) scale: f32,
}

/// Element types of adapters: few take much less room in the file than in memory.
const TYPES: [TensorType; 4] =
    [TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q8_0];

/// A foreign text in a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn error<T>(text: impl Into<String>) -> Result<T, AdapterError> {
    Err(AdapterError(text.into()))
}

/// Of a GGUF file, as llama.cpp has it.
pub(super) fn from_gguf(gguf: &Gguf, arch: &str) -> Result<Vec<Pair>, AdapterError> {
    let text = |key: &str| -> Result<&str, AdapterError> {
        match gguf.meta().str(key) {
            Ok(found) => Ok(found.unwrap_or("nothing")),
            Err(wrong) => error(wrong.to_string()),
        }
    };
    for (key, expected) in
        [("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", arch)]
    {
        let found = text(key)?;
        if found != expected {
            return error(format!("`{key}` is \"{}\", expected \"{expected}\"", shown(found)));
        }
    }
    if gguf.meta().get("adapter.alora.invocation_tokens").is_some() {
        return error("it acts from a certain token on (aLoRA), which this version does not do");
    }
    let alpha = match gguf.meta().f32("adapter.lora.alpha") {
        Ok(alpha) => alpha.unwrap_or(0.0),
        Err(wrong) => return error(wrong.to_string()),
    };
    let mut halves: HashMap<String, [Option<Matrix>; 2]> = HashMap::new();
    for info in gguf.tensors() {
        let (name, shown) = (info.name(), shown(info.name()));
        let (base, half) = match (name.strip_suffix(".lora_a"), name.strip_suffix(".lora_b")) {
            (Some(base), _) => (base, 0),
            (_, Some(base)) => (base, 1),
            _ => return error(format!("tensor `{shown}` is no part of a LoRA adapter")),
        };
        let base = base.strip_suffix(".weight").unwrap_or(base);
        let (rows, cols) = (info.rows(), info.cols());
        let small = rows.max(cols) <= 1 << 24 && rows.min(cols) <= MOST_RANK;
        if !small || info.dims().len() != 2 || !TYPES.contains(&info.ty()) {
            return error(format!(
                "tensor `{shown}` is {cols} x {rows} of {}, expected a matrix with a side of up \
                 to {MOST_RANK} in {}",
                info.ty(),
                TYPES.map(|ty| ty.to_string()).join(", ")
            ));
        }
        let mut values = vec![0.0; rows * cols];
        dequantize(info.ty(), &gguf.bytes(info), &mut values);
        let matrix = Matrix { rows, cols, values };
        if halves.entry(base.to_owned()).or_default()[half].replace(matrix).is_some() {
            return error(format!("tensor `{shown}` comes twice"));
        }
    }
    let pair = |(name, halves): (String, [Option<Matrix>; 2])| match halves {
        [Some(a), Some(b)] => {
            let scale = if alpha == 0.0 { 1.0 } else { alpha / b.cols.max(1) as f32 };
            Ok(Pair { name, a, b, scale })
        }
        _ => error(format!(
            "of the two parts lora_a and lora_b of `{}` one is missing",
            shown(&name)
        )),
    };
    halves.into_iter().map(pair).collect()
}

/// Of a folder of the PEFT library.
pub(super) fn from_peft(
    config: &[u8],
    weights: &[u8],
    model: &Model,
    arch: &str,
) -> Result<Vec<Pair>, AdapterError> {
    let mut pairs =
        peft::read(config, weights, arch).map_err(|wrong| AdapterError(wrong.to_string()))?;
    // Such files hold the rows of queries and keys in halves that turn against each other; this
    // model's file holds them as neighbours.
    if model.config.rope.style == RopeStyle::Interleaved {
        for pair in &mut pairs {
            let heads = model.config.heads;
            match pair.name.rsplit_once('.').map(|(_, part)| part) {
                Some("attn_q") => interleave(&mut pair.b, heads.count),
                Some("attn_k") => interleave(&mut pair.b, heads.kv),
                _ => {}
            }
        }
    }
    Ok(pairs)
}

/// Brings the halves of each head's rows together, row by row.
fn interleave(b: &mut Matrix, heads: usize) {
    let heads = heads.max(1);
    if b.rows == 0 || !b.rows.is_multiple_of(2 * heads) {
        return; // The shape is refused when it is compared with the model's.
    }
    let head = b.rows / heads;
    let row = |at: usize| {
        let (start, within) = (at / head * head, at % head);
        start + within / 2 + within % 2 * (head / 2)
    };
    let rows = (0..b.rows).flat_map(|at| &b.values[row(at) * b.cols..][..b.cols]);
    b.values = rows.copied().collect();
}

/// Fits the differences to the model, whose file is `base`.
pub(super) fn assemble(
    model: &Model,
    base: &Gguf,
    pairs: Vec<Pair>,
    serial: u64,
) -> Result<Adapter, AdapterError> {
    if pairs.is_empty() {
        return error("it holds no difference to any matrix");
    }
    let mut deltas: Vec<[Option<Delta>; TARGETS]> = Vec::new();
    deltas.resize_with(model.config.n_layer, Default::default);
    let mut bytes = 0;
    for Pair { name, a, b, scale } in pairs {
        let Some((layer, places)) = places(model, base, &name) else {
            return error(format!(
                "it changes `{}`, which this version cannot: expected matrices of attention and \
                 of the feed-forward part that the model has",
                shown(&name)
            ));
        };
        let [first, ..] = &places[..] else { continue };
        let (inputs, outputs) = (first.inputs, places.iter().map(|p| p.rows.len()).sum());
        let rank = a.rows;
        if (a.cols, b.rows, b.cols) != (inputs, outputs, rank) || !(1..=MOST_RANK).contains(&rank) {
            return error(format!(
                "the difference to `{name}` is {} x {} times {} x {}, expected {inputs} x R times \
                 R x {outputs} with R up to {MOST_RANK}: it is made for another model",
                a.cols, a.rows, b.cols, b.rows
            ));
        }
        if !scale.is_finite() || a.values.iter().chain(&b.values).any(|value| !value.is_finite()) {
            return error(format!("the difference to `{name}` holds values that are not finite"));
        }
        for place in places {
            bytes += 4 * rank * (inputs + place.rows.len());
            let b = &b.values[place.rows.start * rank..place.rows.end * rank];
            let delta = Delta {
                a: weight(&a.values, (rank, inputs), &model.pool)?,
                b: weight(b, (place.rows.len(), rank), &model.pool)?,
                scale,
            };
            if deltas[layer][place.target as usize].replace(delta).is_some() {
                return error(format!("it changes `{name}` twice"));
            }
        }
    }
    Ok(Adapter { deltas, serial, bytes })
}

/// Rows of a tensor that are one of the model's matrices.
struct Place {
    target: Target,
    rows: std::ops::Range<usize>,
    inputs: usize,
}

/// Which layer a tensor of the model belongs to, and the matrices in it; none if it is there and
/// nothing reads it.
fn places(model: &Model, base: &Gguf, name: &str) -> Option<(usize, Vec<Place>)> {
    let (number, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let index: usize = number.parse().ok().filter(|n: &usize| n.to_string() == number)?;
    let layer = model.weights.blk.get(index)?;
    let config: &Config = &model.config;
    let (heads, embd, ff) = (config.heads_of(index), config.n_embd, config.n_ff[index]);
    let (q, kv) = (heads.q_dim(), heads.kv_dim());
    let one = |target, rows, inputs| vec![Place { target, rows: 0..rows, inputs }];
    let attention = match &layer.mix {
        Mix::Attention(attention) => Some(attention),
        Mix::ShortConv(_) => None,
    };
    let own = attention.and_then(|attention| attention.own.as_ref());
    let unread = own.is_none() && base.tensor(&format!("{name}.weight")).is_some();
    let dense = matches!(layer.ffn, Ffn::Dense(_));
    let fused = base.tensor(&format!("blk.{index}.ffn_gate.weight")).is_none();
    let places = match part {
        "attn_q" => attention.map(|_| one(Target::Q, q, embd)),
        "attn_k" | "attn_v" if unread => Some(Vec::new()),
        "attn_k" => own.map(|_| one(Target::K, kv, embd)),
        "attn_v" => own.filter(|own| own.attn_v.is_some()).map(|_| one(Target::V, kv, embd)),
        "attn_output" => attention.map(|_| one(Target::Output, embd, q)),
        "attn_qkv" => own.filter(|own| own.attn_v.is_some()).map(|_| {
            let place = |target, rows| Place { target, rows, inputs: embd };
            vec![
                place(Target::Q, 0..q),
                place(Target::K, q..q + kv),
                place(Target::V, q + kv..q + 2 * kv),
            ]
        }),
        "ffn_gate" if dense => Some(one(Target::Gate, ff, embd)),
        "ffn_up" if dense && fused => Some(vec![
            Place { target: Target::Gate, rows: 0..ff, inputs: embd },
            Place { target: Target::Up, rows: ff..2 * ff, inputs: embd },
        ]),
        "ffn_up" if dense => Some(one(Target::Up, ff, embd)),
        "ffn_down" if dense => Some(one(Target::Down, embd, ff)),
        _ => None,
    };
    Some((index, places?))
}

fn weight(
    values: &[f32],
    (rows, cols): (usize, usize),
    pool: &Pool,
) -> Result<Weight, AdapterError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let weight = Weight::new(TensorType::F32, rows, cols, Bytes::from(bytes), pool);
    weight.map_err(|wrong| AdapterError(wrong.to_string()))
}
