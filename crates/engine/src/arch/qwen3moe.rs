//! Qwen 3, mixtures of experts: Qwen 3's attention, every layer's feed-forward part a mixture.
//! Source: "Qwen3 Technical Report" (arXiv 2505.09388).

use super::{Arch, Config, Keys, QkNorm};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Qwen 3's mixtures.
pub(crate) const ARCH: Arch = Arch { gguf: "qwen3moe", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let experts = keys.needed_experts(decoder.n_layer, decoder.n_ff[0])?;
    Ok(Config { qk_norm: QkNorm::Heads, experts: Some(experts), ffn_scale: true, ..decoder })
}
