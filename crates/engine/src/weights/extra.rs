//! What some models have beside the usual tensors: embeddings for each layer, and several residual
//! streams.

use hearth_kernels::matmul::Weight;

use super::load::Loader;
use super::{Linear, MappedRows, Order};
use crate::arch::{Config, Streams};
use crate::error::ModelError;

/// Embeddings that tokens have for each layer, see `per_layer.rs`. P is the width of one.
pub struct PerLayerTable {
    /// One for each layer in a row. `[n_vocab][L P]`
    pub rows: MappedRows,
    /// What the embedding adds to it. `[L P][E]`
    pub proj: Linear,
    /// Norm of that, layer by layer. `[P]`
    pub norm: Vec<f32>,
}

/// What a layer makes of its embedding.
pub struct PerLayer {
    /// `[P][E]`
    pub inp_gate: Linear,
    /// `[E][P]`
    pub proj: Linear,
    /// `[E]`
    pub post_norm: Vec<f32>,
}

/// How the embedding becomes several streams, and the streams one again; see `altup.rs`.
pub struct AltUp {
    /// For each stream but the first. `[E][E]`
    pub proj: Vec<Linear>,
    /// The same at the end. `[E][E]`
    pub unembd_proj: Vec<Linear>,
}

/// What a layer does with its streams, N of them.
pub struct AltUpLayer {
    /// `[N][E]`
    pub router: Linear,
    /// Weights of the norm before it, divided by E. `[E]`
    pub router_norm: Vec<f32>,
    /// `[N N][N]`
    pub predict_coef: Vec<f32>,
    /// `[N][N]`
    pub correct_coef: Vec<f32>,
    /// `[E]`
    pub correct_scale: Vec<f32>,
    /// `[rank][E]`
    pub laurel_l: Linear,
    /// `[E][rank]`
    pub laurel_r: Linear,
    /// `[E]`
    pub laurel_post_norm: Vec<f32>,
}

impl AltUpLayer {
    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.router.weight.rows()
    }

    /// Its matrices.
    pub(super) fn matrices(&self) -> [&Weight; 3] {
        [&self.router, &self.laurel_l, &self.laurel_r].map(|one| &one.weight)
    }
}

impl Loader<'_> {
    pub(super) fn per_layer_table(
        &mut self,
        config: &Config,
        n_vocab: usize,
    ) -> Result<Option<PerLayerTable>, ModelError> {
        let Some(width) = config.per_layer else { return Ok(None) };
        let (all, order) = (width * config.n_layer, Order::ScaleFirst);
        Ok(Some(PerLayerTable {
            rows: self.mapped("per_layer_token_embd.weight", n_vocab, all)?,
            proj: self.linear("per_layer_model_proj", all, config.n_embd, order)?,
            norm: self.vector("per_layer_proj_norm.weight", width)?,
        }))
    }

    pub(super) fn per_layer(
        &mut self,
        config: &Config,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Option<PerLayer>, ModelError> {
        let Some(width) = config.per_layer else { return Ok(None) };
        let (embd, order) = (config.n_embd, Order::ScaleFirst);
        Ok(Some(PerLayer {
            inp_gate: self.linear(&name("inp_gate"), width, embd, order)?,
            proj: self.linear(&name("proj"), embd, width, order)?,
            post_norm: self.vector(&name("post_norm.weight"), embd)?,
        }))
    }

    pub(super) fn altup(&mut self, config: &Config) -> Result<Option<AltUp>, ModelError> {
        let Some(Streams { count, .. }) = config.streams else { return Ok(None) };
        let (embd, more) = (config.n_embd, count - 1);
        let mut all = |name: &str| -> Result<Vec<Linear>, ModelError> {
            let one = |stream: usize| {
                let part = stream * embd..(stream + 1) * embd;
                self.packed(name, (more * embd, embd), part, Order::ScaleFirst, Weight::new)
            };
            (0..more).map(one).collect()
        };
        Ok(Some(AltUp { proj: all("altup_proj")?, unembd_proj: all("altup_unembd_proj")? }))
    }

    pub(super) fn altup_layer(
        &mut self,
        config: &Config,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Option<AltUpLayer>, ModelError> {
        let Some(Streams { count, rank }) = config.streams else { return Ok(None) };
        let (embd, order) = (config.n_embd, Order::ScaleFirst);
        let mut router_norm = self.vector(&name("altup_router_norm.weight"), embd)?;
        router_norm.iter_mut().for_each(|weight| *weight /= embd as f32);
        Ok(Some(AltUpLayer {
            router: self.linear(&name("altup_router"), count, embd, order)?,
            router_norm,
            predict_coef: self.floats(&name("altup_predict_coef.weight"), count * count, count)?,
            correct_coef: self.floats(&name("altup_correct_coef.weight"), count, count)?,
            correct_scale: self.vector(&name("altup_correct_scale.weight"), embd)?,
            laurel_l: self.linear(&name("laurel_l"), rank, embd, order)?,
            laurel_r: self.linear(&name("laurel_r"), embd, rank, order)?,
            laurel_post_norm: self.vector(&name("laurel_post_norm.weight"), embd)?,
        }))
    }
}
