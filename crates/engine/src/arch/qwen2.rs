//! Qwen 2 and 2.5: Llama's layer with biases on query, key and value, which files bring as tensors.
//! Source: "Qwen2 Technical Report" (arXiv 2407.10671).

use super::{Arch, Config, Keys};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Qwen 2.
pub(crate) const ARCH: Arch = Arch { gguf: "qwen2", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    keys.decoder(RopeStyle::Halves)
}
