//! The feed-forward part of a layer: one for all tokens, or a mixture of experts.
//!
//! Rows that go to the same expert are gathered and multiplied together. A row's experts add up in
//! the order of their numbers, so its result is the same bytes whatever its company.

use hearth_kernels::matmul::{Acts, Gate, linear};
use hearth_kernels::ops;
use hearth_kernels::pool::Pool;
use hearth_kernels::rows::for_rows;

use crate::adapter::{Applied, Target};
use crate::arch::{Experts, Gating};
use crate::timers::{Op, Timers};
use crate::weights::{Gated, Mixture};

/// Least sum that weights are divided by, as in llama.cpp: the smallest normal half.
const LEAST_SUM: f32 = 6.103_515_6e-5;

/// Buffers, kept between passes. M rows of a pass, R of them for one expert, X experts.
#[derive(Default)]
pub(crate) struct Buffers {
    gated: Gates,
    scores: Vec<f32>,
    picks: Vec<Pick>,
    gathered: Vec<f32>,
    given: Vec<f32>,
    routed: Vec<f32>,
    fed: Vec<f32>,
}

/// What one gated part works on. F is its width.
#[derive(Default)]
struct Gates {
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// One row goes to one expert.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pick {
    expert: usize,
    row: usize,
    weight: f32,
}

/// What a feed-forward part works with besides its weights.
pub(crate) struct Pass<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) gate: Gate,
    pub(crate) n_embd: usize,
    /// Of norms.
    pub(crate) eps: f32,
    /// Gates open this many deviations above the mean.
    pub(crate) cutoff: Option<f32>,
    pub(crate) acts: &'a mut Acts,
    pub(crate) timers: &'a mut Timers,
}

impl Pass<'_> {
    /// down(gate(x) * up(x)) of the rows in `acts`. `[R][E] -> [R][E]`
    pub(crate) fn gated(
        &mut self,
        part: &Gated,
        (layer, adapters): (usize, &mut Applied),
        buffers: &mut Buffers,
        out: &mut [f32],
    ) {
        self.multiply(part, Some((layer, adapters)), &mut buffers.gated, out);
    }

    fn multiply(
        &mut self,
        part: &Gated,
        mut adapters: Option<(usize, &mut Applied)>,
        Gates { gate, up }: &mut Gates,
        out: &mut [f32],
    ) {
        let (pool, rows, ff) = (self.pool, self.acts.rows(), part.gate.weight.rows());
        gate.resize(rows * ff, 0.0);
        up.resize(rows * ff, 0.0);
        linear(pool, self.acts, &mut [(&part.gate.weight, gate), (&part.up.weight, up)]); // [R][F]
        if let Some((layer, adapters)) = &mut adapters {
            adapters.add(pool, (*layer, Target::Gate), self.acts, gate);
            adapters.add(pool, (*layer, Target::Up), self.acts, up);
        }
        self.timers.lap(Op::GateUp);
        part.gate.finish(pool, gate);
        part.up.finish(pool, up);
        if let Some(deviations) = self.cutoff {
            for_rows(pool, gate, ff, &|_, row| cut_off(row, deviations));
        }
        let mut reads = part.down.weight.reads();
        if let Some((_, adapters)) = &adapters {
            reads = adapters.reads(reads);
        }
        self.acts.fill_gated(pool, self.gate, (gate, up), (rows, ff), reads);
        self.timers.lap(Op::Activation);
        linear(pool, self.acts, &mut [(&part.down.weight, out)]); // [R][E]
        if let Some((layer, adapters)) = adapters {
            adapters.add(pool, (layer, Target::Down), self.acts, out);
        }
        part.down.finish(pool, out);
        self.timers.lap(Op::Down);
    }

    /// As [`Pass::gated`], of the rows of `x`.
    fn gated_rows(&mut self, part: &Gated, gates: &mut Gates, x: &[f32], out: &mut [f32]) {
        self.acts.fill(self.pool, x, x.len() / self.n_embd, self.n_embd, part.reads());
        self.timers.lap(Op::Enter);
        self.multiply(part, None, gates, out);
    }

    /// Of the stream and its normed rows. `[M][E] -> [M][E]`
    pub(crate) fn mixture(
        &mut self,
        mixture: &Mixture,
        buffers: &mut Buffers,
        (stream, shared_input): (&[f32], &[f32]),
        out: &mut [f32],
    ) {
        let Buffers { gated, scores, picks, gathered, given, routed, fed } = buffers;
        let (embd, rows) = (self.n_embd, stream.len() / self.n_embd);
        let (routed, input) = match &mixture.norms {
            None => (shared_input, shared_input),
            Some(norms) => {
                for (buffer, weight) in [(&mut *routed, &norms.router), (&mut *fed, &norms.experts)]
                {
                    buffer.resize(stream.len(), 0.0);
                    ops::rmsnorm(self.pool, stream, weight, self.eps, buffer);
                }
                (&routed[..], &fed[..])
            }
        };
        let experts = &mixture.rule;
        scores.resize(rows * experts.count, 0.0);
        self.acts.fill(self.pool, routed, rows, embd, mixture.router.weight.reads());
        linear(self.pool, self.acts, &mut [(&mixture.router.weight, scores)]); // [M][X]
        mixture.router.finish(self.pool, scores);
        picks.clear();
        for (row, scores) in scores.chunks_exact_mut(experts.count).enumerate() {
            choose(experts, row, scores, picks);
        }
        picks.sort_unstable_by_key(|pick| (pick.expert, pick.row));
        self.timers.lap(Op::GateUp);
        out.fill(0.0);
        for picks in picks.chunk_by(|a, b| a.expert == b.expert) {
            gathered.clear();
            for pick in picks {
                let weight = if experts.weigh_input { pick.weight } else { 1.0 };
                gathered.extend(input[pick.row * embd..][..embd].iter().map(|x| x * weight));
            }
            given.resize(gathered.len(), 0.0);
            self.gated_rows(&mixture.experts[picks[0].expert], gated, gathered, given);
            for (pick, given) in picks.iter().zip(given.chunks_exact(embd)) {
                let weight = if experts.weigh_input { 1.0 } else { pick.weight };
                add(&mut out[pick.row * embd..][..embd], given, weight);
            }
        }
        if let Some(norms) = &mixture.norms {
            ops::rmsnorm_in_place(self.pool, out, &norms.after_experts, self.eps);
        }
        if let Some(shared) = &mixture.shared {
            given.resize(rows * embd, 0.0);
            self.gated_rows(shared, gated, shared_input, given);
            self.gate_shared(mixture, scores, shared_input, given);
            if let Some(norms) = &mixture.norms {
                ops::rmsnorm_in_place(self.pool, given, &norms.after_shared, self.eps);
            }
            out.iter_mut().zip(&*given).for_each(|(out, given)| *out += given);
        }
        self.timers.lap(Op::Down);
    }

    /// Multiplies what the expert for all tokens gave with the sigmoid of its score.
    fn gate_shared(
        &mut self,
        mixture: &Mixture,
        scores: &mut Vec<f32>,
        input: &[f32],
        given: &mut [f32],
    ) {
        let Some(gate) = &mixture.shared_gate else { return };
        let rows = input.len() / self.n_embd;
        scores.resize(rows, 0.0);
        self.acts.fill(self.pool, input, rows, self.n_embd, gate.weight.reads());
        linear(self.pool, self.acts, &mut [(&gate.weight, scores)]); // [M][1]
        gate.finish(self.pool, scores);
        for (score, given) in scores.iter().zip(given.chunks_exact_mut(self.n_embd)) {
            given.iter_mut().for_each(|given| *given *= sigmoid(*score));
        }
    }
}

