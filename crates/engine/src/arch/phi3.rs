//! Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: query, key and value in one tensor, gate and up in one, a
//! part of each head turned, LongRoPE. Files name a sliding window that no converter fills in
//! right, so it does not count, as in llama.cpp.
//! Source: "Phi-3 Technical Report" (arXiv 2404.14219).

use super::{Arch, Config, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Phi-3 and its successors.
pub(crate) const ARCH: Arch = Arch { gguf: "phi3", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    keys.decoder(RopeStyle::Halves)
}
