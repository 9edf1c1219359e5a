//! OLMo 2 and 3: norms only after attention and feed-forward, norms over all query and all key
//! heads together; OLMo 3 has a sliding window on three layers of four, which turn unscaled.
//! Source: "2 OLMo 2 Furious" (arXiv 2501.00656).

use super::{Arch, Config, Keys, QkNorm, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about OLMo 2.
pub(crate) const ARCH: Arch = Arch { gguf: "olmo2", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let window = keys.window("attention.sliding_window")?;
    let windowed = match window {
        Some(_) => keys.window_pattern("attention.sliding_window_pattern", decoder.n_layer, 4)?,
        None => vec![false; decoder.n_layer],
    };
    Ok(Config {
        qk_norm: QkNorm::Rows,
        pre_norm: false,
        post_norm: true,
        rope_windowed: decoder.rope.unscaled(None),
        window: window.map(Window::Last),
        windowed,
        ..decoder
    })
}
