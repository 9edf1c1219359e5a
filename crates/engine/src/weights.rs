//! From GGUF tensor names to typed, checked, packed tensors. Nothing here knows an architecture:
//! `Config` says which tensors there must be, and optional ones are taken if the file has them.

use std::sync::atomic::{AtomicBool, Ordering};

use hearth_kernels::bytes::Bytes;
use hearth_kernels::matmul::{Weight, WeightError};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, dequantize};
use hearth_kernels::rows::for_rows;

use crate::arch::Config;
use crate::error::ModelError;
use crate::gguf::{Gguf, TensorInfo};
use crate::rope::Rope;

/// All tensors of a model, under GGUF's names.
pub struct Weights {
    /// Rows of the vocabulary.
    pub token_embd: Embedding,
    /// The layers.
    pub blk: Vec<Layer>,
    /// Norm before the head. `[n_embd]`
    pub output_norm: Vec<f32>,
    /// The head. `[n_vocab][n_embd]`
    pub output: Linear,
    /// Rotary embedding with the file's factors, for the layers that see everything.
    pub rope: Rope,
    /// The same for windowed layers.
    pub rope_windowed: Rope,
}

/// One layer. Matrices are `[rows][cols]` as [`Loader::layer`] asks for them.
#[allow(missing_docs)]
pub struct Layer {
    pub attn_norm: Vec<f32>,
    pub attn_q: Linear,
    pub attn_k: Linear,
    pub attn_v: Linear,
    pub attn_output: Linear,
    pub attn_q_norm: Option<Vec<f32>>,
    pub attn_k_norm: Option<Vec<f32>>,
    pub post_attention_norm: Option<Vec<f32>>,
    pub ffn_norm: Vec<f32>,
    pub ffn_gate: Linear,
    pub ffn_up: Linear,
    pub ffn_down: Linear,
    pub post_ffw_norm: Option<Vec<f32>>,
}

/// A matrix with what some files put beside it: one factor for the whole product (`NAME.scale`)
/// and one value to add for each row (`NAME.bias`).
pub struct Linear {
    /// The matrix, packed.
    pub weight: Weight,
    scale: Option<f32>,
    bias: Option<Vec<f32>>,
    order: Order,
}

/// Which of scale and bias comes first; llama.cpp, which defined both, does not do it alike
/// everywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Attention and the head.
    ScaleFirst,
    /// The feed-forward matrices.
    BiasFirst,
}

impl Linear {
    /// Whether nothing is applied to the product.
    pub fn is_plain(&self) -> bool {
        self.scale.is_none() && self.bias.is_none()
    }

    /// Applies scale and bias to every row of the product, where the file has them.
    pub fn finish(&self, pool: &Pool, product: &mut [f32]) {
        if self.is_plain() {
            return;
        }
        let scale = self.scale.unwrap_or(1.0);
        let zeros;
        let bias = match &self.bias {
            Some(bias) => bias,
            None => {
                zeros = vec![0.0; self.weight.rows()];
                &zeros
            }
        };
        for_rows(pool, product, self.weight.rows(), &|_, row| {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value = match self.order {
                    Order::ScaleFirst => *value * scale + bias,
                    Order::BiasFirst => (*value + bias) * scale,
                };
            }
        });
    }
}

/// Where embedding rows come from.
pub enum Embedding {
    /// The head is the transposed embedding: rows are read back from its packed form.
    Tied,
    /// A tensor of its own, left in the file's map: only single rows are ever read.
    Mapped {
        /// Element type.
        ty: TensorType,
        /// All rows.
        bytes: Bytes,
        /// Bytes of one.
        row_bytes: usize,
    },
}

