//! All tensors of an encoder, typed, checked and packed.

use std::sync::atomic::AtomicBool;

use hearth_kernels::matmul::Weight;
use hearth_kernels::pool::Pool;

use super::load::Loader;
use super::{Linear, MappedRows, Order};
use crate::arch::{EncoderConfig, Pooling, Positions};
use crate::error::ModelError;
use crate::gguf::Gguf;

/// All tensors of an encoder.
pub struct EncoderWeights {
    /// Rows of the vocabulary.
    pub token_embd: MappedRows,
    /// Added to every token's row. `[n_embd]`
    pub token_type: Vec<f32>,
    /// Rows of the positions, where they are learned.
    pub positions: Option<MappedRows>,
    /// Norm of the sum of these.
    pub embd_norm: Norm,
    /// The layers.
    pub blk: Vec<EncoderLayer>,
    /// What scores the first row, where that is what the model is for.
    pub rank: Option<RankHead>,
}

/// Weights and biases of a layer norm. `[n_embd]` each.
pub struct Norm {
    /// The weights.
    pub weight: Vec<f32>,
    /// The biases.
    pub bias: Vec<f32>,
}

/// One layer of an encoder. Matrices are `[rows][cols]` as this file asks for them.
#[allow(missing_docs)]
pub struct EncoderLayer {
    pub attn_q: Linear,
    pub attn_k: Linear,
    pub attn_v: Linear,
    pub attn_output: Linear,
    pub attn_norm: Norm,
    pub ffn_gate: Option<Linear>,
    pub ffn_up: Linear,
    pub ffn_down: Linear,
    pub ffn_norm: Norm,
}

/// Turns a row into scores: `output(tanh(dense(x)))`, either of which a file may leave out.
pub struct RankHead {
    /// `[n_embd][n_embd]`
    pub dense: Option<Linear>,
    /// `[scores][n_embd]`
    pub output: Option<Linear>,
}

impl EncoderWeights {
    /// Reads, checks and packs every tensor. `progress` hears bytes done and bytes in all.
    ///
    /// # Errors
    /// A missing tensor, or one whose shape does not fit the configuration; cancellation.
    pub fn load(
        gguf: &Gguf,
        config: &EncoderConfig,
        repack: bool,
        pool: &Pool,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<EncoderWeights, ModelError> {
        let mut loader = Loader::new(gguf, repack, pool, cancel, progress);
        let (embd, rows) = (config.n_embd, |name: &str| gguf.tensor(name).map(|info| info.rows()));
        let n_vocab = loader.info("token_embd.weight")?.rows();
        let mut token_type = vec![0.0; embd];
        if let Some(types) = rows("token_types.weight") {
            // Texts stand alone: all their tokens are of the first type.
            loader.mapped("token_types.weight", types, embd)?.read(0, &mut token_type);
        }
        let positions = match &config.positions {
            Positions::Rotary(_) => None,
            Positions::Learned => {
                let name = "position_embd.weight";
                Some(loader.mapped(name, config.n_ctx_train, embd)?)
            }
        };
        let layers = (0..config.n_layer).map(|layer| loader.encoder_layer(config, layer));
        let blk = layers.collect::<Result<_, _>>()?;
        Ok(EncoderWeights {
            token_embd: loader.mapped("token_embd.weight", n_vocab, embd)?,
            token_type,
            positions,
            blk,
            embd_norm: loader.layer_norm("token_embd_norm", embd)?,
            rank: match config.pooling {
                Pooling::Rank => Some(loader.rank_head(embd)?),
                Pooling::Mean | Pooling::First | Pooling::Last => None,
            },
        })
    }

    /// The matrices that every token is multiplied with.
    pub fn matrices(&self) -> impl Iterator<Item = &Weight> {
        let all = self.blk.iter().flat_map(|layer| {
            let EncoderLayer { attn_q, attn_k, attn_v, attn_output, .. } = layer;
            let attn = [attn_q, attn_k, attn_v, attn_output, &layer.ffn_up, &layer.ffn_down];
            attn.into_iter().chain(&layer.ffn_gate)
        });
        all.map(|linear| &linear.weight)
    }
}

impl Loader<'_> {
    fn layer_norm(&mut self, name: &str, len: usize) -> Result<Norm, ModelError> {
        let weight = self.vector(&format!("{name}.weight"), len)?;
        Ok(Norm { weight, bias: self.vector(&format!("{name}.bias"), len)? })
    }

    fn encoder_layer(
        &mut self,
        config: &EncoderConfig,
        layer: usize,
    ) -> Result<EncoderLayer, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (embd, ff) = (config.n_embd, config.n_ff);
        let [attn_q, attn_k, attn_v] = self.qkv(&name, embd, (embd, embd))?;
        let mut one = |part, rows, cols| self.linear(&name(part), rows, cols, Order::ScaleFirst);
        let attn_output = one("attn_output", embd, embd)?;
        let gate = if config.gated { Some(one("ffn_gate", ff, embd)?) } else { None };
        Ok(EncoderLayer {
            attn_q,
            attn_k,
            attn_v,
            attn_output,
            ffn_gate: gate,
            ffn_up: one("ffn_up", ff, embd)?,
            ffn_down: one("ffn_down", embd, ff)?,
            attn_norm: self.layer_norm(&name("attn_output_norm"), embd)?,
            ffn_norm: self.layer_norm(&name("layer_output_norm"), embd)?,
        })
    }

    /// What scores a row; one of its two matrices must be there.
    fn rank_head(&mut self, embd: usize) -> Result<RankHead, ModelError> {
        let rows = |name: &str| self.gguf.tensor(name).map(|info| info.rows());
        let (dense, output) = (rows("cls.weight"), rows("cls.output.weight"));
        if dense.is_none() && output.is_none() {
            return Err(ModelError::missing("cls.output.weight"));
        }
        let mut one = |name, rows: Option<usize>| {
            rows.map(|rows| self.linear(name, rows, embd, Order::ScaleFirst)).transpose()
        };
        Ok(RankHead { dense: one("cls", dense.map(|_| embd))?, output: one("cls.output", output)? })
    }
}
