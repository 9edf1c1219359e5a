//! The transformer layer, on two screens: what a decoder does to a few rows of tokens. All that
//! differs between architectures comes from `Config`; the arithmetic is in `hearth_kernels`.
//!
//! Shapes at line ends: M rows of this pass, E = n_embd, Q = n_head * head_dim,
//! K = n_head_kv * head_dim, V = n_vocab. A pass may hold rows of several sequences.
//! Every row's result is the same bytes whatever its company, the chunking and the threads.

use hearth_kernels::attention::{AttnJob, AttnShape, attention};
use hearth_kernels::matmul::{Acts, Added, Need, Reads, Stream, linear};
use hearth_kernels::ops;
use hearth_kernels::rows::for_rows;

use crate::arch::QkNorm;
use crate::ffn;
use crate::kv::KvCache;
use crate::model::Model;
use crate::rope::RopeTable;
use crate::screening::Screener;
use crate::short_conv;
use crate::timers::{Op, Timers};
use crate::weights::{Attention, Ffn, Layer, Mix};

/// New tokens of one sequence: they continue what its cache holds.
pub struct Chunk<'a> {
    /// The tokens, each below the vocabulary's size.
    pub tokens: &'a [u32],
    /// The sequence's cache; the pass appends to it.
    pub kv: &'a mut KvCache,
}

/// Buffers of a pass, kept between passes so that none is allocated on the token path.
#[derive(Default)]
pub struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    heads: Vec<f32>,
    y: Vec<f32>,
    ffn: ffn::Buffers,
    conv: short_conv::Buffers,
    acts: Acts,
    positions: Vec<usize>,
    rope: RopeTable,
    rope_windowed: RopeTable,
    /// What the head's screening has seen.
    pub screener: Screener,
    /// Off unless a caller switches it on.
    pub timers: Timers,
}

/// The pass was stopped by the pool's stop flag; caches hold a part of it and must be truncated.
#[derive(Debug)]
pub struct Stopped;

impl Scratch {
    /// Makes room for `rows` rows.
    fn resize(&mut self, model: &Model, rows: usize) {
        let config = &model.config;
        for (buffer, cols) in [
            (&mut self.x, config.n_embd),
            (&mut self.normed, config.n_embd),
            (&mut self.q, config.q_dim()),
            (&mut self.k, config.kv_dim()),
            (&mut self.v, config.kv_dim()),
            (&mut self.heads, config.q_dim()),
            (&mut self.y, config.n_embd),
        ] {
            buffer.resize(rows * cols, 0.0);
        }
    }
}

/// Runs all layers over the rows of `chunks`; the last hidden rows stay in `scratch` for [`head`].
///
/// # Errors
/// [`Stopped`] if the pool was told to stop.
pub fn forward(model: &Model, scratch: &mut Scratch, chunks: &mut [Chunk]) -> Result<(), Stopped> {
    let rows = chunks.iter().map(|chunk| chunk.tokens.len()).sum();
    scratch.resize(model, rows);
    scratch.timers.begin();
    let positions = chunks.iter().flat_map(|c| (c.kv.len()..).take(c.tokens.len()));
    scratch.positions.clear();
    scratch.positions.extend(positions);
    let positions = || scratch.positions.iter().copied();
    scratch.rope.fill(&model.weights.rope, positions());
    if model.config.windowed.contains(&true) {
        scratch.rope_windowed.fill(&model.weights.rope_windowed, positions());
    }
    let tokens: Vec<u32> = chunks.iter().flat_map(|chunk| chunk.tokens).copied().collect();
    for_rows(&model.pool, &mut scratch.x, model.config.n_embd, &|row, x| {
        model.weights.embed(tokens[row] as usize, x);
    });
    if model.config.embed_scale != 1.0 {
        ops::scale(&model.pool, &mut scratch.x, model.config.embed_scale);
    }
    scratch.timers.lap(Op::Embed);
    for (index, layer) in model.weights.blk.iter().enumerate() {
        mix(model, layer, index, scratch, chunks);
        feed_forward(model, layer, scratch);
        if model.pool.stopped() {
            return Err(Stopped);
        }
    }
    Ok(())
}

