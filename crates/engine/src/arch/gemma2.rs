//! Gemma 2: norms before and after each part, every other layer windowed, capped scores and logits.
//! Source: "Gemma 2" (arXiv 2408.00118).

use super::{Arch, Config, Gate, Keys, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Gemma 2.
pub(crate) const ARCH: Arch = Arch { gguf: "gemma2", config };

/// The 27B model scales by its embedding width for each head; it is known by its depth.
const LAYERS_27B: usize = 46;

/// The window of files that do not state it.
const WINDOW: usize = 4096;

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let (layers, width) = (decoder.n_layer, decoder.n_embd);
    let attn_width =
        if layers == LAYERS_27B { width / decoder.heads.count } else { decoder.heads.dim };
    let window = keys.count_or("attention.sliding_window", WINDOW)?;
    Ok(Config {
        gate: Gate::GeluTanh,
        embed_scale: (width as f32).sqrt(),
        attn_scale: (attn_width as f32).sqrt().recip(),
        post_norm: true,
        window: Some(Window::Last(window)),
        windowed: keys.window_pattern("attention.sliding_window_pattern", layers, 2)?,
        attn_softcap: keys.cap("attn_logit_softcapping")?,
        final_softcap: keys.cap("final_logit_softcapping")?,
        ..decoder
    })
}
