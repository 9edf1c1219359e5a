//! Which tensor gets which type: one type for all matrices, or one of llama.cpp's mixtures.
//!
//! The rules are those of `llama-quantize`, so that a synthetic file costs what a real one costs;
//! without an importance matrix but for the types that cannot be written without one.

use anyhow::{Result, bail};
use hearth_kernels::quant::TensorType;

use super::shapes::{Fill, Planned, Shape};

/// A type or mixture: its name, llama.cpp's number for `general.file_type`, the type of most
/// tensors.
pub(super) struct Mix(&'static str, u32, TensorType);

const MIXES: &[Mix] = &[
    Mix("F32", 0, TensorType::F32),
    Mix("F16", 1, TensorType::F16),
    Mix("BF16", 32, TensorType::BF16),
    Mix("Q4_0", 2, TensorType::Q4_0),
    Mix("Q4_1", 3, TensorType::Q4_1),
    Mix("Q5_0", 8, TensorType::Q5_0),
    Mix("Q5_1", 9, TensorType::Q5_1),
    Mix("Q8_0", 7, TensorType::Q8_0),
    Mix("Q2_K", 10, TensorType::Q2_K),
    Mix("Q3_K", 11, TensorType::Q3_K),
    Mix("Q4_K_S", 14, TensorType::Q4_K),
    Mix("Q4_K_M", 15, TensorType::Q4_K),
    Mix("Q5_K_S", 16, TensorType::Q5_K),
    Mix("Q5_K_M", 17, TensorType::Q5_K),
    Mix("Q6_K", 18, TensorType::Q6_K),
    Mix("IQ1_S", 24, TensorType::IQ1_S),
    Mix("IQ1_M", 31, TensorType::IQ1_M),
    Mix("IQ2_XXS", 19, TensorType::IQ2_XXS),
    Mix("IQ2_XS", 20, TensorType::IQ2_XS),
    Mix("IQ2_S", 28, TensorType::IQ2_XS),
    Mix("IQ2_M", 29, TensorType::IQ2_S),
    Mix("IQ3_XXS", 23, TensorType::IQ3_XXS),
    Mix("IQ3_XS", 22, TensorType::IQ3_S),
    Mix("IQ3_S", 26, TensorType::IQ3_S),
    Mix("IQ3_M", 27, TensorType::IQ3_S),
    Mix("IQ4_NL", 25, TensorType::IQ4_NL),
    Mix("IQ4_XS", 30, TensorType::IQ4_XS),
    Mix("TQ1_0", 36, TensorType::TQ1_0),
    Mix("TQ2_0", 37, TensorType::TQ2_0),
    Mix("MXFP4", 38, TensorType::MXFP4),
];

impl Mix {
    /// Every name that `named` knows.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        MIXES.iter().map(|mix| mix.0)
    }

    pub(super) fn named(name: &str) -> Result<&'static Mix> {
        match MIXES.iter().find(|mix| mix.0.eq_ignore_ascii_case(name)) {
            Some(mix) => Ok(mix),
            None => {
                let known = Mix::names().collect::<Vec<_>>().join(" ");
                bail!("no type or mixture {name:?}; known: {known}")
            }
        }
    }

    /// llama.cpp's number of the mixture.
    pub(super) fn file_type(&self) -> u32 {
        self.1
    }

    /// The type of one tensor.
    pub(super) fn tensor_type(&self, shape: &Shape, tensor: &Planned) -> TensorType {
        if tensor.fill != Fill::Weights {
            return TensorType::F32;
        }
        let wanted = self.wanted(shape, tensor);
        let cols = tensor.dims[0];
        if cols.is_multiple_of(wanted.block_len()) { wanted } else { narrower(wanted) }
    }

    fn wanted(&self, shape: &Shape, tensor: &Planned) -> TensorType {
        let &Mix(name, _, base) = self;
        if matches!(base, TensorType::F32 | TensorType::F16 | TensorType::BF16 | TensorType::Q8_0) {
            return base;
        }
        let tensor_name = tensor.name.as_str();
        if tensor_name == "output.weight" || (tensor_name == "token_embd.weight" && shape.tied) {
            let whole = tensor.dims[0].is_multiple_of(base.block_len());
            return match whole {
                true if least_bits(name) || name == "IQ3_XXS" => TensorType::Q5_K,
                true => TensorType::Q6_K,
                false => TensorType::Q8_0,
            };
        }
        let Some((layer, role)) = tensor.layer.zip(tensor_name.rsplit('.').nth(1)) else {
            return match name {
                "IQ2_S" | "IQ2_M" | "IQ3_XXS" => TensorType::IQ3_S,
                _ if least_bits(name) => TensorType::Q2_K,
                _ => base,
            };
        };
        let layers = shape.layers;
        let shared = shape.heads / shape.kv_heads >= 4;
        let first = layer < layers / 8;
        if least_bits(name) {
            return with_least_bits(name, role, base, shared, first);
        }
        match (name, role) {
            ("Q4_K_M" | "Q5_K_M", "attn_v" | "ffn_down") if more_bits(layer, layers) => {
                TensorType::Q6_K
            }
            ("Q4_K_M", "attn_qkv") => TensorType::Q5_K,
            ("Q5_K_M", "attn_qkv") => TensorType::Q6_K,
            ("Q4_K_S", "attn_v") if layer < 4 => TensorType::Q5_K,
            ("Q4_K_S", "ffn_down") if first => TensorType::Q5_K,
            ("IQ4_NL" | "IQ4_XS", "attn_v") if shared => TensorType::Q5_K,
            ("IQ4_NL" | "IQ4_XS", "ffn_down") if first => TensorType::Q5_K,
            ("IQ3_XXS" | "IQ3_XS" | "IQ3_S", "attn_v") if shared => TensorType::Q4_K,
            ("IQ3_XXS", "attn_q" | "attn_k") => TensorType::IQ2_S,
            ("IQ3_XXS", "attn_output") => TensorType::IQ3_S,
            ("IQ3_XS", "attn_q" | "attn_k") => TensorType::IQ3_XXS,
            ("IQ3_XS", "ffn_gate" | "ffn_up") if !first && layer < 7 * layers / 8 => {
                TensorType::IQ3_XXS
            }
            ("IQ3_M", "attn_v" | "attn_qkv" | "attn_output") => TensorType::Q4_K,
            ("IQ3_M", "ffn_down") if first => TensorType::Q4_K,
            _ => base,
        }
    }
}

