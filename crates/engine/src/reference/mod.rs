//! The plain forward pass in 32-bit floats: no cache, no packing, no SIMD, no threads. It is the
//! oracle of the fast path, and the first file to read about the mathematics. Slow on purpose.
//!
//! Letters: T tokens, E = n_embd, Q = n_head * head_dim, K = n_head_kv * head_dim, F = n_ff.

mod ffn;
mod per_layer;
mod reader;
mod short_conv;
mod streams;

use crate::arch::{Config, QkNorm};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::rope::{Rope, RopeStyle, RopeTable};
use ffn::feed_forward;
use reader::Reader;
use short_conv::short_conv;

/// Logits after every token. `[T][n_vocab]`
///
/// # Errors
/// A tensor is missing.
pub fn logits(gguf: &Gguf, config: &Config, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
    let reader = Reader { gguf };
    let embd = config.n_embd;
    let table = reader.tensor("token_embd.weight")?;
    let mut x: Vec<f32> = Vec::new(); // [T][E]
    let mut kept: Vec<KeyValue> = Vec::new();
    for &token in tokens {
        let row = &table[token as usize * embd..][..embd];
        x.extend(row.iter().map(|value| value * config.embed_scale));
    }
    let inputs = per_layer::inputs(config, &reader, tokens, &x)?;
    if let Some(streams) = config.streams {
        x = streams::run(config, streams, &reader, x, &inputs)?;
    } else {
        for layer in 0..config.n_layer {
            let input = before(config, &reader, layer, "attn_norm", &x)?;
            let y = mix(config, layer, &reader, &input, &mut kept)?;
            add(&mut x, &after(config, &reader, layer, "post_attention_norm", y)?);
            let input = before(config, &reader, layer, "ffn_norm", &x)?;
            let y = feed_forward(config, layer, &reader, (&x, &input))?;
            add(&mut x, &after(config, &reader, layer, "post_ffw_norm", y)?);
            if let Some(input) = inputs.get(layer) {
                let y = per_layer::give(config, &reader, layer, input, &x)?;
                add(&mut x, &y);
            }
            if let Some(scale) = reader.optional(&format!("blk.{layer}.layer_output_scale.weight"))
            {
                x.iter_mut().for_each(|value| *value *= scale[0]);
            }
        }
    }
    let x = norm(&x, &reader.tensor(config.output_norm)?, config);
    let head = reader.optional("output.weight").unwrap_or(table);
    let mut logits = matmul(&x, &head, embd);
    logits.iter_mut().for_each(|logit| *logit *= config.logit_scale);
    if let Some(cap) = config.final_softcap {
        logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
    }
    Ok(logits)
}

/// What a part of a layer reads: the stream, normed where the architecture says so.
fn before(
    config: &Config,
    reader: &Reader,
    layer: usize,
    name: &str,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    match config.pre_norm {
        true => Ok(norm(x, &reader.tensor(&format!("blk.{layer}.{name}.weight"))?, config)),
        false => Ok(x.to_vec()),
    }
}

/// What a part of a layer gives, normed where the architecture says so, and scaled.
fn after(
    config: &Config,
    reader: &Reader,
    layer: usize,
    name: &str,
    mut y: Vec<f32>,
) -> Result<Vec<f32>, ModelError> {
    if config.post_norm {
        y = norm(&y, &reader.tensor(&format!("blk.{layer}.{name}.weight"))?, config);
    }
    y.iter_mut().for_each(|value| *value *= config.residual_scale);
    Ok(y)
}

/// What mixes the tokens of a layer. `[T][E] -> [T][E]`
fn mix(
    config: &Config,
    layer: usize,
    reader: &Reader,
    x: &[f32],
    kept: &mut Vec<KeyValue>,
) -> Result<Vec<f32>, ModelError> {
    match config.short_conv_of(layer) {
        None => attention(config, layer, reader, x, kept),
        Some(conv) => {
            kept.push(KeyValue::default());
            short_conv(conv.taps, config.n_embd, layer, reader, x)
        }
    }
}

