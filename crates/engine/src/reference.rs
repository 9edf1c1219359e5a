//! The plain forward pass in 32-bit floats: no cache, no packing, no SIMD, no threads. It is the
//! oracle of the fast path, and the first file to read about the mathematics. Slow on purpose.
//!
//! Letters: T tokens, E = n_embd, Q = n_head * head_dim, K = n_head_kv * head_dim, F = n_ff.

use hearth_kernels::quant::dequantize;

use crate::arch::{Activation, Config};
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::rope::{Rope, RopeStyle, RopeTable};

/// Logits after every token. `[T][n_vocab]`
///
/// # Errors
/// A tensor is missing.
pub fn logits(gguf: &Gguf, config: &Config, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
    let reader = Reader { gguf };
    let embd = config.n_embd;
    let table = reader.tensor("token_embd.weight")?;
    let mut x: Vec<f32> = Vec::new(); // [T][E]
    for &token in tokens {
        let row = &table[token as usize * embd..][..embd];
        x.extend(row.iter().map(|value| value * config.embed_scale));
    }
    for layer in 0..config.n_layer {
        let get = |part: &str| reader.tensor(&format!("blk.{layer}.{part}"));
        let mut y =
            attention(config, layer, &reader, &norm(&x, &get("attn_norm.weight")?, config))?;
        if config.post_norm {
            y = norm(&y, &get("post_attention_norm.weight")?, config);
        }
        add(&mut x, &y);
        let mut y =
            feed_forward(config, layer, &reader, &norm(&x, &get("ffn_norm.weight")?, config))?;
        if config.post_norm {
            y = norm(&y, &get("post_ffw_norm.weight")?, config);
        }
        add(&mut x, &y);
    }
    let x = norm(&x, &reader.tensor("output_norm.weight")?, config);
    let head = reader.optional("output.weight").unwrap_or(table);
    let mut logits = matmul(&x, &head, embd);
    if let Some(cap) = config.final_softcap {
        logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
    }
    Ok(logits)
}

/// Causal grouped-query attention of one layer. `[T][E] -> [T][E]`
fn attention(
    config: &Config,
    layer: usize,
    reader: &Reader,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let (embd, dim) = (config.n_embd, config.head_dim);
    let tokens = x.len() / embd;
    let project = |part: &str| reader.attn(layer, part, x, embd);
    let (mut q, mut k, v) = (project("attn_q")?, project("attn_k")?, project("attn_v")?);
    let rope = reader.rope(config.rope_of(layer), config.windowed[layer])?;
    let mut table = RopeTable::default();
    table.fill(&rope, 0..tokens);
    for (part, heads) in [("attn_q_norm", &mut q), ("attn_k_norm", &mut k)] {
        if config.qk_norm {
            let weight = reader.tensor(&format!("blk.{layer}.{part}.weight"))?;
            *heads = norm(heads, &weight, config);
        }
        let per_row = heads.len() / tokens;
        for (position, row) in heads.chunks_exact_mut(per_row).enumerate() {
            row.chunks_exact_mut(dim).for_each(|head| turn(head, &rope, &table, position));
        }
    }
    let group = config.n_head / config.n_head_kv;
    let mut out = vec![0.0; tokens * config.q_dim()]; // [T][Q]
    for t in 0..tokens {
        let first = config.window_of(layer).map_or(0, |window| (t + 1).saturating_sub(window));
        for head in 0..config.n_head {
            let q = &q[t * config.q_dim() + head * dim..][..dim];
            let at = |position: usize| position * config.kv_dim() + head / group * dim;
            let scores: Vec<f32> =
                (first..=t).map(|s| dot(q, &k[at(s)..][..dim]) * config.attn_scale).collect();
            let out = &mut out[t * config.q_dim() + head * dim..][..dim];
            for (s, p) in (first..=t).zip(softmax(&scores)) {
                out.iter_mut().zip(&v[at(s)..][..dim]).for_each(|(o, v)| *o += p * v);
            }
        }
    }
    reader.attn(layer, "attn_output", &out, config.q_dim())
}

/// down(act(gate(x)) * up(x)). `[T][E] -> [T][E]`
fn feed_forward(
    config: &Config,
    layer: usize,
    reader: &Reader,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let mut gate = reader.ffn(config, layer, "ffn_gate", x)?; // [T][F]
    let up = reader.ffn(config, layer, "ffn_up", x)?;
    for (gate, up) in gate.iter_mut().zip(&up) {
        *gate = up * activate(config.activation, *gate);
    }
    reader.ffn(config, layer, "ffn_down", &gate)
}

fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
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

/// A product, the scale and the bias beside it.
type Product = (Vec<f32>, f32, Option<Vec<f32>>);

/// Whole tensors as 32-bit floats.
struct Reader<'a> {
    gguf: &'a Gguf,
}

impl Reader<'_> {
    fn optional(&self, name: &str) -> Option<Vec<f32>> {
        let info = self.gguf.tensor(name)?;
        let mut values = vec![0.0; info.elements()];
        dequantize(info.ty(), &self.gguf.bytes(info), &mut values);
        Some(values)
    }

    fn tensor(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.optional(name).ok_or_else(|| ModelError::missing(name))
    }

    /// A matrix of an attention layer applied to every row of `x`, then scaled, then biased.
    fn attn(
        &self,
        layer: usize,
        part: &str,
        x: &[f32],
        cols: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let (mut out, scale, bias) = self.product(layer, part, x, cols)?;
        out.iter_mut().for_each(|value| *value *= scale);
        bias.iter()
            .for_each(|bias| out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)));
        Ok(out)
    }

    /// The same for the feed-forward part, where the bias comes first and the scale may not count.
    fn ffn(
        &self,
        config: &Config,
        layer: usize,
        part: &str,
        x: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let cols = if part == "ffn_down" { config.n_ff } else { config.n_embd };
        let (mut out, scale, bias) = self.product(layer, part, x, cols)?;
        bias.iter()
            .for_each(|bias| out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)));
        if config.ffn_scale {
            out.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(out)
    }

    /// The bare product, with the scale (1 if absent) and the bias that the file has beside it.
    fn product(
        &self,
        layer: usize,
        part: &str,
        x: &[f32],
        cols: usize,
    ) -> Result<Product, ModelError> {
        let name = |kind: &str| format!("blk.{layer}.{part}.{kind}");
        let scale = self.optional(&name("scale")).map_or(1.0, |values| values[0]);
        let out = matmul(x, &self.tensor(&name("weight"))?, cols);
        Ok((out, scale, self.optional(&name("bias"))))
    }

    fn rope(&self, rope: &Rope, windowed: bool) -> Result<Rope, ModelError> {
        if rope.long_factors(0).is_some() {
            return Ok(rope.clone().with_factors(self.tensor("rope_factors_short.weight")?));
        }
        match self.optional("rope_freqs.weight").filter(|_| !windowed) {
            Some(factors) => Ok(rope.clone().with_factors(factors)),
            None => Ok(rope.clone()),
        }
    }
}