/// Whether a mixture is one of those with one or two bits.
fn least_bits(name: &str) -> bool {
    name.starts_with("IQ1_") || name.starts_with("IQ2_")
}

/// The type of one matrix of a layer in such a mixture.
fn with_least_bits(
    name: &str,
    role: &str,
    base: TensorType,
    shared: bool,
    first: bool,
) -> TensorType {
    let better = matches!(name, "IQ2_S" | "IQ2_M");
    let more = if better { TensorType::IQ3_S } else { TensorType::Q2_K };
    match role {
        "attn_v" if shared => TensorType::Q4_K,
        "attn_v" => more,
        "ffn_down" if first => more,
        "attn_output" if better => TensorType::IQ3_S,
        "attn_output" if name.starts_with("IQ1_") => TensorType::IQ2_XXS,
        _ => base,
    }
}

/// The layers whose values and down projections get more bits: the first and last eighth, and every
/// third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The type taken where a row is no multiple of 256 elements.
fn narrower(wanted: TensorType) -> TensorType {
    match wanted {
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        TensorType::IQ1_S | TensorType::IQ1_M => TensorType::IQ4_NL,
        TensorType::IQ2_XXS | TensorType::IQ2_XS | TensorType::IQ2_S => TensorType::IQ4_NL,
        TensorType::IQ3_XXS | TensorType::IQ3_S | TensorType::IQ4_XS => TensorType::IQ4_NL,
        _ => TensorType::Q4_0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_1b_in_q4_k_m_has_the_types_of_the_real_file() {
        let shape = Shape::named("llama-3.2-1b").unwrap();
        let mix = Mix::named("q4_k_m").unwrap();
        let count = |ty| {
            shape.tensors().iter().filter(|tensor| mix.tensor_type(shape, tensor) == ty).count()
        };
        // As llama-bench and gguf-dump show the published file: 96 Q4_K, 17 Q6_K, 34 F32.
        let found = [TensorType::Q4_K, TensorType::Q6_K, TensorType::F32].map(count);
        assert_eq!(found, [96, 17, 34]);
    }

    #[test]
    fn gemma_1b_falls_back_where_a_row_is_no_multiple_of_256() {
        let shape = Shape::named("gemma-3-1b").unwrap();
        let mix = Mix::named("q4_k_m").unwrap();
        let ty = |name: &str| {
            let tensors = shape.tensors();
            let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
            mix.tensor_type(shape, tensor)
        };
        assert_eq!(ty("token_embd.weight"), TensorType::Q8_0);
        assert_eq!(ty("blk.0.attn_q.weight"), TensorType::Q5_0);
        assert_eq!(ty("blk.0.attn_v.weight"), TensorType::Q8_0);
        assert_eq!(ty("blk.0.ffn_down.weight"), TensorType::Q6_K);
        assert_eq!(ty("blk.0.attn_output.weight"), TensorType::Q4_K);
    }
}
