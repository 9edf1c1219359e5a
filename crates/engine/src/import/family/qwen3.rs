//! Qwen 3: norms over the heads of query and key, heads of a width of their own.

use super::super::config::Default;
use super::{Family, decoder, qwen2};

/// Everything that importing Qwen 3 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["Qwen3ForCausalLM"],
    arch: "qwen3",
    defaults: &[
        ("max_position_embeddings", Default::Count(32_768)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(10_000.0)),
        ("head_dim", Default::Count(128)),
    ],
    names: &decoder::HEAD_NORMS,
    ..qwen2::FAMILY
};
