//! The transformer layer, on two screens: what a decoder does to a few rows of tokens. All that
//! differs between architectures comes from `Config`; the arithmetic is in `hearth_kernels`.
//!
//! Shapes at line ends: M rows of this pass, E = n_embd, Q and K the widths of a layer's heads of
//! queries and of keys, V = n_vocab. A pass may hold rows of several sequences.
//! Every row's result is the same bytes whatever its company, the chunking and the threads.

use hearth_kernels::attention::{AttnJob, AttnShape, attention};
use hearth_kernels::matmul::{Acts, Added, Need, Reads, Stream, linear};
use hearth_kernels::ops;
use hearth_kernels::rows::for_rows;

use crate::adapter::{Active, Applied, Target};
use crate::altup;
use crate::arch::QkNorm;
use crate::ffn;
use crate::kv::KvCache;
use crate::model::Model;
use crate::per_layer;
use crate::rope::{Rope, RopeTable};
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
    /// What the sequence goes through besides the model.
    pub adapters: &'a [Active],
}

/// Buffers of a pass, kept between passes so that none is allocated on the token path.
#[derive(Default)]
pub struct Scratch {
    pub(crate) x: Vec<f32>,
    pub(crate) normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    heads: Vec<f32>,
    pub(crate) y: Vec<f32>,
    ffn: ffn::Buffers,
    conv: short_conv::Buffers,
    pub(crate) per_layer: per_layer::Buffers,
    pub(crate) altup: altup::Buffers,
    pub(crate) acts: Acts,
    pub(crate) adapters: Applied,
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
    scratch.adapters.begin(chunks);
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
    scratch.per_layer.prepare(model, &tokens, &scratch.x, &mut scratch.acts);
    scratch.timers.lap(Op::PerLayer);
    if let Some(altup) = &model.weights.altup {
        altup::split(model, altup, scratch);
    }
    for (index, layer) in model.weights.blk.iter().enumerate() {
        match &layer.altup {
            None => {
                mix(model, layer, index, scratch, chunks);
                feed_forward(model, layer, index, scratch, true);
                finish(model, layer, index, scratch);
            }
            Some(part) => altup::layer(model, (layer, part), index, scratch, chunks),
        }
        if model.pool.stopped() {
            return Err(Stopped);
        }
    }
    if let Some(altup) = &model.weights.altup {
        altup::merge(model, altup, scratch);
    }
    Ok(())
}

/// What some models do at the end of a layer.
fn finish(model: &Model, layer: &Layer, index: usize, s: &mut Scratch) {
    if let Some(part) = &layer.per_layer {
        s.per_layer.give(model, (part, index), &s.x, (&mut s.acts, &mut s.timers), &mut s.y);
        ops::add(&model.pool, &mut s.x, &s.y);
        s.timers.lap(Op::Residual);
    }
    if let Some(factor) = layer.output_scale {
        ops::scale(&model.pool, &mut s.x, factor);
    }
}

/// What mixes the tokens, with the norm before it; what it gives stays in `s.y`.
fn mix(model: &Model, layer: &Layer, index: usize, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &*model.pool);
    let (rows, embd) = (s.x.len() / config.n_embd, config.n_embd);
    let norm = layer.attn_norm.as_deref();
    let stream = Stream { x: &mut s.x, added: None, norm, eps: config.norm_eps };
    let reads = s.adapters.reads(Reads::of(layer.mix.inputs()));
    s.acts.fill_stream(pool, stream, rows, embd, reads); // [M][E]
    s.timers.lap(Op::Enter);
    mix_tokens(model, layer, index, s, chunks);
}

/// The same of the rows in `s.acts`.
pub(crate) fn mix_tokens(
    model: &Model,
    layer: &Layer,
    index: usize,
    s: &mut Scratch,
    chunks: &mut [Chunk],
) {
    match &layer.mix {
        Mix::Attention(part) => attend(model, part, index, s, chunks),
        Mix::ShortConv(part) => {
            let (pool, n_embd) = (&*model.pool, model.config.n_embd);
            let (acts, timers) = (&mut s.acts, &mut s.timers);
            let mut pass = short_conv::Pass { pool, layer: index, n_embd, acts, timers };
            pass.run(part, &mut s.conv, chunks, &mut s.y);
        }
    }
}