impl Weights {
    /// Reads, checks and packs every tensor, for a context of `ctx` tokens; without `repack`,
    /// matrices stay in the file's map. `progress` hears bytes done and bytes in all.
    ///
    /// # Errors
    /// A missing tensor, or one whose shape does not fit the configuration; cancellation.
    pub fn load(
        gguf: &Gguf,
        config: &Config,
        (ctx, repack): (usize, bool),
        pool: &Pool,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Weights, ModelError> {
        let mut loader = Loader { repack, ..Loader::new(gguf, pool, cancel, progress) };
        let embd = loader.info("token_embd.weight")?;
        let n_vocab = embd.rows();
        let blk = (0..config.n_layer)
            .map(|layer| loader.layer(config, layer))
            .collect::<Result<Vec<_>, _>>()?;
        let tied = gguf.tensor("output.weight").is_none();
        let output = if tied { "token_embd" } else { "output" };
        let rope = loader.rope(&config.rope, ctx)?;
        Ok(Weights {
            token_embd: if tied {
                Embedding::Tied
            } else {
                loader.mapped("token_embd.weight", n_vocab, config.n_embd)?
            },
            blk,
            output_norm: loader.vector("output_norm.weight", config.n_embd)?,
            output: loader.head(output, n_vocab, config.n_embd)?,
            rope,
            rope_windowed: config.rope_windowed.clone(),
        })
    }

    /// Size of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.output.weight.rows()
    }

    /// Writes the embedding of a token. `[n_embd]`
    pub fn embed(&self, token: usize, row: &mut [f32]) {
        match &self.token_embd {
            Embedding::Tied => self.output.weight.row(token, row),
            Embedding::Mapped { ty, bytes, row_bytes } => {
                dequantize(*ty, &bytes[token * row_bytes..][..*row_bytes], row);
            }
        }
    }

    /// Bytes read for one decoded token: every matrix once, and one embedding row.
    pub fn bytes_per_token(&self) -> u64 {
        let layers = self.blk.iter().flat_map(Layer::matrices).map(Weight::bytes).sum::<usize>();
        (layers + self.output.weight.bytes()) as u64
    }
}

impl Layer {
    /// The matrices, in the order they are used.
    pub fn matrices(&self) -> [&Weight; 7] {
        let Self { attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down, .. } = self;
        [attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down]
            .map(|linear| &linear.weight)
    }
}

/// How a matrix is brought into the form that its kernel reads.
type Pack = fn(TensorType, usize, usize, Bytes, &Pool) -> Result<Weight, WeightError>;

