//! Embeddings that every token has for each layer, in models whose tables lie outside the layers:
//! a layer opens a gate for its own and adds what comes of it. Rows of the table are read from the
//! file's map as tokens come, so a large table costs little memory.
//!
//! Letters: M rows of a pass, E = n_embd, P = the width of such an embedding, L layers.

use std::f32::consts::FRAC_1_SQRT_2;

use hearth_kernels::matmul::{Acts, linear};
use hearth_kernels::ops;
use hearth_kernels::rows::for_rows;

use crate::model::Model;
use crate::timers::{Op, Timers};
use crate::weights::PerLayer;

/// Buffers, kept between passes.
#[derive(Default)]
pub(crate) struct Buffers {
    /// What each layer gets. `[L][M][P]`
    inputs: Vec<f32>,
    stored: Vec<f32>,
    projected: Vec<f32>,
    gate: Vec<f32>,
}

impl Buffers {
    /// What all layers get for these tokens: a row of the table and a projection of the embedding
    /// `x`, normed, in equal parts. `[M][E] -> [L][M][P]`
    pub(crate) fn prepare(&mut self, model: &Model, tokens: &[u32], x: &[f32], acts: &mut Acts) {
        let Some(table) = &model.weights.per_layer else { return };
        let (pool, config, rows) = (&model.pool, &model.config, tokens.len());
        let (width, all) = (table.norm.len(), table.norm.len() * config.n_layer);
        self.stored.resize(rows * all, 0.0);
        self.projected.resize(rows * all, 0.0);
        self.inputs.resize(rows * all, 0.0);
        for_rows(pool, &mut self.stored, all, &|row, stored| {
            table.rows.read(tokens[row] as usize, stored);
        });
        acts.fill(pool, x, rows, config.n_embd, table.proj.weight.reads());
        linear(pool, acts, &mut [(&table.proj.weight, &mut self.projected)]); // [M][L P]
        table.proj.finish(pool, &mut self.projected);
        ops::scale(pool, &mut self.projected, (config.n_embd as f32).sqrt().recip());
        ops::rmsnorm_in_place(pool, &mut self.projected, &table.norm, config.norm_eps);
        let (stored, projected, scale) = (&self.stored, &self.projected, (width as f32).sqrt());
        for_rows(pool, &mut self.inputs, width, &|at, input| {
            let from = at % rows * all + at / rows * width;
            let (stored, projected) = (&stored[from..][..width], &projected[from..][..width]);
            for (input, (stored, projected)) in input.iter_mut().zip(stored.iter().zip(projected)) {
                *input = (projected + stored * scale) * FRAC_1_SQRT_2;
            }
        });
    }

    /// What a layer adds for the rows `x`, normed. `[M][E] -> [M][E]`
    pub(crate) fn give(
        &mut self,
        model: &Model,
        (part, index): (&PerLayer, usize),
        x: &[f32],
        (acts, timers): (&mut Acts, &mut Timers),
        y: &mut [f32],
    ) {
        let (pool, config) = (&model.pool, &model.config);
        let (rows, width) = (x.len() / config.n_embd, part.inp_gate.weight.rows());
        self.gate.resize(rows * width, 0.0);
        acts.fill(pool, x, rows, config.n_embd, part.inp_gate.weight.reads());
        linear(pool, acts, &mut [(&part.inp_gate.weight, &mut self.gate)]); // [M][P]
        part.inp_gate.finish(pool, &mut self.gate);
        let input = &self.inputs[index * rows * width..][..rows * width];
        let reads = part.proj.weight.reads();
        acts.fill_gated(pool, config.gate, (&self.gate, input), (rows, width), reads);
        linear(pool, acts, &mut [(&part.proj.weight, y)]); // [M][E]
        part.proj.finish(pool, y);
        ops::rmsnorm_in_place(pool, y, &part.post_norm, config.norm_eps);
        timers.lap(Op::PerLayer);
    }
}
