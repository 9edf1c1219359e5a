//! The feed-forward part in plain loops: one for all tokens, or a mixture of experts.

use super::reader::Reader;
use super::{add, dot, matmul, norm, softmax};
use crate::arch::{Config, Experts, Gate, Gating};
use crate::error::ModelError;

/// `[T][E] -> [T][E]`
///
/// `x` is what comes out of the norm before it, `stream` what went in.
pub(super) fn feed_forward(
    config: &Config,
    layer: usize,
    reader: &Reader,
    (stream, x): (&[f32], &[f32]),
) -> Result<Vec<f32>, ModelError> {
    match config.experts_of(layer) {
        Some(experts) if experts.beside_dense => {
            beside_dense(config, experts, layer, reader, (stream, x))
        }
        Some(experts) => mixture(config, experts, layer, reader, (x, x)),
        None => dense(config, layer, reader, x),
    }
}

/// down(act(gate(x)) * up(x)). `[T][E] -> [T][E]`
fn dense(
    config: &Config,
    layer: usize,
    reader: &Reader,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let ff = config.n_ff[layer];
    let (mut gate, up) = match reader.gguf.tensor(&format!("blk.{layer}.ffn_gate.weight")) {
        Some(_) => (
            product(config, layer, reader, "ffn_gate", x)?,
            product(config, layer, reader, "ffn_up", x)?,
        ),
        None => {
            let both = product(config, layer, reader, "ffn_up", x)?;
            let half = |from: usize| {
                let rows = both.chunks_exact(2 * ff);
                rows.flat_map(|row| &row[from..from + ff]).copied().collect()
            };
            (half(0), half(ff))
        }
    }; // [T][F]
    if let Some(deviations) = config.cutoff_of(layer) {
        gate.chunks_exact_mut(ff).for_each(|row| cut_off(row, deviations));
    }
    gated(config.gate, &mut gate, &up);
    product(config, layer, reader, "ffn_down", &gate)
}

/// Gates as far as they exceed the mean by so many standard deviations.
fn cut_off(row: &mut [f32], deviations: f32) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / (count - 1.0);
    row.iter_mut().for_each(|x| *x = (*x - mean - deviations * variance.sqrt()).max(0.0));
}

/// A product whose bias comes first and whose scale may not count.
fn product(
    config: &Config,
    layer: usize,
    reader: &Reader,
    part: &str,
    x: &[f32],
) -> Result<Vec<f32>, ModelError> {
    let cols = if part == "ffn_down" { config.n_ff[layer] } else { config.n_embd };
    let (mut out, scale, bias) = reader.product(layer, part, x, cols)?;
    bias.iter().for_each(|bias| out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)));
    if config.ffn_scale {
        out.iter_mut().for_each(|value| *value *= scale);
    }
    Ok(out)
}

