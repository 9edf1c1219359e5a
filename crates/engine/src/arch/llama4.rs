//! Llama 4 (Scout, Maverick): a mixture with one expert for all tokens and one chosen by a sigmoid
//! that weighs its input; three layers of four turn queries and keys, norm them and see their own
//! chunk of 8,192 tokens; the fourth turns nothing, sees everything, and its queries grow.
//! Source: "The Llama 4 herd" (Meta, April 2025) and the reference code that came with it.

use super::{Arch, Config, Experts, Gating, Keys, QkNorm, Temperature, Window};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Llama 4.
pub(crate) const ARCH: Arch = Arch { gguf: "llama4", config };

/// The last layer of so many turns nothing.
const PERIOD: usize = 4;

/// Tokens of a chunk, and of a step of growth; files do not state them.
const CHUNK: usize = 8192;

/// Growth of queries for each step, in logarithms.
const GROWTH: f32 = 0.1;

/// Experts of Maverick, which norms no queries and keys.
const MAVERICK: usize = 128;

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    let layers = decoder.n_layer;
    let experts = keys.needed_experts(layers, decoder.n_ff[0])?;
    let n_ff = keys.count("expert_feed_forward_length")?;
    // A window of 0 is a statement here: nothing is cut, and every layer turns.
    let whole = keys.states("attention.sliding_window")
        && keys.window("attention.sliding_window")?.is_none();
    let turned = |layer: usize| whole || !(layer + 1).is_multiple_of(PERIOD);
    let step = keys.count_or("interleave_moe_layer_step", 1)?;
    Ok(Config {
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        qk_norm: if experts.count == MAVERICK { QkNorm::None } else { QkNorm::Turned },
        rotary: (0..layers).map(turned).collect(),
        window: (!whole).then_some(Window::Chunk(CHUNK)),
        windowed: match whole {
            true => vec![false; layers],
            false => keys.window_pattern("attention.sliding_window_pattern", layers, PERIOD)?,
        },
        temperature: Some(Temperature {
            interval: CHUNK,
            scale: GROWTH,
            offset: 1,
            unturned_only: true,
        }),
        experts: Some(Experts {
            n_ff,
            n_ff_shared: n_ff,
            gating: Gating::Sigmoid,
            normalise: false,
            weigh_input: true,
            layers: (1..=layers).map(|layer| layer.is_multiple_of(step)).collect(),
            ..experts
        }),
        ..decoder
    })
}
