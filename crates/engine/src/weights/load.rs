//! From GGUF tensor names to typed, checked, packed tensors.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_kernels::bytes::Bytes;
use hearth_kernels::matmul::{Weight, WeightError};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::{TensorType, dequantize};

use super::{
    Attention, Embedding, Ffn, Gated, KeyValue, Layer, Linear, MappedRows, Mix, Mixture,
    MixtureNorms, Order, ShortConv, Weights,
};
use crate::arch::{Config, Experts, QkNorm};
use crate::error::ModelError;
use crate::gguf::{Gguf, TensorInfo};
use crate::rope::Rope;

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
        let mut loader = Loader::new(gguf, repack, pool, cancel, progress);
        let embd = loader.info("token_embd.weight")?;
        let n_vocab = embd.rows();
        let blk = (0..config.n_layer)
            .map(|layer| loader.layer(config, layer))
            .collect::<Result<Vec<_>, _>>()?;
        let tied = gguf.tensor("output.weight").is_none();
        let output = if tied { "token_embd" } else { "output" };
        let rope = loader.rope(&config.rope, ctx)?;
        let rope_windowed = match config.rope_windowed == config.rope {
            true => rope.clone(),
            false => config.rope_windowed.clone(),
        };
        // A factor of the logits is one of what the head reads.
        let mut output_norm = loader.vector(config.output_norm, config.n_embd)?;
        output_norm.iter_mut().for_each(|weight| *weight *= config.logit_scale);
        Ok(Weights {
            token_embd: if tied {
                Embedding::Tied
            } else {
                Embedding::Mapped(loader.mapped("token_embd.weight", n_vocab, config.n_embd)?)
            },
            blk,
            output_norm,
            output: loader.head(output, n_vocab, config.n_embd)?,
            per_layer: loader.per_layer_table(config, n_vocab)?,
            altup: loader.altup(config)?,
            rope,
            rope_windowed,
        })
    }
}

/// How a matrix is brought into the form that its kernel reads.
type Pack = fn(TensorType, usize, usize, Bytes, &Pool) -> Result<Weight, WeightError>;

