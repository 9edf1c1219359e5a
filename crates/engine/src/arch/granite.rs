//! Granite 3 and 4: Llama's layer with a factor on embedding, scores, residual stream and logits;
//! some files have experts, some turn nothing.
//! Source: "Power Scheduler" (arXiv 2408.13359), and the model cards of Granite 3.0 (IBM, 2024).

use super::{Arch, Config, Experts, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Granite.
pub(crate) const ARCH: Arch = Arch { gguf: "granite", config };

pub(super) fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Interleaved)?;
    let turned = keys.flag_or("rope.scaling.finetuned", true)?;
    let n_ff_shared = keys.count_or("expert_shared_feed_forward_length", 0)?;
    let experts = keys.experts(decoder.n_layer, decoder.n_ff[0])?;
    Ok(Config {
        embed_scale: keys.number_or("embedding_scale", 1.0)?,
        attn_scale: keys.number_or("attention.scale", decoder.attn_scale)?,
        residual_scale: keys.number_or("residual_scale", 1.0)?,
        logit_scale: keys.number_or("logit_scale", 1.0)?.recip(),
        rotary: vec![turned; decoder.n_layer],
        experts: experts.map(|experts| Experts { n_ff_shared, ..experts }),
        ..decoder
    })
}
