//! Gemma 3n: Gemma 3 with an embedding of every token for each layer, several residual streams,
//! gates that mostly stay shut, and late layers that read the keys and values of earlier ones.
//! Source: Hugging Face's and llama.cpp's implementations; the model has no paper of its own.

use super::{Arch, Config, Cutoff, Gate, Keys, QkNorm, Streams, Window};
use crate::altup::MAX_STREAMS;
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Gemma 3n.
pub(crate) const ARCH: Arch = Arch { gguf: "gemma3n", config };

/// Layers with keys and values of their own, in files that do not state how many share.
const KV_LAYERS: usize = 20;
/// Width of the embeddings for layers, in files that do not state it.
const PER_LAYER: usize = 256;
/// Rank of the path beside attention; no file states it.
const RANK: usize = 64;
/// Of the first ten layers, 95 % of the gates stay shut: the normal distribution's quantile.
const CUTOFF: Cutoff = Cutoff { layers: 10, deviations: 1.644_853_4 };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    let layers = decoder.n_layer;
    let count = keys.count_or("altup.num_inputs", 4)?;
    keys.check("altup.num_inputs", count, (2..=MAX_STREAMS).contains(&count), "2 to 8")?;
    let active = keys.count_or("altup.active_idx", 0)?;
    keys.check("altup.active_idx", active, active == 0, "0")?;
    let window = keys.count("attention.sliding_window")?;
    let windowed = keys.window_pattern("attention.sliding_window_pattern", layers, 5)?;
    Ok(Config {
        gate: Gate::GeluTanh,
        embed_scale: (decoder.n_embd as f32).sqrt(),
        attn_scale: 1.0,
        qk_norm: QkNorm::Heads,
        value_norm: true,
        post_norm: true,
        kv_layers: keys.kv_layers(&windowed, KV_LAYERS)?,
        rope_windowed: decoder.rope.unscaled(Some(keys.number_or("rope.freq_base_swa", 10_000.0)?)),
        window: Some(Window::Last(window)),
        windowed,
        final_softcap: Some(keys.number_or("final_logit_softcapping", 30.0)?),
        cutoff: Some(CUTOFF),
        per_layer: Some(keys.count_or("embedding_length_per_layer_input", PER_LAYER)?),
        streams: Some(Streams { count, rank: RANK }),
        ..decoder
    })
}
