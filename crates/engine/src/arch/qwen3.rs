//! Qwen 3, dense: Llama's layer with norms over query and key heads.
//! Source: "Qwen3 Technical Report" (arXiv 2505.09388).

use super::{Arch, Config, Keys, QkNorm};
use crate::error::ModelError;
use crate::rope::RopeStyle;

/// Everything this program knows about Qwen 3.
pub(crate) const ARCH: Arch = Arch { gguf: "qwen3", config };

fn config(keys: &Keys) -> Result<Config, ModelError> {
    let decoder = keys.decoder(RopeStyle::Halves)?;
    Ok(Config { qk_norm: QkNorm::Heads, ffn_scale: true, ..decoder })
}
