//! Gemma 3 text models, 270M to 27B: norms before and after each part, norms over query and key
//! heads, five windowed layers to one that sees everything, each kind with its own rotary base.
//! Source: "Gemma 3 Technical Report" (arXiv 2503.19786).

use super::{Arch, Config, Gate, Keys, QkNorm, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Gemma 3.
pub(crate) const ARCH: Arch = Arch { gguf: "gemma3", config };

/// The 27B model scales by its embedding width for each head; it is known by its depth.
const LAYERS_27B: usize = 62;

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let (layers, width) = (decoder.n_layer, decoder.n_embd);
    let window = keys.window("attention.sliding_window")?;
    let windowed = match window {
        Some(_) => keys.window_pattern("attention.sliding_window_pattern", layers, 6)?,
        None => vec![false; layers],
    };
    let attn_width =
        if layers == LAYERS_27B { width / decoder.heads.count } else { decoder.heads.dim };
    Ok(Config {
        gate: Gate::GeluTanh,
        embed_scale: (width as f32).sqrt(),
        attn_scale: (attn_width as f32).sqrt().recip(),
        qk_norm: QkNorm::Heads,
        post_norm: true,
        rope_windowed: decoder.rope.unscaled(Some(keys.number_or("rope.freq_base_swa", 10_000.0)?)),
        window: window.map(Window::Last),
        windowed,
        final_softcap: keys.cap("final_logit_softcapping")?,
        ..decoder
    })
}
