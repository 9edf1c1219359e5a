//! What most decoders have alike: the names of their tensors and the keys of their architecture.

use super::super::ImportError;
use super::super::config::{Config, wrong};
use super::super::metadata::Metadata;
use super::{Change, Family, Layout, USUAL};

/// What is known of most decoders; a family says which ones it is about, and what differs.
pub(super) const BASE: Family = Family {
    classes: &[],
    arch: "",
    defaults: &[],
    keys,
    layout: &LAYOUT,
    names: &[],
    text_name,
    change: keep,
    computed: nothing_computed,
    vocabulary: USUAL,
    activations: &["silu", "swish"],
    pooled: false,
};

const LAYOUT: Layout = Layout {
    outside: &[
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ],
    needed: &["token_embd", "output_norm"],
    layers: "model.layers.",
    parts: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    depth: "num_hidden_layers",
};

/// The names of norms over the heads of query and key.
pub(super) const HEAD_NORMS: [(&str, &str); 2] =
    [("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm")];

/// The name that a tensor of the text part has in models of text alone; `None` for a tensor of
/// another part, which is left out.
fn text_name(name: &str) -> Option<String> {
    let apart = ["vision_tower.", "multi_modal_projector.", "vision_model."];
    if apart.iter().any(|part| name.contains(part)) {
        return None;
    }
    Some(name.replace("language_model.", ""))
}

/// The keys that the converter sets for every family that does not set its own.
pub(super) fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    sizes(config, out)?;
    rope(config, out)?;
    out.number("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps")?);
    if let Some(head_dim) = config.count_if("head_dim")? {
        out.count("attention.key_length", head_dim);
        out.count("attention.value_length", head_dim);
    }
    Ok(())
}

/// The keys that state sizes.
pub(super) fn sizes(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    out.count("block_count", config.count("num_hidden_layers")?);
    out.count("context_length", config.count("max_position_embeddings")?);
    out.count("embedding_length", config.count("hidden_size")?);
    out.count("feed_forward_length", config.count("intermediate_size")?);
    out.count("attention.head_count", config.count("num_attention_heads")?);
    out.count("attention.head_count_kv", config.heads_kv()?);
    Ok(())
}

/// How positions turn, and how that is stretched to longer contexts.
fn rope(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    let factor = |out: &mut Metadata| -> Result<(), ImportError> {
        out.number("rope.scaling.factor", config.needed_rope_number("factor")?);
        Ok(())
    };
    match config.rope_word("rope_type") {
        // The stretching of Llama 3 lies in a tensor.
        None | Some("default" | "llama3") => {}
        Some("linear") => {
            out.word("rope.scaling.type", "linear");
            factor(out)?;
        }
        Some("yarn") => {
            out.word("rope.scaling.type", "yarn");
            factor(out)?;
            yarn(config, out)?;
        }
        Some("longrope" | "su") => out.word("rope.scaling.type", "longrope"),
        Some(other) => {
            return Err(wrong(
                "rope_scaling.rope_type",
                format!("\"{}\"", other.escape_debug()),
                "default, linear, yarn, longrope or llama3",
            ));
        }
    }
    if let Some(theta) = config.rope_number("rope_theta")? {
        out.number("rope.freq_base", theta);
    }
    if let Some(theta) = config.windowed_theta()? {
        out.number("rope.freq_base_swa", theta);
    }
    Ok(())
}

fn yarn(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    let original = config.needed_rope_number("original_max_position_embeddings")?;
    out.count("rope.scaling.original_context_length", original as u64);
    let attention = match config.rope_number("attention_factor")? {
        None => config.rope_number("attn_factor")?,
        found => found,
    };
    let others = [
        ("rope.scaling.yarn_ext_factor", config.rope_number("extrapolation_factor")?),
        ("rope.scaling.yarn_attn_factor", attention),
        ("rope.scaling.yarn_beta_fast", config.rope_number("beta_fast")?),
        ("rope.scaling.yarn_beta_slow", config.rope_number("beta_slow")?),
    ];
    for (key, value) in others {
        if let Some(value) = value {
            out.number(key, value);
        }
    }
    Ok(())
}

/// Nothing changes.
pub(super) fn keep(_: &Config, _: &str) -> Result<Change, ImportError> {
    Ok(Change::Keep)
}

/// No tensor is computed.
pub(super) fn nothing_computed(
    _: &Config,
    _: &mut Metadata,
) -> Result<super::Computed, ImportError> {
    Ok(Vec::new())
}