/// Walks the tensors, counting bytes for the progress bar.
struct Loader<'a> {
    gguf: &'a Gguf,
    pool: &'a Pool,
    repack: bool,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl<'a> Loader<'a> {
    fn new(
        gguf: &'a Gguf,
        pool: &'a Pool,
        cancel: &'a AtomicBool,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        let total = gguf.tensors().iter().map(|info| gguf.bytes(info).len() as u64).sum();
        Self { gguf, pool, repack: true, cancel, progress, done: 0, total }
    }

    fn info(&self, name: &str) -> Result<&'a TensorInfo, ModelError> {
        self.gguf.tensor(name).ok_or_else(|| ModelError::missing(name))
    }

    /// The bytes of a tensor whose shape must be `[rows][cols]` (one row: a vector).
    fn bytes(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<(TensorType, Bytes), ModelError> {
        let info = self.info(name)?;
        let dims = info.dims();
        if info.cols() != cols || info.rows() != rows {
            let found = dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            return Err(ModelError::range(name, found, format!("{cols} x {rows}")));
        }
        Ok((info.ty(), self.gguf.bytes(info)))
    }

    fn count(&mut self, bytes: usize) {
        self.done += bytes as u64;
        (self.progress)(self.done, self.total);
    }

    /// A matrix, packed for this machine by `pack`.
    fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        pack: Pack,
    ) -> Result<Weight, ModelError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ModelError::Cancelled);
        }
        let (ty, bytes) = self.bytes(name, rows, cols)?;
        let take = if self.repack { pack } else { Weight::unpacked };
        let weight = take(ty, rows, cols, bytes.clone(), self.pool)
            .map_err(|error| ModelError::Unsupported(format!("tensor `{name}`: {error}")))?;
        if weight.is_packed() {
            // Else a model would lie in memory twice: packed, and as the pages of its file.
            bytes.release();
        }
        self.count(bytes.len());
        Ok(weight)
    }

    /// A matrix left in the map.
    fn mapped(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding, ModelError> {
        let (ty, bytes) = self.bytes(name, rows, cols)?;
        let row_bytes = ty.row_bytes(cols).ok_or_else(|| {
            ModelError::range(name, cols, format!("a multiple of {}", ty.block_len()))
        })?;
        self.count(bytes.len());
        Ok(Embedding::Mapped { ty, bytes, row_bytes })
    }

    /// A vector as 32-bit floats.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let (ty, bytes) = self.bytes(name, 1, len)?;
        let mut values = vec![0.0; len];
        dequantize(ty, &bytes, &mut values);
        self.count(bytes.len());
        Ok(values)
    }

    /// A vector that need not be there.
    fn optional(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        if self.gguf.tensor(name).is_none() { Ok(None) } else { self.vector(name, len).map(Some) }
    }

    /// A matrix with its scale and its bias.
    fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        order: Order,
    ) -> Result<Linear, ModelError> {
        self.packed(name, rows, cols, order, Weight::new)
    }

    /// The head, of which often only the largest outputs are wanted.
    fn head(&mut self, name: &str, rows: usize, cols: usize) -> Result<Linear, ModelError> {
        self.packed(name, rows, cols, Order::ScaleFirst, Weight::in_planes)
    }

    fn packed(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        order: Order,
        pack: Pack,
    ) -> Result<Linear, ModelError> {
        let weight = self.matrix(&format!("{name}.weight"), rows, cols, pack)?;
        let scale = self.optional(&format!("{name}.scale"), 1)?.map(|values| values[0]);
        Ok(Linear { weight, scale, bias: self.optional(&format!("{name}.bias"), rows)?, order })
    }

    /// A feed-forward matrix, whose scale not every architecture applies.
    fn ffn(
        &mut self,
        config: &Config,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Linear, ModelError> {
        let linear = self.linear(name, rows, cols, Order::BiasFirst)?;
        Ok(Linear { scale: linear.scale.filter(|_| config.ffn_scale), ..linear })
    }

    /// A vector that is there exactly if `wanted`.
    fn norm(
        &mut self,
        wanted: bool,
        name: &str,
        len: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        if wanted { self.vector(name, len).map(Some) } else { Ok(None) }
    }

    fn layer(&mut self, config: &Config, layer: usize) -> Result<Layer, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (embd, ff, head) = (config.n_embd, config.n_ff, config.head_dim);
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        let first = Order::ScaleFirst;
        Ok(Layer {
            attn_norm: self.vector(&name("attn_norm.weight"), embd)?,
            attn_q: self.linear(&name("attn_q"), q_dim, embd, first)?,
            attn_k: self.linear(&name("attn_k"), kv_dim, embd, first)?,
            attn_v: self.linear(&name("attn_v"), kv_dim, embd, first)?,
            attn_output: self.linear(&name("attn_output"), embd, q_dim, first)?,
            attn_q_norm: self.norm(config.qk_norm, &name("attn_q_norm.weight"), head)?,
            attn_k_norm: self.norm(config.qk_norm, &name("attn_k_norm.weight"), head)?,
            post_attention_norm: self.norm(
                config.post_norm,
                &name("post_attention_norm.weight"),
                embd,
            )?,
            ffn_norm: self.vector(&name("ffn_norm.weight"), embd)?,
            ffn_gate: self.ffn(config, &name("ffn_gate"), ff, embd)?,
            ffn_up: self.ffn(config, &name("ffn_up"), ff, embd)?,
            ffn_down: self.ffn(config, &name("ffn_down"), embd, ff)?,
            post_ffw_norm: self.norm(config.post_norm, &name("post_ffw_norm.weight"), embd)?,
        })
    }

    /// The rotary embedding with the file's angle divisors, if it has some.
    fn rope(&mut self, rope: &Rope, ctx: usize) -> Result<Rope, ModelError> {
        let name = match rope.long_factors(ctx) {
            Some(true) => "rope_factors_long.weight",
            Some(false) => "rope_factors_short.weight",
            None => "rope_freqs.weight",
        };
        let pairs = rope.dims / 2;
        let factors = match rope.long_factors(ctx) {
            Some(_) => Some(self.vector(name, pairs)?),
            None => self.optional(name, pairs)?,
        };
        let Some(factors) = factors else { return Ok(rope.clone()) };
        if let Some(bad) = factors.iter().find(|factor| !(factor.is_finite() && **factor != 0.0)) {
            return Err(ModelError::range(name, bad, "finite divisors other than 0"));
        }
        Ok(rope.clone().with_factors(factors))
    }
}
