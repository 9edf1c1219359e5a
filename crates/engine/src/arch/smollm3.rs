//! SmolLM 3: Llama's layer; every fourth layer does not turn queries and keys.
//! Source: the model card of SmolLM3-3B (Hugging Face, July 2025), and "Rope to Nope and Back
//! Again" (arXiv 2501.18795).

use super::{Arch, Config, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about SmolLM 3.
pub(crate) const ARCH: Arch = Arch { gguf: "smollm3", config };

/// The last layer of so many turns nothing.
const PERIOD: usize = 4;

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    Ok(Config {
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        rotary: (1..=decoder.n_layer).map(|layer| !layer.is_multiple_of(PERIOD)).collect(),
        ..decoder
    })
}
