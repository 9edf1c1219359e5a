//! Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: query, key and value in one tensor, gate and up in one, a
//! part of each head turned, two tables of factors for contexts long and short.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Computed, Family, USUAL, Vocabulary, decoder};

/// Everything that importing Phi-3 needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["Phi3ForCausalLM"],
    arch: "phi3",
    defaults: &[
        ("max_position_embeddings", Default::Count(4096)),
        ("original_max_position_embeddings", Default::Count(4096)),
        ("rms_norm_eps", Default::Number(1e-5)),
        ("rope_theta", Default::Number(10_000.0)),
        ("partial_rotary_factor", Default::Number(1.0)),
    ],
    keys,
    names: &[("self_attn.qkv_proj", "attn_qkv"), ("mlp.gate_up_proj", "ffn_up")],
    computed: long_rope,
    vocabulary: Vocabulary { added_as_written: true, ..USUAL },
    ..decoder::BASE
};

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    decoder::sizes(config, out)?;
    out.count("rope.scaling.original_context_length", original(config)? as u64);
    out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps")?);
    out.count("rope.dimension_count", turned(config)?);
    out.number("rope.freq_base", config.needed_rope_number("rope_theta")?);
    // Without a window it is 0: that tells Phi-4 from the others.
    out.count("attention.sliding_window", config.count_if("sliding_window")?.unwrap_or(0));
    Ok(())
}

fn original(config: &Config) -> Result<f64, ImportError> {
    config.needed_rope_number("original_max_position_embeddings")
}

/// Elements of a head that turn.
fn turned(config: &Config) -> Result<u64, ImportError> {
    let part = config.rope_number("partial_rotary_factor")?.unwrap_or(1.0);
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    Ok((part * width as f64) as u64 / heads)
}

fn long_rope(config: &Config, out: &mut Metadata) -> Result<Computed, ImportError> {
    let Some(long) = config.rope_numbers("long_factor")? else { return Ok(Vec::new()) };
    let short = config.rope_numbers("short_factor")?.unwrap_or_default();
    let pairs = turned(config)? / 2;
    if (long.len() as u64, short.len() as u64) != (pairs, pairs) {
        let found = format!("{} and short_factor {} numbers", long.len(), short.len());
        return Err(wrong("rope_scaling.long_factor", found, format!("{pairs} of each")));
    }
    let (original, all) = (original(config)?, config.count("max_position_embeddings")? as f64);
    let scale = all / original;
    let factor = match config.rope_word("rope_type") {
        // Older folders have other words for it.
        Some("longrope" | "su" | "yarn") => (1.0 + scale.ln() / original.ln()).sqrt(),
        other => {
            let found = other.unwrap_or("nothing").escape_debug().to_string();
            return Err(wrong("rope_scaling.type", found, "longrope"));
        }
    };
    out.number("rope.scaling.attn_factor", if scale > 1.0 { factor } else { 1.0 });
    Ok(vec![("rope_factors_long.weight", long), ("rope_factors_short.weight", short)])
}
