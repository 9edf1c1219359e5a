//! Ministral 3: Llama's layer, YaRN, and queries that grow with their position beyond the length
//! that the model was first trained at.
//! Source: the model cards of Ministral 3 (Mistral AI, 2025); the growth is Llama 4's.

use super::{Arch, Config, Keys, Temperature};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Ministral 3.
pub(crate) const ARCH: Arch = Arch { gguf: "mistral3", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    let scale = keys.number_or("attention.temperature_scale", 0.0)?;
    let growth = |interval| Temperature { interval, scale, offset: 0, unturned_only: false };
    Ok(Config {
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        temperature: (scale != 0.0).then(|| growth(decoder.rope.original_ctx())),
        experts: keys.experts(decoder.n_layer, decoder.n_ff[0])?,
        ffn_scale: true,
        ..decoder
    })
}
