//! Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2, Mistral, Mixtral: RMS norms, grouped-query attention,
//! SwiGLU, in some files by experts.
//! Source: "LLaMA: Open and Efficient Foundation Language Models" (arXiv 2302.13971); the sliding
//! window is Mistral 7B's (arXiv 2310.06825), the experts are Mixtral's (arXiv 2401.04088).

use super::{Arch, Config, Keys, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Llama.
pub(crate) const ARCH: Arch = Arch { gguf: "llama", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    // Converted files hold query and key rows permuted, so that rotated pairs are neighbours.
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    let window = keys.window("attention.sliding_window")?;
    Ok(Config {
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        windowed: vec![window.is_some(); decoder.n_layer],
        window: window.map(Window::Last),
        experts: keys.experts(decoder.n_layer, decoder.n_ff[0])?,
        ffn_scale: true,
        ..decoder
    })
}
