//! Qwen 1.5 and 2, mixtures of experts: Qwen 2's attention; an expert for all tokens with a gate of
//! its own; the weights of the chosen experts are not made to sum to 1.
//! Source: "Qwen2 Technical Report" (arXiv 2407.10671).

use super::{Arch, Config, Experts, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Qwen 2's mixtures.
pub(crate) const ARCH: Arch = Arch { gguf: "qwen2moe", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let experts = keys.needed_experts(decoder.n_layer, decoder.n_ff[0])?;
    let n_ff_shared = keys.count_or("expert_shared_feed_forward_length", decoder.n_ff[0])?;
    Ok(Config {
        experts: Some(Experts { n_ff_shared, shared_gate: true, normalise: false, ..experts }),
        ..decoder
    })
}