/// Walks the tensors, counting bytes for the progress bar.
pub(super) struct Loader<'a> {
    pub(super) gguf: &'a Gguf,
    pool: &'a Pool,
    repack: bool,
    cancel: &'a AtomicBool,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        gguf: &'a Gguf,
        repack: bool,
        pool: &'a Pool,
        cancel: &'a AtomicBool,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        let total = gguf.tensors().iter().map(|info| gguf.bytes(info).len() as u64).sum();
        Self { gguf, pool, repack, cancel, progress, done: 0, total }
    }

    pub(super) fn info(&self, name: &str) -> Result<&'a TensorInfo, ModelError> {
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

    /// Rows of a tensor whose shape must be `[rows][cols]`, packed for this machine by `pack`.
    fn part(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        part: Range<usize>,
        pack: Pack,
    ) -> Result<Weight, ModelError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ModelError::Cancelled);
        }
        let (ty, bytes) = self.bytes(name, rows, cols)?;
        let row = bytes.len() / rows.max(1);
        let bytes = bytes.slice(part.start * row..part.end * row).ok_or_else(|| {
            ModelError::range(name, format!("{rows} rows"), format!("at least {}", part.end))
        })?;
        let take = if self.repack { pack } else { Weight::unpacked };
        let weight = take(ty, part.len(), cols, bytes.clone(), self.pool)
            .map_err(|error| ModelError::Unsupported(format!("tensor `{name}`: {error}")))?;
        if weight.is_packed() {
            // Packing gave back the whole pages of each piece; those on the seams are left.
            bytes.release();
        }
        self.count(bytes.len());
        Ok(weight)
    }

    /// A matrix left in the map.
    pub(super) fn mapped(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<MappedRows, ModelError> {
        let (ty, bytes) = self.bytes(name, rows, cols)?;
        let row_bytes = ty.row_bytes(cols).ok_or_else(|| {
            ModelError::range(name, cols, format!("a multiple of {}", ty.block_len()))
        })?;
        self.count(bytes.len());
        Ok(MappedRows { ty, bytes, row_bytes })
    }

    /// A vector as 32-bit floats.
    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        self.floats(name, 1, len)
    }

    /// A small matrix as 32-bit floats. `[rows][cols]`
    pub(super) fn floats(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let (ty, bytes) = self.bytes(name, rows, cols)?;
        let mut values = vec![0.0; rows * cols];
        dequantize(ty, &bytes, &mut values);
        self.count(bytes.len());
        Ok(values)
    }

    /// A vector that need not be there.
    pub(super) fn optional(
        &mut self,
        name: &str,
        len: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        if self.gguf.tensor(name).is_none() { Ok(None) } else { self.vector(name, len).map(Some) }
    }

    /// A matrix with its scale and its bias.
    pub(super) fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        order: Order,
    ) -> Result<Linear, ModelError> {
        self.packed(name, (rows, cols), 0..rows, order, Weight::new)
    }

    /// The head, of which often only the largest outputs are wanted.
    fn head(&mut self, name: &str, rows: usize, cols: usize) -> Result<Linear, ModelError> {
        self.packed(name, (rows, cols), 0..rows, Order::ScaleFirst, Weight::in_planes)
    }

    pub(super) fn packed(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        part: Range<usize>,
        order: Order,
        pack: Pack,
    ) -> Result<Linear, ModelError> {
        let weight = self.part(&format!("{name}.weight"), (rows, cols), part.clone(), pack)?;
        let scale = self.optional(&format!("{name}.scale"), 1)?.map(|values| values[0]);
        let bias = self.optional(&format!("{name}.bias"), rows)?.map(|bias| bias[part].to_vec());
        Ok(Linear { weight, scale, bias, order })
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
        let embd = config.n_embd;
        Ok(Layer {
            attn_norm: self.norm(config.pre_norm, &name("attn_norm.weight"), embd)?,
            mix: match config.short_conv_of(layer) {
                None => Mix::Attention(self.attention(config, layer, &name)?.into()),
                Some(conv) => Mix::ShortConv(self.short_conv(embd, conv.taps, &name)?.into()),
            },
            post_attention_norm: self.norm(
                config.post_norm,
                &name("post_attention_norm.weight"),
                embd,
            )?,
            ffn_norm: self.norm(config.pre_norm, &name("ffn_norm.weight"), embd)?,
            ffn: match config.experts_of(layer) {
                None => Ffn::Dense(self.ffn(config, config.n_ff[layer], &name)?.into()),
                Some(experts) => {
                    let mut mixture = self.mixture(experts, (embd, config.ffn_scale), &name)?;
                    if experts.beside_dense {
                        mixture.shared = Some(self.ffn(config, config.n_ff[layer], &name)?);
                        mixture.norms = Some(self.mixture_norms(embd, &name)?);
                    }
                    Ffn::Mixture(mixture.into())
                }
            },
            post_ffw_norm: self.norm(config.post_norm, &name("post_ffw_norm.weight"), embd)?,
            per_layer: self.per_layer(config, &name)?,
            output_scale: self
                .optional(&name("layer_output_scale.weight"), 1)?
                .map(|values| values[0]),
            altup: self.altup_layer(config, &name)?,
        })
    }

    fn attention(
        &mut self,
        config: &Config,
        layer: usize,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Attention, ModelError> {
        let (embd, heads, order) = (config.n_embd, config.heads_of(layer), Order::ScaleFirst);
        let (q, kv) = (heads.q_dim(), heads.kv_dim());
        let has = |part: &str| self.gguf.tensor(&format!("{}.weight", name(part))).is_some();
        let values = !config.keys_as_values || has("attn_v") || has("attn_qkv");
        let owns = config.kv_of(layer) == layer;
        let (attn_q, own) = if owns && values {
            let [attn_q, attn_k, attn_v] = self.qkv(name, embd, (q, kv))?;
            (attn_q, Some((attn_k, Some(attn_v))))
        } else {
            let attn_q = self.linear(&name("attn_q"), q, embd, order)?;
            let attn_k = owns.then(|| self.linear(&name("attn_k"), kv, embd, order)).transpose()?;
            (attn_q, attn_k.map(|attn_k| (attn_k, None)))
        };
        let mut finish = |(attn_k, attn_v)| -> Result<KeyValue, ModelError> {
            let attn_k_norm = self.qk_norm(config, layer, "attn_k_norm", kv)?;
            let attn_v_norm = config.value_norm.then(|| vec![1.0; heads.dim]);
            Ok(KeyValue { attn_k, attn_k_norm, attn_v, attn_v_norm })
        };
        let own = own.map(&mut finish).transpose()?;
        let attn_q_norm = self.qk_norm(config, layer, "attn_q_norm", q)?;
        let attn_output = self.linear(&name("attn_output"), embd, q, order)?;
        Ok(Attention { attn_q, attn_q_norm, own, attn_output })
    }

    fn short_conv(
        &mut self,
        embd: usize,
        taps: usize,
        name: &dyn Fn(&str) -> String,
    ) -> Result<ShortConv, ModelError> {
        let order = Order::ScaleFirst;
        Ok(ShortConv {
            in_proj: self.linear(&name("shortconv.in_proj"), 3 * embd, embd, order)?,
            conv: self.floats(&name("shortconv.conv.weight"), embd, taps)?,
            out_proj: self.linear(&name("shortconv.out_proj"), embd, embd, order)?,
        })
    }

    /// Query, key and value of these rows, in a tensor each or all in one.
    pub(super) fn qkv(
        &mut self,
        name: &dyn Fn(&str) -> String,
        embd: usize,
        (q, kv): (usize, usize),
    ) -> Result<[Linear; 3], ModelError> {
        let (fused, order) = (name("attn_qkv"), Order::ScaleFirst);
        if self.gguf.tensor(&format!("{fused}.weight")).is_none() {
            let mut one = |part, rows| self.linear(&name(part), rows, embd, order);
            return Ok([one("attn_q", q)?, one("attn_k", kv)?, one("attn_v", kv)?]);
        }
        let shape = (q + 2 * kv, embd);
        let mut one = |part| self.packed(&fused, shape, part, order, Weight::new);
        Ok([one(0..q)?, one(q..q + kv)?, one(q + kv..q + 2 * kv)?])
    }

    /// Weights of the norm over queries or keys, which are `width` wide.
    fn qk_norm(
        &mut self,
        config: &Config,
        layer: usize,
        part: &str,
        width: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        let dim = config.heads_of(layer).dim;
        let len = match config.qk_norm {
            QkNorm::None => return Ok(None),
            QkNorm::Turned => return Ok(Some(vec![1.0; dim])),
            QkNorm::Heads => dim,
            QkNorm::Rows => width,
        };
        self.vector(&format!("blk.{layer}.{part}.weight"), len).map(Some)
    }

    /// A feed-forward part; without a tensor for the gate, that of `up` holds both. Not every
    /// architecture applies the scales.
    fn ffn(
        &mut self,
        config: &Config,
        ff: usize,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Gated, ModelError> {
        let (embd, order) = (config.n_embd, Order::BiasFirst);
        let (gate, up) = (name("ffn_gate"), name("ffn_up"));
        let [gate, up] = if self.gguf.tensor(&format!("{gate}.weight")).is_some() {
            [self.linear(&gate, ff, embd, order)?, self.linear(&up, ff, embd, order)?]
        } else {
            let mut half = |part| self.packed(&up, (2 * ff, embd), part, order, Weight::new);
            [half(0..ff)?, half(ff..2 * ff)?]
        };
        let down = self.linear(&name("ffn_down"), embd, ff, order)?;
        let gated = Gated { gate, up, down };
        Ok(if config.ffn_scale { gated } else { gated.unscaled() })
    }

    /// Router, experts, and the expert for all tokens.
    fn mixture(
        &mut self,
        experts: &Experts,
        (embd, scaled): (usize, bool),
        name: &dyn Fn(&str) -> String,
    ) -> Result<Mixture, ModelError> {
        let (count, ff, shared) = (experts.count, experts.n_ff, experts.n_ff_shared);
        let order = Order::ScaleFirst;
        let router = match experts.beside_dense {
            false => self.linear(&name("ffn_gate_inp"), count, embd, order)?,
            // What is called its scale is a norm.
            true => {
                let tensor = name("ffn_gate_inp.weight");
                let weight = self.part(&tensor, (count, embd), 0..count, Weight::new)?;
                Linear { weight, scale: None, bias: None, order }
            }
        };
        let [gates, ups] = self.gates_and_ups(&name, (count, ff, embd))?;
        let downs = self.experts(&name("ffn_down_exps"), (count, embd, ff))?;
        let all = gates.into_iter().zip(ups).zip(downs);
        Ok(Mixture {
            router,
            experts: all
                .map(|((gate, up), down)| Gated { gate, up, down })
                .map(|expert| if scaled { expert } else { expert.unscaled() })
                .collect(),
            rule: experts.clone(),
            shared: match shared {
                0 => None,
                _ => {
                    let part = Gated {
                        gate: self.linear(&name("ffn_gate_shexp"), shared, embd, order)?,
                        up: self.linear(&name("ffn_up_shexp"), shared, embd, order)?,
                        down: self.linear(&name("ffn_down_shexp"), embd, shared, order)?,
                    };
                    Some(part.unscaled())
                }
            },
            shared_gate: match experts.shared_gate {
                true => Some(self.linear(&name("ffn_gate_inp_shexp"), 1, embd, order)?),
                false => None,
            },
            norms: None,
        })
    }

    fn mixture_norms(
        &mut self,
        embd: usize,
        name: &dyn Fn(&str) -> String,
    ) -> Result<MixtureNorms, ModelError> {
        let mut router = self.vector(&name("ffn_gate_inp.scale"), embd)?;
        router.iter_mut().for_each(|weight| *weight /= (embd as f32).sqrt());
        Ok(MixtureNorms {
            router,
            experts: self.vector(&name("pre_ffw_norm_2.weight"), embd)?,
            after_experts: self.vector(&name("post_ffw_norm_2.weight"), embd)?,
            after_shared: self.vector(&name("post_ffw_norm_1.weight"), embd)?,
        })
    }

    /// The matrices of all experts before the activation function, from a tensor each or from one
    /// that holds an expert's gate and then its up.
    fn gates_and_ups(
        &mut self,
        name: &dyn Fn(&str) -> String,
        (count, ff, embd): (usize, usize, usize),
    ) -> Result<[Vec<Linear>; 2], ModelError> {
        let (tensor, up) = (name("ffn_gate_up_exps.weight"), name("ffn_up_exps"));
        if self.gguf.tensor(&tensor).is_none() {
            let gates = self.experts(&name("ffn_gate_exps"), (count, ff, embd))?;
            return Ok([gates, self.experts(&up, (count, ff, embd))?]);
        }
        let scales = self.optional(&format!("{up}.scale"), count)?;
        let mut half = |from: usize| -> Result<Vec<Linear>, ModelError> {
            let one = |expert: usize| {
                let first = 2 * ff * expert + from;
                let rows = (2 * ff * count, embd);
                let weight = self.part(&tensor, rows, first..first + ff, Weight::new)?;
                let scale = scales.as_ref().map(|scales| scales[expert]);
                Ok(Linear { weight, scale, bias: None, order: Order::ScaleFirst })
            };
            (0..count).map(one).collect()
        };
        Ok([half(0)?, half(ff)?])
    }

    /// The matrices of all experts, from one tensor `[count][rows][cols]`, each with its scale.
    fn experts(
        &mut self,
        name: &str,
        (count, rows, cols): (usize, usize, usize),
    ) -> Result<Vec<Linear>, ModelError> {
        let scales = self.optional(&format!("{name}.scale"), count)?;
        let tensor = format!("{name}.weight");
        let one = |expert: usize| {
            let part = expert * rows..(expert + 1) * rows;
            let weight = self.part(&tensor, (count * rows, cols), part, Weight::new)?;
            let scale = scales.as_ref().map(|scales| scales[expert]);
            Ok(Linear { weight, scale, bias: None, order: Order::ScaleFirst })
        };
        (0..count).map(one).collect()
    }

    /// The rotary embedding with the file's angle divisors, if it has some.
    pub(super) fn rope(&mut self, rope: &Rope, ctx: usize) -> Result<Rope, ModelError> {
        let names = rope.factor_tensors(ctx);
        let Some(name) = names.into_iter().find(|name| self.gguf.tensor(name).is_some()) else {
            return match rope.needs_factors() {
                true => Err(ModelError::missing(names[1])),
                false => Ok(rope.clone()),
            };
        };
        let factors = self.vector(name, rope.dims / 2)?;
        if let Some(bad) = factors.iter().find(|factor| !(factor.is_finite() && **factor != 0.0)) {
            return Err(ModelError::range(name, bad, "finite divisors other than 0"));
        }
        Ok(rope.clone().with_factors(factors))
    }
}
