//! Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2.
//!
//! The file holds the rows of query and key interleaved, so that elements that turn against each
//! other are neighbours; the stretching of Llama 3.1 becomes a tensor of factors.

use super::super::ImportError;
use super::super::config::{Config, Default};
use super::super::metadata::Metadata;
use super::{Change, Computed, Family, SpacePrefix, USUAL, Vocabulary, decoder};

/// Everything that importing Llama needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    arch: "llama",
    defaults: &[
        ("max_position_embeddings", Default::Count(2048)),
        ("rms_norm_eps", Default::Number(1e-6)),
        ("rope_theta", Default::Number(10_000.0)),
    ],
    keys,
    change: interleave,
    computed: stretching,
    // Files of 49152 tokens are those of Granite and SmolLM2.
    vocabulary: Vocabulary { space_prefix: SpacePrefix::Told, no_bos_with: Some(49_152), ..USUAL },
    ..decoder::BASE
};

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    turned_keys(config, out)?;
    let head_dim = config.head_dim()?;
    out.count("attention.key_length", head_dim);
    out.count("attention.value_length", head_dim);
    Ok(())
}

/// The keys of Llama and what came of it, but for the width of a head.
pub(super) fn turned_keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    decoder::keys(config, out)?;
    out.count("vocab_size", config.count("vocab_size")?);
    out.count("rope.dimension_count", config.head_dim()?);
    Ok(())
}

/// Query and key are interleaved, weights and biases.
pub(super) fn interleave(config: &Config, name: &str) -> Result<Change, ImportError> {
    let part = name.rsplit_once('.').map_or(name, |(part, _)| part);
    Ok(match part {
        _ if part.ends_with("q_proj") => {
            Change::Interleave { heads: config.count("num_attention_heads")? }
        }
        _ if part.ends_with("k_proj") => Change::Interleave { heads: config.heads_kv()? },
        _ => Change::Keep,
    })
}

/// By what the turning of each pair is slowed, in models of the type `llama3`: short waves are
/// left alone, long ones slowed by the whole factor, those between by a part of it.
///
/// Computed in the precision of the converter, operation by operation; that turns a number divided
/// by a tensor into the tensor's inverse times the number.
pub(super) fn stretching(config: &Config, _: &mut Metadata) -> Result<Computed, ImportError> {
    if config.rope_word("rope_type") != Some("llama3") {
        return Ok(Vec::new());
    }
    let number = |key, default| Ok(config.rope_number(key)?.unwrap_or(default));
    let number = |key, default| -> Result<f64, ImportError> { number(key, default) };
    let (base, dim) = (number("rope_theta", 10_000.0)? as f32, config.head_dim()?);
    let factor = number("factor", 8.0)? as f32;
    let (low, high) = (number("low_freq_factor", 1.0)?, number("high_freq_factor", 4.0)?);
    let original = number("original_max_position_embeddings", 8192.0)?;
    let (longest, shortest) = ((original / low) as f32, (original / high) as f32);
    let factors = (0..dim).step_by(2).map(|i| {
        let power = f64::from(base).powf(f64::from(i as f32 / dim as f32)) as f32;
        let wave = power.recip().recip() * std::f32::consts::TAU;
        if wave < shortest {
            1.0
        } else if wave > longest {
            factor
        } else {
            let smooth = (wave.recip() * original as f32 - low as f32) / (high - low) as f32;
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    });
    Ok(vec![("rope_freqs.weight", factors.collect())])
}