/// Keys and values of a layer, ready to be looked at. `[T][K]` each
#[derive(Default)]
struct KeyValue {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Causal grouped-query attention of one layer; `kept` holds what earlier layers gave. `[T][E] ->
/// [T][E]`
fn attention(
    config: &Config,
    layer: usize,
    reader: &Reader,
    x: &[f32],
    kept: &mut Vec<KeyValue>,
) -> Result<Vec<f32>, ModelError> {
    let (embd, heads) = (config.n_embd, config.heads_of(layer));
    let (dim, q_dim, kv_dim) = (heads.dim, heads.q_dim(), heads.kv_dim());
    let tokens = x.len() / embd;
    let mut q = reader.query(config, layer, x)?;
    let place = Place { config, layer, reader, tokens };
    place.norm_and_turn("attn_q_norm", &mut q)?;
    if config.kv_of(layer) == layer {
        let (mut k, mut v) = reader.key_value(config, layer, x)?;
        place.norm_and_turn("attn_k_norm", &mut k)?;
        if config.value_norm {
            v = norm(&v, &vec![1.0; dim], config);
        }
        kept.push(KeyValue { k, v });
    }
    let KeyValue { k, v } = &kept[config.kv_of(layer)];
    if let Some(growth) = config.temperature_of(layer) {
        for (position, row) in q.chunks_exact_mut(q_dim).enumerate() {
            row.iter_mut().for_each(|q| *q *= growth.factor(position));
        }
    }
    let group = heads.count / heads.kv;
    let mut out = vec![0.0; tokens * q_dim]; // [T][Q]
    for t in 0..tokens {
        let first = config.window_of(layer).map_or(0, |window| window.first(t));
        for head in 0..heads.count {
            let q = &q[t * q_dim + head * dim..][..dim];
            let at = |position: usize| position * kv_dim + head / group * dim;
            let score = |s: usize| {
                let score = dot(q, &k[at(s)..][..dim]) * config.attn_scale;
                config.attn_softcap.map_or(score, |cap| cap * (score / cap).tanh())
            };
            let scores: Vec<f32> = (first..=t).map(score).collect();
            let out = &mut out[t * q_dim + head * dim..][..dim];
            for (s, p) in (first..=t).zip(softmax(&scores)) {
                out.iter_mut().zip(&v[at(s)..][..dim]).for_each(|(o, v)| *o += p * v);
            }
        }
    }
    reader.attn(layer, "attn_output", &out, q_dim)
}

/// A layer's attention over so many tokens.
struct Place<'a> {
    config: &'a Config,
    layer: usize,
    reader: &'a Reader<'a>,
    tokens: usize,
}

impl Place<'_> {
    /// Norms queries or keys, and turns them by their positions.
    fn norm_and_turn(&self, part: &str, heads: &mut Vec<f32>) -> Result<(), ModelError> {
        let Self { config, layer, reader, tokens } = *self;
        let dim = config.heads_of(layer).dim;
        if matches!(config.qk_norm, QkNorm::Heads | QkNorm::Rows) {
            let weight = reader.tensor(&format!("blk.{layer}.{part}.weight"))?;
            *heads = norm(heads, &weight, config);
        }
        if !config.rotary[layer] {
            return Ok(());
        }
        let rope = match config.rope_of(layer) {
            rope if *rope == config.rope => reader.rope(rope),
            other => other.clone(),
        };
        let mut table = RopeTable::default();
        table.fill(&rope, 0..tokens);
        let per_row = heads.len() / tokens;
        for (position, row) in heads.chunks_exact_mut(per_row).enumerate() {
            row.chunks_exact_mut(dim).for_each(|head| turn(head, &rope, &table, position));
        }
        if config.qk_norm == QkNorm::Turned {
            *heads = norm(heads, &vec![1.0; dim], config);
        }
        Ok(())
    }
}

/// RMS norm of every run of `weight.len()` values.
fn norm(x: &[f32], weight: &[f32], config: &Config) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean = row.iter().map(|x| f64::from(x * x)).sum::<f64>() / row.len() as f64;
        let scale = (mean + f64::from(config.norm_eps)).sqrt().recip() as f32;
        out.extend(row.iter().zip(weight).map(|(x, w)| x * scale * w));
    }
    out
}

/// Rotates the pairs of one head.
fn turn(head: &mut [f32], rope: &Rope, table: &RopeTable, position: usize) {
    let pairs = rope.dims / 2;
    for pair in 0..pairs {
        let (cos, sin) = (table.cos[position * pairs + pair], table.sin[position * pairs + pair]);
        let (a, b) = match rope.style {
            RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
            RopeStyle::Halves => (pair, pair + pairs),
        };
        (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
    }
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|exp| exp / sum).collect()
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Eight partial sums: closer to the exact sum than one, and the compiler can keep up.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + tail
}

/// x times the transposed matrix. `[T][cols], [rows][cols] -> [T][rows]`
fn matmul(x: &[f32], matrix: &[f32], cols: usize) -> Vec<f32> {
    let rows = matrix.len() / cols;
    let mut out = vec![0.0; x.len() / cols * rows];
    for (index, row) in matrix.chunks_exact(cols).enumerate() {
        for (t, x) in x.chunks_exact(cols).enumerate() {
            out[t * rows + index] = dot(x, row);
        }
    }
    out
}