/// Attention.
fn attend(model: &Model, layer: &Attention, index: usize, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &model.pool);
    let (heads, rows) = (config.heads_of(index), s.x.len() / config.n_embd);
    project(model, layer, index, s);
    s.timers.lap(Op::Qkv);
    let angles = match config.windowed[index] {
        true => (&model.weights.rope_windowed, &s.rope_windowed),
        false => (&model.weights.rope, &s.rope),
    };
    turn(model, index, angles, &mut s.q, layer.attn_q_norm.as_deref());
    if let Some(own) = &layer.own {
        turn(model, index, angles, &mut s.k, own.attn_k_norm.as_deref());
        if let Some(weight) = &own.attn_v_norm {
            ops::rmsnorm_in_place(pool, &mut s.v, weight, config.norm_eps);
        }
    }
    if let Some(growth) = config.temperature_of(index) {
        for (position, q) in s.positions.iter().zip(s.q.chunks_exact_mut(heads.q_dim())) {
            let factor = growth.factor(*position);
            q.iter_mut().for_each(|q| *q *= factor);
        }
    }
    s.timers.lap(Op::Rope);
    look_back(model, index, layer.own.is_some(), s, chunks);
    let reads = s.adapters.reads(layer.attn_output.weight.reads());
    s.acts.fill(pool, &s.heads, rows, heads.q_dim(), reads);
    s.timers.lap(Op::Quantize);
    linear(pool, &s.acts, &mut [(&layer.attn_output.weight, &mut s.y)]); // [M][E]
    s.adapters.add(pool, (index, Target::Output), &s.acts, &mut s.y);
    layer.attn_output.finish(pool, &mut s.y);
    s.timers.lap(Op::AttnOutput);
}

/// Queries, and the layer's own keys and values. `[M][E] -> [M][Q], [M][K], [M][K]`
fn project(model: &Model, layer: &Attention, index: usize, s: &mut Scratch) {
    let (pool, rows) = (&model.pool, s.acts.rows());
    let heads = model.config.heads_of(index);
    s.q.resize(rows * heads.q_dim(), 0.0);
    s.heads.resize(rows * heads.q_dim(), 0.0);
    let q = (&layer.attn_q.weight, &mut s.q[..]);
    match &layer.own {
        None => linear(pool, &s.acts, &mut [q]),
        Some(own) => {
            s.k.resize(rows * heads.kv_dim(), 0.0);
            s.v.resize(rows * heads.kv_dim(), 0.0);
            let k = (&own.attn_k.weight, &mut s.k[..]);
            match &own.attn_v {
                Some(attn_v) => {
                    linear(pool, &s.acts, &mut [q, k, (&attn_v.weight, &mut s.v)]);
                    s.adapters.add(pool, (index, Target::V), &s.acts, &mut s.v);
                    attn_v.finish(pool, &mut s.v);
                }
                None => linear(pool, &s.acts, &mut [q, k]),
            }
            s.adapters.add(pool, (index, Target::K), &s.acts, &mut s.k);
            own.attn_k.finish(pool, &mut s.k);
            if own.attn_v.is_none() {
                s.v.copy_from_slice(&s.k);
            }
        }
    }
    s.adapters.add(pool, (index, Target::Q), &s.acts, &mut s.q);
    layer.attn_q.finish(pool, &mut s.q);
}

/// Norms queries or keys, and turns them by their positions.
fn turn(
    model: &Model,
    index: usize,
    (rope, table): (&Rope, &RopeTable),
    heads: &mut [f32],
    norm: Option<&[f32]>,
) {
    let (config, pool) = (&model.config, &model.pool);
    let (before, after) = match config.qk_norm {
        QkNorm::Turned => (None, norm),
        QkNorm::None | QkNorm::Heads | QkNorm::Rows => (norm, None),
    };
    if let Some(weight) = before {
        ops::rmsnorm_in_place(pool, heads, weight, config.norm_eps);
    }
    if !config.rotary[index] {
        return;
    }
    let (dim, rows) = (config.heads_of(index).dim, table.cos.len() / (rope.dims / 2).max(1));
    ops::rope(pool, rope.style, heads, dim, rows, (&table.cos, &table.sin));
    if let Some(weight) = after {
        ops::rmsnorm_in_place(pool, heads, weight, config.norm_eps);
    }
}

