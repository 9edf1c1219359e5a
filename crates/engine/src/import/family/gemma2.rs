//! Gemma 2: norms before and after each part, kept as their distance from one; caps on scores and
//! logits; every second layer sees a window.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Change, Family, SpacePrefix, USUAL, Vocabulary, decoder};

/// Everything that importing Gemma 2 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["Gemma2ForCausalLM"],
    arch: "gemma2",
    defaults: &[
        ("max_position_embeddings", Default::Count(8192)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("head_dim", Default::Count(256)),
        ("query_pre_attn_scalar", Default::Number(256.0)),
        ("num_key_value_heads", Default::Count(4)),
        ("sliding_window", Default::Count(4096)),
        ("attn_logit_softcapping", Default::Number(50.0)),
        ("final_logit_softcapping", Default::Number(30.0)),
    ],
    keys,
    names: NORMS,
    change,
    vocabulary: Vocabulary { space_prefix: SpacePrefix::Never, ..USUAL },
    activations: &["gelu_pytorch_tanh"],
    ..decoder::BASE
};

/// The norms of a layer of Gemma.
pub(super) const NORMS: &[(&str, &str)] = &[
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// The largest model scales its scores by the embedding's width for each head, all others by the
/// width of a head. No key tells which: the engine knows the largest by its layers.
pub(super) fn check_scale(config: &Config, largest: u64) -> Result<(), ImportError> {
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    let is_largest = config.count("num_hidden_layers")? == largest;
    let expected = if is_largest { width / heads } else { config.count("head_dim")? };
    let found = config.number("query_pre_attn_scalar")?;
    match found == expected as f64 {
        true => Ok(()),
        false => Err(wrong("query_pre_attn_scalar", found, expected)),
    }
}

/// Layers of the largest model.
const LAYERS_27B: u64 = 46;

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    check_scale(config, LAYERS_27B)?;
    decoder::sizes(config, out)?;
    out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps")?);
    out.count("attention.key_length", config.count("head_dim")?);
    out.count("attention.value_length", config.count("head_dim")?);
    out.number("attn_logit_softcapping", config.number("attn_logit_softcapping")?);
    out.number("final_logit_softcapping", config.number("final_logit_softcapping")?);
    out.count("attention.sliding_window", config.count("sliding_window")?);
    Ok(())
}

fn change(_: &Config, name: &str) -> Result<Change, ImportError> {
    Ok(match name {
        // The head is the embedding; some tools store it a second time.
        "lm_head.weight" => Change::Drop,
        _ if name.ends_with("norm.weight") => Change::AddOne,
        _ => Change::Keep,
    })
}
