//! LFM2: most layers mix the last few tokens by a short convolution, the others attend.
//! Source: "LFM2 Technical Report" (arXiv 2511.23404).

use super::{Arch, Config, Keys, QkNorm, ShortConv, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about LFM2.
pub(crate) const ARCH: Arch = Arch { gguf: "lfm2", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.with_gaps().decoder(RopeStyle::Halves)?;
    let attends = keys.layers_with("attention.head_count_kv", decoder.n_layer)?;
    let taps = keys.count("shortconv.l_cache")?;
    keys.check("shortconv.l_cache", taps, (2..=64).contains(&taps), "2 to 64")?;
    // The two halves of what a convolution sees are kept as keys and values are.
    keys.check("embedding_length", decoder.n_embd, decoder.n_embd % 4 == 0, "a multiple of 4")?;
    let window = keys.window("attention.sliding_window")?;
    Ok(Config {
        qk_norm: QkNorm::Heads,
        window: window.map(Window::Last),
        windowed: attends.iter().map(|attends| *attends && window.is_some()).collect(),
        short_conv: Some(ShortConv { taps, layers: attends.iter().map(|a| !a).collect() }),
        output_norm: "token_embd_norm.weight",
        ..decoder
    })
}