/// Appends the layer's own keys and values to the caches, and lets every row see what it may.
fn look_back(model: &Model, index: usize, owns: bool, s: &mut Scratch, chunks: &mut [Chunk]) {
    let (config, pool) = (&model.config, &model.pool);
    let (heads, store) = (config.heads_of(index), config.kv_of(index));
    let rotated = chunks.first().is_some_and(|chunk| chunk.kv.layer(store).ty().wants_rotation());
    if rotated {
        let own: [&mut [f32]; 2] = if owns { [&mut s.k, &mut s.v] } else { Default::default() };
        for part in own.into_iter().chain([&mut s.q[..]]) {
            ops::rotate(pool, part, heads.dim);
        }
    }
    let (mut first_row, kv_dim) = (0, heads.kv_dim());
    for chunk in chunks.iter_mut().filter(|_| owns) {
        let n = chunk.tokens.len();
        let span = first_row * kv_dim..(first_row + n) * kv_dim;
        chunk.kv.layer_mut(store).append(pool, &s.k[span.clone()], &s.v[span], n);
        first_row += n;
    }
    s.timers.lap(Op::Append);
    let shape = AttnShape {
        heads: heads.count,
        kv_heads: heads.kv,
        head_dim: heads.dim,
        scale: config.attn_scale,
        window: config.window_of(index),
        both_ways: false,
        softcap: config.attn_softcap,
    };
    let mut first_row = 0;
    let jobs: Vec<AttnJob> = chunks
        .iter()
        .map(|chunk| {
            let (rows, kv) = (chunk.tokens.len(), chunk.kv.layer(store));
            first_row += rows;
            AttnJob { first_row: first_row - rows, rows, pos0: kv.len() - rows, kv }
        })
        .collect();
    attention(pool, &shape, &s.q, &jobs, &mut s.heads); // [M][Q]
    if rotated {
        ops::rotate(pool, &mut s.heads, heads.dim);
    }
    s.timers.lap(Op::Attention);
}

/// The feed-forward part with its norms and its sum; what `s.y` holds is added to the residual
/// stream first if `add`.
pub(crate) fn feed_forward(model: &Model, layer: &Layer, index: usize, s: &mut Scratch, add: bool) {
    let (config, pool) = (&model.config, &model.pool);
    let (rows, embd) = (s.x.len() / config.n_embd, config.n_embd);
    let (norm, post_norm) = (layer.ffn_norm.as_deref(), layer.post_attention_norm.as_deref());
    if let Ffn::Dense(part) = &layer.ffn {
        let added = Added { y: &s.y, norm: post_norm, scale: config.residual_scale };
        let added = add.then_some(added);
        let stream = Stream { x: &mut s.x, added, norm, eps: config.norm_eps };
        s.acts.fill_stream(pool, stream, rows, embd, s.adapters.reads(part.reads())); // [M][E]
        s.timers.lap(Op::Enter);
    } else {
        if add {
            add_residual(model, s, post_norm);
        }
        norm_input(model, s, norm);
    }
    let mut pass = ffn::Pass {
        pool,
        gate: config.gate,
        n_embd: embd,
        cutoff: config.cutoff_of(index),
        eps: config.norm_eps,
        acts: &mut s.acts,
        timers: &mut s.timers,
    };
    match &layer.ffn {
        Ffn::Dense(part) => pass.gated(part, (index, &mut s.adapters), &mut s.ffn, &mut s.y),
        Ffn::Mixture(mixture) => pass.mixture(mixture, &mut s.ffn, (&s.x, &s.normed), &mut s.y),
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
