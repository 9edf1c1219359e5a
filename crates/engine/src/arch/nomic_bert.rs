//! Nomic's BERT: turned heads instead of learned positions, and a gated feed-forward part.
//! Source: "Nomic Embed: Training a Reproducible Long Context Text Embedder" (arXiv 2402.01613).

use super::Keys;
use super::encoder::{EncoderArch, EncoderConfig, Positions};
use crate::error::ModelError;
use crate::rope::{Rope, RopeStyle};

/// Everything this program knows about Nomic's BERT.
pub(crate) const ARCH: EncoderArch = EncoderArch { gguf: "nomic-bert", config };

fn config(keys: &Keys) -> Result<EncoderConfig, ModelError> {
    let head_dim = keys.count("embedding_length")? / keys.count("attention.head_count")?;
    let rope = Rope::read(keys, RopeStyle::Halves, head_dim, keys.count("context_length")?)?;
    keys.encoder(Positions::Rotary(rope), true)
}
