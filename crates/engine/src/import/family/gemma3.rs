//! Gemma 3, text models and the text part of the others: Gemma 2's norms, norms over the heads of
//! query and key, another base for the positions of layers with a window.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Change, Family, decoder, gemma2};

/// Everything that importing Gemma 3 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    arch: "gemma3",
    // The models that see leave most of this out.
    defaults: &[
        ("max_position_embeddings", Default::Count(131_072)),
        ("num_attention_heads", Default::Count(8)),
        ("num_key_value_heads", Default::Count(4)),
        ("head_dim", Default::Count(256)),
        ("query_pre_attn_scalar", Default::Number(256.0)),
        ("vocab_size", Default::Count(262_208)),
        ("sliding_window", Default::Count(4096)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(1_000_000.0)),
        ("rope_local_base_freq", Default::Number(10_000.0)),
    ],
    keys,
    names: &[
        gemma2::NORMS[0],
        gemma2::NORMS[1],
        gemma2::NORMS[2],
        decoder::HEAD_NORMS[0],
        decoder::HEAD_NORMS[1],
    ],
    change,
    ..gemma2::FAMILY
};

/// Layers of the largest model.
const LAYERS_27B: u64 = 62;

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    gemma2::check_scale(config, LAYERS_27B)?;
    decoder::keys(config, out)?;
    if let Some(cap) = config.number_if("attn_logit_softcapping")? {
        return Err(wrong("attn_logit_softcapping", cap, "nothing: Gemma 3 has no such cap"));
    }
    if let Some(cap) = config.number_if("final_logit_softcapping")?.filter(|cap| *cap != 0.0) {
        out.number("final_logit_softcapping", cap);
    }
    if config.count_if("sliding_window_pattern")? != Some(1) {
        out.count("attention.sliding_window", config.count("sliding_window")?);
    }
    Ok(())
}

fn change(_: &Config, name: &str) -> Result<Change, ImportError> {
    Ok(match name {
        "model.embed_tokens.weight" => Change::CutToVocabulary,
        _ if name.ends_with("norm.weight") => Change::AddOne,
        _ => Change::Keep,
    })
}
