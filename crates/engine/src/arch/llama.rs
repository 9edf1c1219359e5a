//! Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2, Mistral: RMS norms, grouped-query attention, SwiGLU.
//! Source: "LLaMA: Open and Efficient Foundation Language Models" (arXiv 2302.13971); the sliding
//! window is Mistral 7B's (arXiv 2310.06825).

use super::{Arch, Config, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Llama.
pub(crate) const ARCH: Arch = Arch { gguf: "llama", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    // Converted files hold query and key rows permuted, so that rotated pairs are neighbours.
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    let window = Some(keys.count_or("attention.sliding_window", 0)?).filter(|&window| window > 0);
    Ok(Config {
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        windowed: vec![window.is_some(); decoder.n_layer],
        window,
        ..decoder
    })
}
