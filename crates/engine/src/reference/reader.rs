//! Whole tensors of a file as 32-bit floats, and products with them.

use std::ops::Range;

use hearth_kernels::quant::dequantize;

use super::{add, matmul};
use crate::arch::Config;
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::rope::Rope;

/// A product, the scale and the bias beside it.
pub(super) type Product = (Vec<f32>, f32, Option<Vec<f32>>);

/// Whole tensors as 32-bit floats.
pub(super) struct Reader<'a> {
    pub(super) gguf: &'a Gguf,
}

impl Reader<'_> {
    pub(super) fn optional(&self, name: &str) -> Option<Vec<f32>> {
        let info = self.gguf.tensor(name)?;
        let mut values = vec![0.0; info.elements()];
        dequantize(info.ty(), &self.gguf.bytes(info), &mut values);
        Some(values)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.optional(name).ok_or_else(|| ModelError::missing(name))
    }

    /// A matrix of an attention layer applied to every row of `x`, then scaled, then biased.
    pub(super) fn attn(
        &self,
        layer: usize,
        part: &str,
        x: &[f32],
        cols: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let (mut out, scale, bias) = self.product(layer, part, x, cols)?;
        out.iter_mut().for_each(|value| *value *= scale);
        bias.iter()
            .for_each(|bias| out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)));
        Ok(out)
    }

    /// The same with a matrix outside the layers.
    pub(super) fn model(&self, name: &str, x: &[f32], cols: usize) -> Result<Vec<f32>, ModelError> {
        Ok(matmul(x, &self.tensor(&format!("{name}.weight"))?, cols))
    }

    /// The bare product, with the scale (1 if absent) and the bias that the file has beside it.
    pub(super) fn product(
        &self,
        layer: usize,
        part: &str,
        x: &[f32],
        cols: usize,
    ) -> Result<Product, ModelError> {
        let name = |kind: &str| format!("blk.{layer}.{part}.{kind}");
        let scale = self.optional(&name("scale")).map_or(1.0, |values| values[0]);
        let out = matmul(x, &self.tensor(&name("weight"))?, cols);
        Ok((out, scale, self.optional(&name("bias"))))
    }

    /// Queries, from a tensor of their own or from one for all. `[T][E] -> [T][Q]`
    pub(super) fn query(
        &self,
        config: &Config,
        layer: usize,
        x: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        match self.has(layer, "attn_qkv") {
            true => self.fused(config, layer, x, 0..config.heads_of(layer).q_dim()),
            false => self.attn(layer, "attn_q", x, config.n_embd),
        }
    }

    /// Keys and values likewise. `[T][E] -> [T][K], [T][K]`
    pub(super) fn key_value(
        &self,
        config: &Config,
        layer: usize,
        x: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let (q, k) = (config.heads_of(layer).q_dim(), config.heads_of(layer).kv_dim());
        if self.has(layer, "attn_qkv") {
            let part = |rows| self.fused(config, layer, x, rows);
            return Ok((part(q..q + k)?, part(q + k..q + 2 * k)?));
        }
        let one = |part: &str| self.attn(layer, part, x, config.n_embd);
        let values = config.keys_as_values && !self.has(layer, "attn_v");
        Ok((one("attn_k")?, one(if values { "attn_k" } else { "attn_v" })?))
    }

    fn has(&self, layer: usize, part: &str) -> bool {
        self.gguf.tensor(&format!("blk.{layer}.{part}.weight")).is_some()
    }

    /// Some columns of the product with the one tensor for queries, keys and values.
    fn fused(
        &self,
        config: &Config,
        layer: usize,
        x: &[f32],
        part: Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let heads = config.heads_of(layer);
        let all = self.attn(layer, "attn_qkv", x, config.n_embd)?;
        let rows = all.chunks_exact(heads.q_dim() + 2 * heads.kv_dim());
        Ok(rows.flat_map(|row| &row[part.clone()]).copied().collect())
    }

    /// With the file's factors for a short context, if there are some.
    pub(super) fn rope(&self, rope: &Rope) -> Rope {
        match rope.factor_tensors(0).into_iter().find_map(|name| self.optional(name)) {
            Some(factors) => rope.clone().with_factors(factors),
            None => rope.clone(),
        }
    }
}
