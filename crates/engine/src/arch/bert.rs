//! BERT: learned positions, a norm after each part, gelu. MiniLM, BGE and E5 are such models.
//! Source: "BERT: Pre-training of Deep Bidirectional Transformers" (arXiv 1810.04805).

use super::Keys;
use super::encoder::{EncoderArch, EncoderConfig, Positions};
use crate::error::ModelError;

/// Everything this program knows about BERT.
pub(crate) const ARCH: EncoderArch = EncoderArch { gguf: "bert", config };

fn config(keys: &Keys) -> Result<EncoderConfig, ModelError> {
    keys.encoder(Positions::Learned, false)
}