/// Takes the mean and `deviations` standard deviations from a row, and what is below 0 then.
fn cut_off(row: &mut [f32], deviations: f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    let limit = (mean + f64::from(deviations) * (squares / (count - 1.0)).sqrt()) as f32;
    row.iter_mut().for_each(|x| *x = (*x - limit).max(0.0));
}

/// Turns a row's scores into weights, and adds the experts it goes to.
fn choose(experts: &Experts, row: usize, scores: &mut [f32], picks: &mut Vec<Pick>) {
    match experts.gating {
        Gating::Sigmoid => scores.iter_mut().for_each(|score| *score = sigmoid(*score)),
        Gating::Softmax => {
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - max).exp());
            let sum: f32 = scores.iter().sum();
            scores.iter_mut().for_each(|score| *score /= sum);
        }
    }
    let first = picks.len();
    let weighed = scores.iter().enumerate();
    picks.extend(weighed.map(|(expert, &weight)| Pick { expert, row, weight }));
    let better = |a: &Pick, b: &Pick| b.weight.total_cmp(&a.weight).then(a.expert.cmp(&b.expert));
    picks[first..].sort_unstable_by(better);
    picks.truncate(first + experts.used);
    let chosen = &mut picks[first..];
    let sum: f32 = chosen.iter().map(|pick| pick.weight).sum();
    let scale = if experts.normalise { experts.scale / sum.max(LEAST_SUM) } else { experts.scale };
    chosen.iter_mut().for_each(|pick| pick.weight *= scale);
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn add(out: &mut [f32], given: &[f32], weight: f32) {
    out.iter_mut().zip(given).for_each(|(out, given)| *out += weight * given);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experts(used: usize, gating: Gating, normalise: bool) -> Experts {
        Experts {
            count: 4,
            used,
            n_ff: 1,
            n_ff_shared: 0,
            shared_gate: false,
            gating,
            normalise,
            scale: 2.0,
            weigh_input: false,
            beside_dense: false,
            layers: vec![true],
        }
    }

    fn chosen(experts: &Experts, scores: &[f32]) -> Vec<(usize, f32)> {
        let mut picks = vec![Pick { expert: 9, row: 0, weight: 9.0 }];
        choose(experts, 1, &mut scores.to_vec(), &mut picks);
        assert_eq!(picks[0], Pick { expert: 9, row: 0, weight: 9.0 });
        assert!(picks[1..].iter().all(|pick| pick.row == 1));
        picks[1..].iter().map(|pick| (pick.expert, pick.weight)).collect()
    }

    #[test]
    fn the_best_experts_are_chosen_and_weighed() {
        let scores = [0.0, 2f32.ln(), 5f32.ln(), 0.0];
        let close = |found: Vec<(usize, f32)>, expected: &[(usize, f32)]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-6, "{found:?}");
            }
        };
        let softmax = |normalise| experts(2, Gating::Softmax, normalise);
        close(chosen(&softmax(false), &scores), &[(2, 10.0 / 9.0), (1, 4.0 / 9.0)]);
        close(chosen(&softmax(true), &scores), &[(2, 10.0 / 7.0), (1, 4.0 / 7.0)]);
        close(chosen(&experts(1, Gating::Sigmoid, false), &scores), &[(2, 5.0 / 3.0)]);
    }

    #[test]
    fn of_equal_experts_the_first_are_chosen_and_nothing_is_divided_by_zero() {
        let all = chosen(&experts(3, Gating::Sigmoid, true), &[f32::NEG_INFINITY; 4]);
        assert_eq!(all, [(0, 0.0), (1, 0.0), (2, 0.0)]);
    }
}
