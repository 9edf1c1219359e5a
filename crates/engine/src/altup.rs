//! Layers over several residual streams, of which one is computed in full and the others are
//! predicted and corrected (AltUp, arXiv 2301.13310), with a path of low rank beside attention
//! (LAuReL, arXiv 2411.07501). Source of what is combined how: Gemma 3n's layers in llama.cpp.
//!
//! Letters: M rows of a pass, E = n_embd, N streams; the first stream is the one that is computed.

use std::f32::consts::FRAC_1_SQRT_2;

use hearth_kernels::matmul::{Reads, linear};
use hearth_kernels::ops;
use hearth_kernels::rows::for_rows;

use crate::block::{Chunk, Scratch, feed_forward, mix_tokens};
use crate::model::Model;
use crate::timers::Op;
use crate::weights::{AltUp, AltUpLayer, Layer, Linear};

/// Streams at most.
pub(crate) const MAX_STREAMS: usize = 8;

/// Buffers, kept between passes.
#[derive(Default)]
pub(crate) struct Buffers {
    /// `[M][N][E]`
    streams: Vec<f32>,
    /// What the router says of each row. `[M][N]`
    modes: Vec<f32>,
    low: Vec<f32>,
    laurel: Vec<f32>,
}

/// Makes the streams from the embedding in `s.x`: itself, and projections that are as long.
pub(crate) fn split(model: &Model, altup: &AltUp, s: &mut Scratch) {
    let (pool, embd) = (&model.pool, model.config.n_embd);
    let (rows, streams) = (s.x.len() / embd, altup.proj.len() + 1);
    s.altup.streams.resize(rows * streams * embd, 0.0);
    s.acts.fill(pool, &s.x, rows, embd, reads(&altup.proj));
    let x = &s.x;
    for_rows(pool, &mut s.altup.streams, streams * embd, &|row, streams| {
        streams[..embd].copy_from_slice(&x[row * embd..][..embd]);
    });
    for (index, proj) in altup.proj.iter().enumerate() {
        linear(pool, &s.acts, &mut [(&proj.weight, &mut s.y)]); // [M][E]
        let (x, y) = (&s.x, &s.y);
        for_rows(pool, &mut s.altup.streams, streams * embd, &|row, streams| {
            let (x, y) = (&x[row * embd..][..embd], &y[row * embd..][..embd]);
            let scale = length(x) / length(y).max(f32::MIN_POSITIVE);
            let stream = &mut streams[(index + 1) * embd..][..embd];
            stream.iter_mut().zip(y).for_each(|(stream, y)| *stream = y * scale);
        });
    }
    s.timers.lap(Op::Streams);
}

/// The mean of all streams, each but the first projected back and as long as that, to `s.x`.
pub(crate) fn merge(model: &Model, altup: &AltUp, s: &mut Scratch) {
    let (pool, embd) = (&model.pool, model.config.n_embd);
    let (rows, streams) = (s.x.len() / embd, altup.unembd_proj.len() + 1);
    s.take_stream(model, streams, 0);
    s.normed.copy_from_slice(&s.x);
    for (index, proj) in altup.unembd_proj.iter().enumerate() {
        std::mem::swap(&mut s.x, &mut s.y);
        s.take_stream(model, streams, index + 1);
        s.acts.fill(pool, &s.x, rows, embd, proj.weight.reads());
        std::mem::swap(&mut s.x, &mut s.y);
        linear(pool, &s.acts, &mut [(&proj.weight, &mut s.y)]); // [M][E]
        let (first, y) = (&s.normed, &s.y);
        for_rows(pool, &mut s.x, embd, &|row, x| {
            let (first, y) = (&first[row * embd..][..embd], &y[row * embd..][..embd]);
            let scale = length(first) / length(y).max(f32::MIN_POSITIVE);
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y * scale);
        });
    }
    ops::scale(pool, &mut s.x, (streams as f32).recip());
    s.timers.lap(Op::Streams);
}

/// One layer.
pub(crate) fn layer(
    model: &Model,
    (layer, part): (&Layer, &AltUpLayer),
    index: usize,
    s: &mut Scratch,
    chunks: &mut [Chunk],
) {
    predict(model, part, s);
    begin_laurel(model, layer, part, s);
    mix_tokens(model, layer, index, s, chunks);
    end_laurel(model, layer, part, s);
    feed_forward(model, layer, index, s, false);
    correct(model, part, s);
    if let Some(per_layer) = &layer.per_layer {
        let (pool, embd) = (&model.pool, model.config.n_embd);
        let streams = part.streams();
        let all = &s.altup.streams;
        for_rows(pool, &mut s.normed, embd, &|row, out| {
            let first = &all[row * streams * embd..][..embd];
            let scaled = first.iter().zip(&part.correct_scale).map(|(x, scale)| x * scale);
            out.iter_mut().zip(scaled).for_each(|(out, x)| *out = x);
        });
        let with = (&mut s.acts, &mut s.timers);
        s.per_layer.give(model, (per_layer, index), &s.normed, with, &mut s.y);
        let y = &s.y;
        for_rows(pool, &mut s.altup.streams, streams * embd, &|row, streams| {
            for stream in streams.chunks_exact_mut(embd).skip(1) {
                stream.iter_mut().zip(&y[row * embd..][..embd]).for_each(|(x, y)| *x += y);
            }
        });
        s.timers.lap(Op::Streams);
    }
}