/// What mixes the tokens, with the norm before it; what it gives stays in `s.y`.
fn mix(model: &Model, layer: &Layer, index: usize, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &*model.pool);
    let (rows, embd) = (s.x.len() / config.n_embd, config.n_embd);
    let norm = layer.attn_norm.as_deref();
    let stream = Stream { x: &mut s.x, added: None, norm, eps: config.norm_eps };
    s.acts.fill_stream(pool, stream, rows, embd, Reads::of(layer.mix.inputs())); // [M][E]
    s.timers.lap(Op::Enter);
    match &layer.mix {
        Mix::Attention(part) => attend(model, part, index, s, chunks),
        Mix::ShortConv(part) => {
            let (acts, timers) = (&mut s.acts, &mut s.timers);
            let mut pass = short_conv::Pass { pool, layer: index, n_embd: embd, acts, timers };
            pass.run(part, &mut s.conv, chunks, &mut s.y);
        }
    }
}

/// Attention.
fn attend(model: &Model, layer: &Attention, index: usize, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &model.pool);
    let (head_dim, rows) = (config.head_dim, s.x.len() / config.n_embd);
    linear(
        pool,
        &s.acts,
        &mut [
            (&layer.attn_q.weight, &mut s.q),
            (&layer.attn_k.weight, &mut s.k),
            (&layer.attn_v.weight, &mut s.v),
        ],
    ); // [M][Q], [M][K], [M][K]
    s.timers.lap(Op::Qkv);
    layer.attn_v.finish(pool, &mut s.v);
    let (rope, table) = match config.windowed[index] {
        true => (&model.weights.rope_windowed, &s.rope_windowed),
        false => (&model.weights.rope, &s.rope),
    };
    for (heads, linear, norm) in [
        (&mut s.q, &layer.attn_q, &layer.attn_q_norm),
        (&mut s.k, &layer.attn_k, &layer.attn_k_norm),
    ] {
        linear.finish(pool, heads);
        let (before, after) = match config.qk_norm {
            QkNorm::Turned => (None, norm.as_deref()),
            QkNorm::None | QkNorm::Heads | QkNorm::Rows => (norm.as_deref(), None),
        };
        if let Some(weight) = before {
            ops::rmsnorm_in_place(pool, heads, weight, config.norm_eps);
        }
        if config.rotary[index] {
            ops::rope(pool, rope.style, heads, head_dim, rows, (&table.cos, &table.sin));
            if let Some(weight) = after {
                ops::rmsnorm_in_place(pool, heads, weight, config.norm_eps);
            }
        }
    }
    if let Some(growth) = config.temperature_of(index) {
        for (position, q) in s.positions.iter().zip(s.q.chunks_exact_mut(config.q_dim())) {
            let factor = growth.factor(*position);
            q.iter_mut().for_each(|q| *q *= factor);
        }
    }
    s.timers.lap(Op::Rope);
    look_back(model, index, s, chunks);
    s.acts.fill(pool, &s.heads, rows, config.q_dim(), layer.attn_output.weight.reads());
    s.timers.lap(Op::Quantize);
    linear(pool, &s.acts, &mut [(&layer.attn_output.weight, &mut s.y)]); // [M][E]
    layer.attn_output.finish(pool, &mut s.y);
    s.timers.lap(Op::AttnOutput);
}

/// Appends keys and values to the caches and lets every row see what it may.
fn look_back(model: &Model, index: usize, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &model.pool);
    let rotated = chunks.first().is_some_and(|chunk| chunk.kv.layer(index).ty().wants_rotation());
    if rotated {
        for heads in [&mut s.q, &mut s.k, &mut s.v] {
            ops::rotate(pool, heads, config.head_dim);
        }
    }
    let mut first_row = 0;
    for chunk in chunks.iter_mut() {
        let (n, kv_dim) = (chunk.tokens.len(), config.kv_dim());
        let span = first_row * kv_dim..(first_row + n) * kv_dim;
        chunk.kv.layer_mut(index).append(pool, &s.k[span.clone()], &s.v[span], n);
        first_row += n;
    }
    s.timers.lap(Op::Append);
    let shape = AttnShape {
        heads: config.n_head,
        kv_heads: config.n_head_kv,
        head_dim: config.head_dim,
        scale: config.attn_scale,
        window: config.window_of(index),
        both_ways: false,
        softcap: config.attn_softcap,
    };
    let mut first_row = 0;
    let jobs: Vec<AttnJob> = chunks
        .iter()
        .map(|chunk| {
            let (rows, kv) = (chunk.tokens.len(), chunk.kv.layer(index));
            first_row += rows;
            AttnJob { first_row: first_row - rows, rows, pos0: kv.len() - rows, kv }
        })
        .collect();
    attention(pool, &shape, &s.q, &jobs, &mut s.heads); // [M][Q]
    if rotated {
        ops::rotate(pool, &mut s.heads, config.head_dim);
    }
    s.timers.lap(Op::Attention);
}

