//! Qwen 2 and 2.5: biases on query, key and value.

use super::super::config::Default;
use super::{Family, decoder};

/// Everything that importing Qwen 2 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["Qwen2ForCausalLM"],
    arch: "qwen2",
    defaults: &[
        ("max_position_embeddings", Default::Count(32_768)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(10_000.0)),
    ],
    ..decoder::BASE
};
