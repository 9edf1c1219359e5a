//! Nomic's BERT: turned heads instead of learned positions, query, key and value in one tensor, a
//! gate, no biases but those of norms.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Family, Layout, bert};

/// Everything that importing Nomic's BERT needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["NomicBertModel"],
    arch: "nomic-bert",
    defaults: &[
        ("max_trained_positions", Default::Count(2048)),
        ("type_vocab_size", Default::Count(1)),
    ],
    keys,
    layout: &LAYOUT,
    ..bert::FAMILY
};

const LAYOUT: Layout = Layout {
    outside: &[
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("emb_ln", "token_embd_norm"),
    ],
    needed: &["token_embd", "token_embd_norm"],
    layers: "encoder.layers.",
    parts: &[
        ("attn.Wqkv", "attn_qkv"),
        ("attn.out_proj", "attn_output"),
        ("norm1", "attn_output_norm"),
        ("mlp.fc11", "ffn_up"),
        ("mlp.fc12", "ffn_gate"),
        ("mlp.fc2", "ffn_down"),
        ("norm2", "layer_output_norm"),
    ],
    depth: "n_layer",
};

/// What the models published so far have in common, and no key of the file could tell.
const SWITCHED_OFF: [&str; 6] = [
    "causal",
    "qkv_proj_bias",
    "mlp_fc1_bias",
    "mlp_fc2_bias",
    "prenorm",
    "rotary_emb_interleaved",
];

/// Positions that `config.json` has, and those that the models were trained for: what lies beyond
/// is reached by stretching, which the file has no key for.
const POSITIONS: (u64, u64) = (8192, 2048);

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    if let Some(key) = SWITCHED_OFF.iter().find(|key| config.flag(key) != Some(false)) {
        return Err(wrong(key, "not switched off", "false"));
    }
    if config.word("activation_function") != Some("swiglu") {
        let found = config.word("activation_function").unwrap_or("nothing").escape_debug();
        return Err(wrong("activation_function", found, "swiglu"));
    }
    if config.number_if("rotary_emb_fraction")? != Some(1.0)
        || config.number_if("rotary_emb_scale_base")?.is_some()
    {
        return Err(wrong(
            "rotary_emb_fraction",
            "not 1, or with a scale",
            "whole heads that turn",
        ));
    }
    let positions = (config.count("n_positions")?, config.count("max_trained_positions")?);
    if positions != POSITIONS {
        return Err(wrong("n_positions", positions.0, POSITIONS.0));
    }
    out.count("block_count", config.count("n_layer")?);
    out.count("context_length", positions.1);
    out.count("embedding_length", config.count("n_embd")?);
    out.count("feed_forward_length", config.count("n_inner")?);
    out.count("attention.head_count", config.count("n_head")?);
    out.number("rope.freq_base", config.number("rotary_emb_base")?);
    out.number("attention.layer_norm_epsilon", config.number("layer_norm_epsilon")?);
    bert::encoder_keys(config, out)
}