/// Predicts every stream from all, and takes the first to `s.x`.
fn predict(model: &Model, part: &AltUpLayer, s: &mut Scratch) {
    let (pool, embd, streams) = (&model.pool, model.config.n_embd, part.streams());
    s.take_stream(model, streams, 0);
    route(model, part, s);
    let modes = &s.altup.modes;
    for_rows(pool, &mut s.altup.streams, streams * embd, &|row, all| {
        let mut coefs = [[0.0; MAX_STREAMS]; MAX_STREAMS];
        let mode = &modes[row * streams..][..streams];
        for (at, weights) in part.predict_coef.chunks_exact(streams).enumerate() {
            coefs[at / streams][at % streams] = dot(weights, mode);
        }
        for e in 0..embd {
            let mut was = [0.0; MAX_STREAMS];
            (0..streams).for_each(|stream| was[stream] = all[stream * embd + e]);
            for (stream, coefs) in coefs[..streams].iter().enumerate() {
                all[stream * embd + e] += dot(&coefs[..streams], &was[..streams]);
            }
        }
    });
    s.take_stream(model, streams, 0);
    s.timers.lap(Op::Streams);
}

/// Corrects every stream by what the layer, in `s.x`, is off the prediction of the first.
fn correct(model: &Model, part: &AltUpLayer, s: &mut Scratch) {
    let (pool, embd, streams) = (&model.pool, model.config.n_embd, part.streams());
    route(model, part, s);
    let (modes, x) = (&s.altup.modes, &s.x);
    for_rows(pool, &mut s.altup.streams, streams * embd, &|row, all| {
        let mode = &modes[row * streams..][..streams];
        let mut coefs = [0.0; MAX_STREAMS];
        for (coef, weights) in coefs.iter_mut().zip(part.correct_coef.chunks_exact(streams)) {
            *coef = dot(weights, mode) + 1.0;
        }
        for (e, x) in x[row * embd..][..embd].iter().enumerate() {
            let off = x - all[e];
            for (stream, coef) in coefs[..streams].iter().enumerate() {
                all[stream * embd + e] += off * coef;
            }
        }
    });
    s.timers.lap(Op::Streams);
}

/// What the router says of the rows of `s.x`. `[M][E] -> [M][N]`
fn route(model: &Model, part: &AltUpLayer, s: &mut Scratch) {
    let (pool, config) = (&model.pool, &model.config);
    let rows = s.x.len() / config.n_embd;
    s.altup.modes.resize(rows * part.streams(), 0.0);
    ops::rmsnorm(pool, &s.x, &part.router_norm, config.norm_eps, &mut s.normed);
    s.acts.fill(pool, &s.normed, rows, config.n_embd, part.router.weight.reads());
    linear(pool, &s.acts, &mut [(&part.router.weight, &mut s.altup.modes)]);
    s.altup.modes.iter_mut().for_each(|mode| *mode = mode.tanh());
}

/// Norms `s.x` to `s.normed` and to what the mixing of tokens reads, and takes the first step of
/// the path of low rank.
fn begin_laurel(model: &Model, layer: &Layer, part: &AltUpLayer, s: &mut Scratch) {
    let (pool, config) = (&model.pool, &model.config);
    let rows = s.x.len() / config.n_embd;
    match &layer.attn_norm {
        Some(weight) => ops::rmsnorm(pool, &s.x, weight, config.norm_eps, &mut s.normed),
        None => s.normed.copy_from_slice(&s.x),
    }
    let inputs = layer.mix.inputs().into_iter().chain([&part.laurel_l.weight]);
    let reads = s.adapters.reads(Reads::of(inputs));
    s.acts.fill(pool, &s.normed, rows, config.n_embd, reads);
    s.altup.low.resize(rows * part.laurel_l.weight.rows(), 0.0);
    linear(pool, &s.acts, &mut [(&part.laurel_l.weight, &mut s.altup.low)]); // [M][rank]
    s.timers.lap(Op::Enter);
}

/// The second step of that path, and the mean of both paths to `s.x`.
fn end_laurel(model: &Model, layer: &Layer, part: &AltUpLayer, s: &mut Scratch) {
    let (pool, config) = (&model.pool, &model.config);
    let (embd, rank) = (config.n_embd, part.laurel_l.weight.rows());
    let rows = s.x.len() / embd;
    s.altup.laurel.resize(rows * embd, 0.0);
    s.acts.fill(pool, &s.altup.low, rows, rank, part.laurel_r.weight.reads());
    linear(pool, &s.acts, &mut [(&part.laurel_r.weight, &mut s.altup.laurel)]); // [M][E]
    ops::rmsnorm_in_place(pool, &mut s.altup.laurel, &part.laurel_post_norm, config.norm_eps);
    if let Some(weight) = &layer.post_attention_norm {
        ops::rmsnorm_in_place(pool, &mut s.y, weight, config.norm_eps);
    }
    let (y, laurel, normed) = (&s.y, &s.altup.laurel, &s.normed);
    for_rows(pool, &mut s.x, embd, &|row, x| {
        for (e, x) in x.iter_mut().enumerate() {
            let at = row * embd + e;
            *x = ((*x + y[at]) + (laurel[at] + normed[at])) * FRAC_1_SQRT_2;
        }
    });
    s.timers.lap(Op::Streams);
}

impl Scratch {
    /// Copies one of the streams to `x`.
    fn take_stream(&mut self, model: &Model, streams: usize, index: usize) {
        let (embd, all) = (model.config.n_embd, &self.altup.streams);
        for_rows(&model.pool, &mut self.x, embd, &|row, x| {
            x.copy_from_slice(&all[(row * streams + index) * embd..][..embd]);
        });
    }
}

fn reads(all: &[Linear]) -> Reads {
    Reads::of(all.iter().map(|one| &one.weight))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Euclidean length.
fn length(row: &[f32]) -> f32 {
    row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() as f32
}