/// Every token by itself: its scores, its experts in turn, the expert for all.
fn mixture(
    config: &Config,
    experts: &Experts,
    layer: usize,
    reader: &Reader,
    (routed, x): (&[f32], &[f32]),
) -> Result<Vec<f32>, ModelError> {
    let read = |part: &str| reader.tensor(&format!("blk.{layer}.{part}"));
    let scales = |part: &str| reader.optional(&format!("blk.{layer}.{part}.scale"));
    let (embd, ff, count) = (config.n_embd, experts.n_ff, experts.count);
    let router = read("ffn_gate_inp.weight")?;
    let parts = ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"];
    let (gates, ups) = match read("ffn_gate_up_exps.weight") {
        Err(_) => (read("ffn_gate_exps.weight")?, read("ffn_up_exps.weight")?),
        Ok(both) => {
            let half = |at| both.chunks_exact(ff * embd).skip(at).step_by(2).flatten().copied();
            (half(0).collect::<Vec<f32>>(), half(1).collect())
        }
    };
    let downs = read("ffn_down_exps.weight")?;
    let scales = parts
        .map(|part| scales(part).filter(|_| config.ffn_scale).unwrap_or_else(|| vec![1.0; count]));
    let one = |expert: usize, x: &[f32]| {
        let at = expert * embd * ff..(expert + 1) * embd * ff;
        let times = |x: &[f32], all: &[f32], cols: usize, scale: f32| {
            let product = matmul(x, &all[at.clone()], cols);
            product.into_iter().map(|value| value * scale).collect::<Vec<f32>>()
        };
        let mut gate = times(x, &gates, embd, scales[0][expert]);
        gated(config.gate, &mut gate, &times(x, &ups, embd, scales[1][expert]));
        times(&gate, &downs, ff, scales[2][expert])
    };
    let mut out = Vec::with_capacity(x.len());
    for (routed, x) in routed.chunks_exact(embd).zip(x.chunks_exact(embd)) {
        let mut y = vec![0.0; embd];
        for (expert, weight) in chosen(experts, &matmul(routed, &router, embd)) {
            let (before, after) = if experts.weigh_input { (weight, 1.0) } else { (1.0, weight) };
            let weighed: Vec<f32> = x.iter().map(|x| x * before).collect();
            let given = one(expert, &weighed);
            y.iter_mut().zip(&given).for_each(|(y, given)| *y += given * after);
        }
        if experts.n_ff_shared > 0 {
            let mut gate = matmul(x, &read("ffn_gate_shexp.weight")?, embd);
            gated(config.gate, &mut gate, &matmul(x, &read("ffn_up_shexp.weight")?, embd));
            let given = matmul(&gate, &read("ffn_down_shexp.weight")?, experts.n_ff_shared);
            let open = match experts.shared_gate {
                true => sigmoid(dot(x, &read("ffn_gate_inp_shexp.weight")?)),
                false => 1.0,
            };
            y.iter_mut().zip(&given).for_each(|(y, given)| *y += given * open);
        }
        out.extend(y);
    }
    Ok(out)
}

/// Experts beside the usual feed-forward part, each with norms of its own.
fn beside_dense(
    config: &Config,
    experts: &Experts,
    layer: usize,
    reader: &Reader,
    (stream, x): (&[f32], &[f32]),
) -> Result<Vec<f32>, ModelError> {
    let read = |part: &str| reader.tensor(&format!("blk.{layer}.{part}"));
    let normed = |x: &[f32], part: &str| Ok::<_, ModelError>(norm(x, &read(part)?, config));
    let mut routed = normed(stream, "ffn_gate_inp.scale")?;
    routed.iter_mut().for_each(|value| *value /= (config.n_embd as f32).sqrt());
    let input = normed(stream, "pre_ffw_norm_2.weight")?;
    let given = mixture(config, experts, layer, reader, (&routed, &input))?;
    let mut y = normed(&dense(config, layer, reader, x)?, "post_ffw_norm_1.weight")?;
    add(&mut y, &normed(&given, "post_ffw_norm_2.weight")?);
    Ok(y)
}

/// A token's experts with their weights, the best first.
fn chosen(experts: &Experts, scores: &[f32]) -> Vec<(usize, f32)> {
    let weights = match experts.gating {
        Gating::Softmax => softmax(scores),
        Gating::Sigmoid => scores.iter().copied().map(sigmoid).collect(),
    };
    let mut all: Vec<(usize, f32)> = weights.into_iter().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(experts.used);
    let sum: f32 = all.iter().map(|(_, weight)| weight).sum();
    let scale = if experts.normalise { experts.scale / sum } else { experts.scale };
    all.into_iter().map(|(expert, weight)| (expert, weight * scale)).collect()
}

fn gated(kind: Gate, gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = up * activate(kind, *gate);
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn activate(kind: Gate, x: f32) -> f32 {
    match kind {
        Gate::Silu => x * sigmoid(x),
        Gate::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}
