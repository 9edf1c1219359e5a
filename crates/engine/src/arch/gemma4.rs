//! Gemma 4: windowed layers and those that see everything have heads of their own, an embedding of
//! every token for each layer, late layers that read the keys and values of earlier ones, and in
//! one of the models experts beside the feed-forward part.
//! Source: Hugging Face's and llama.cpp's implementations.

use super::{Arch, Config, Experts, Gate, Heads, Keys, QkNorm, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Gemma 4.
pub(crate) const ARCH: Arch = Arch { gguf: "gemma4", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let layers = keys.layers()?;
    let windowed = keys.window_pattern("attention.sliding_window_pattern", layers, 6)?;
    let widths = ["attention.key_length", "attention.value_length"];
    let whole = heads(keys, &windowed, false, widths)?;
    let decoder = keys.decoder_with(RopeStyle::Halves, whole)?;
    let widths = ["attention.key_length_swa", "attention.value_length_swa"];
    let heads_windowed = heads(keys, &windowed, true, widths)?;
    let dims = keys.count_or("rope.dimension_count_swa", heads_windowed.dim)?;
    let fits = dims % 2 == 0 && dims <= heads_windowed.dim;
    keys.check("rope.dimension_count_swa", dims, fits, "even, and at most a head's width")?;
    let base = keys.number_or("rope.freq_base_swa", 10_000.0)?;
    let window = keys.count("attention.sliding_window")?;
    let experts = keys.experts(layers, decoder.n_ff[0])?;
    let experts = match experts {
        None => None,
        Some(experts) => Some(Experts {
            n_ff: keys.count("expert_feed_forward_length")?,
            beside_dense: true,
            ..experts
        }),
    };
    Ok(Config {
        gate: Gate::GeluTanh,
        embed_scale: (decoder.n_embd as f32).sqrt(),
        attn_scale: 1.0,
        heads_windowed,
        qk_norm: QkNorm::Heads,
        value_norm: true,
        keys_as_values: true,
        post_norm: true,
        kv_layers: keys.kv_layers(&windowed, layers)?,
        rope_windowed: decoder.rope.unscaled(Some(base)).with_dims(dims),
        window: Some(Window::Last(window)),
        windowed,
        experts,
        // Scales of the feed-forward matrices count here, as in few architectures.
        ffn_scale: true,
        // llama.cpp's default, where the file does not state it; a stated 0 switches it off.
        final_softcap: match keys.states("final_logit_softcapping") {
            true => keys.cap("final_logit_softcapping")?,
            false => Some(30.0),
        },
        per_layer: Some(keys.count_or("embedding_length_per_layer_input", 0)?).filter(|n| *n > 0),
        ..decoder
    })
}

/// The heads of all layers with a window, or of all without.
fn heads(
    keys: &Keys,
    windowed: &[bool],
    kind: bool,
    widths: [&str; 2],
) -> Result<Heads, ModelError> {
    let key = "attention.head_count_kv";
    let counts = match keys.states(key) {
        true => keys.counts(key, windowed.len())?,
        false => vec![keys.count("attention.head_count")?; windowed.len()],
    };
    let mut of_kind = counts.iter().zip(windowed).filter(|(_, is)| **is == kind).map(|(n, _)| *n);
    let first = of_kind.next().unwrap_or(counts[0]);
    match of_kind.find(|other| *other != first) {
        Some(other) => keys.check(key, other, false, "the same in all layers of a kind"),
        None => Ok(()),
    }?;
    keys.heads(first, widths)
}