/// The residual sum of the attention, and the feed-forward part with its norms and its sum.
fn feed_forward(model: &Model, layer: &Layer, s: &mut Scratch) {
    let (config, pool) = (&model.config, &model.pool);
    let (rows, embd) = (s.x.len() / config.n_embd, config.n_embd);
    let (norm, post_norm) = (layer.ffn_norm.as_deref(), layer.post_attention_norm.as_deref());
    if let Ffn::Dense(part) = &layer.ffn {
        let added = Some(Added { y: &s.y, norm: post_norm, scale: config.residual_scale });
        let stream = Stream { x: &mut s.x, added, norm, eps: config.norm_eps };
        s.acts.fill_stream(pool, stream, rows, embd, part.reads()); // [M][E]
        s.timers.lap(Op::Enter);
    } else {
        add_residual(model, s, post_norm);
        norm_input(model, s, norm);
    }
    let mut pass = ffn::Pass {
        pool,
        gate: config.gate,
        n_embd: embd,
        acts: &mut s.acts,
        timers: &mut s.timers,
    };
    match &layer.ffn {
        Ffn::Dense(part) => pass.gated(part, &mut s.ffn, &mut s.y),
        Ffn::Mixture(mixture) => pass.mixture(mixture, &mut s.ffn, &s.normed, &mut s.y),
    }
    add_residual(model, s, layer.post_ffw_norm.as_deref());
}

/// Logits of some rows of the last pass, in the order of `rows`. `[rows][V]`
///
/// With a `need`, those of a single row that it does not ask for may be minus infinity.
pub fn head(
    model: &Model,
    s: &mut Scratch,
    rows: &[usize],
    need: Option<Need>,
    logits: &mut Vec<f32>,
) {
    let (config, pool, output) = (&model.config, &model.pool, &model.weights.output);
    s.timers.begin();
    logits.resize(rows.len() * model.weights.n_vocab(), 0.0);
    if need.is_some() && s.screener.wants(model) {
        let some: Vec<usize> = Screener::pick(s.x.len() / config.n_embd).collect();
        let inputs = head_inputs(model, &s.x, &mut s.normed, &some);
        s.screener.note(model, inputs);
    }
    let inputs = head_inputs(model, &s.x, &mut s.normed, rows); // [rows][E]
    s.acts.fill(pool, inputs, rows.len(), config.n_embd, output.weight.reads());
    match need.filter(|_| rows.len() == 1) {
        Some(need) => s.screener.head(model, &s.acts, need, logits),
        None => linear(pool, &s.acts, &mut [(&output.weight, logits)]),
    }
    output.finish(pool, logits);
    if let Some(cap) = config.final_softcap {
        ops::softcap(pool, logits, cap);
    }
    s.timers.lap(Op::Head);
}

/// Normed rows of `x`, in the order of `rows`.
fn head_inputs<'a>(
    model: &Model,
    x: &[f32],
    normed: &'a mut [f32],
    rows: &[usize],
) -> &'a mut [f32] {
    let embd = model.config.n_embd;
    let normed = &mut normed[..rows.len() * embd];
    for (&row, normed) in rows.iter().zip(normed.chunks_exact_mut(embd)) {
        normed.copy_from_slice(&x[row * embd..][..embd]);
    }
    let norm = &model.weights.output_norm;
    ops::rmsnorm_in_place(&model.pool, normed, norm, model.config.norm_eps);
    normed
}

/// What a mixture reads as it is: the residual stream, normed where the architecture says so.
fn norm_input(model: &Model, s: &mut Scratch, norm: Option<&[f32]>) {
    match norm {
        Some(weight) => {
            ops::rmsnorm(&model.pool, &s.x, weight, model.config.norm_eps, &mut s.normed);
        }
        None => s.normed.copy_from_slice(&s.x),
    } // [M][E]
    s.timers.lap(Op::Enter);
}

/// x += y, with y normed and scaled first where the architecture says so.
fn add_residual(model: &Model, s: &mut Scratch, post_norm: Option<&[f32]>) {
    if let Some(weight) = post_norm {
        ops::rmsnorm_in_place(&model.pool, &mut s.y, weight, model.config.norm_eps);
    }
    if model.config.residual_scale != 1.0 {
        ops::scale(&model.pool, &mut s.y, model.config.residual_scale);
    }
    ops::add(&model.pool, &mut s.x, &s.y);
    s.timers.lap(Op::Residual);
}
