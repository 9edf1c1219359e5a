//! Whole tensors of a file as 32-bit floats, and products with them.

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

    /// Queries, keys and values, from a tensor each or from one. `[T][Q], [T][K], [T][K]`
    pub(super) fn qkv(
        &self,
        config: &Config,
        layer: usize,
        x: &[f32],
    ) -> Result<[Vec<f32>; 3], ModelError> {
        let project = |part: &str| self.attn(layer, part, x, config.n_embd);
        if self.gguf.tensor(&format!("blk.{layer}.attn_qkv.weight")).is_none() {
            return Ok([project("attn_q")?, project("attn_k")?, project("attn_v")?]);
        }
        let (all, q, k) = (project("attn_qkv")?, config.q_dim(), config.kv_dim());
        let cut = |from: usize, len: usize| {
            all.chunks_exact(q + 2 * k).flat_map(|row| &row[from..from + len]).copied().collect()
        };
        Ok([cut(0, q), cut(q, k), cut(q + k, k)])
    }

    /// With the file's factors for a short context, if there are some.
    pub(super) fn rope(&self, rope: &Rope) -> Rope {
        match rope.factor_tensors(0).into_iter().find_map(|name| self.optional(name)) {
            Some(factors) => rope.clone().with_factors(factors),
            None => rope.clone(),
        }
    }
}
