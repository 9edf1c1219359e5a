//! Mistral: Llama's tensors and keys. Its window is not in the file, as the converter has it.

use super::super::config::Default;
use super::{Family, llama};

/// Everything that importing Mistral needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["MistralForCausalLM"],
    defaults: &[
        ("max_position_embeddings", Default::Count(131_072)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(10_000.0)),
    ],
    keys: llama::turned_keys,
    ..llama::FAMILY
};
