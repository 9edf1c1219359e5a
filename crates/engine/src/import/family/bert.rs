//! BERT, as MiniLM, BGE, E5 and GTE have it: learned positions, a norm after each part, biases
//! everywhere. Heads for other tasks than embeddings are left out.

use super::super::ImportError;
use super::super::config::{Config, Default, wrong};
use super::super::metadata::Metadata;
use super::{Family, Layout, USUAL, Vocabulary, VocabularyKind, decoder};

/// Everything that importing BERT needs to know.
pub(super) const FAMILY: Family = Family {
    classes: &["BertModel", "BertForMaskedLM"],
    arch: "bert",
    defaults: &[
        ("vocab_size", Default::Count(30_522)),
        ("hidden_size", Default::Count(768)),
        ("num_hidden_layers", Default::Count(12)),
        ("num_attention_heads", Default::Count(12)),
        ("intermediate_size", Default::Count(3072)),
        ("max_position_embeddings", Default::Count(512)),
        ("type_vocab_size", Default::Count(2)),
        ("layer_norm_eps", Default::Number(1e-12)),
    ],
    keys,
    layout: &LAYOUT,
    text_name,
    vocabulary: Vocabulary { kind: VocabularyKind::WordPiece, ..USUAL },
    activations: &["gelu"],
    pooled: true,
    ..decoder::BASE
};

const LAYOUT: Layout = Layout {
    outside: &[
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("embeddings.position_embeddings", "position_embd"),
        ("embeddings.LayerNorm", "token_embd_norm"),
    ],
    needed: &["token_embd", "position_embd", "token_embd_norm"],
    layers: "encoder.layer.",
    parts: &[
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
    ],
    depth: "num_hidden_layers",
};

/// Tensors of heads for other tasks, and one that only counts.
const HEADS: [&str; 4] =
    ["embeddings.position_ids", "pooler.dense.", "cls.predictions.", "cls.seq_relationship."];

/// The name without what older folders and models with a head have around it.
pub(super) fn text_name(name: &str) -> Option<String> {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    if HEADS.iter().any(|head| name.starts_with(head)) {
        return None;
    }
    let ends = [(".gamma", ".weight"), (".beta", ".bias")];
    let renamed = ends.iter().find_map(|(old, new)| Some(name.strip_suffix(old)?.to_owned() + new));
    Some(renamed.unwrap_or_else(|| name.to_owned()))
}

fn keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    if let Some(kind) = config.word("position_embedding_type").filter(|kind| *kind != "absolute") {
        let found = format!("\"{}\"", kind.escape_debug());
        return Err(wrong("position_embedding_type", found, "absolute"));
    }
    if config.flag("is_decoder") == Some(true) {
        return Err(wrong("is_decoder", true, "false: a model that reads both ways"));
    }
    out.count("block_count", config.count("num_hidden_layers")?);
    out.count("context_length", config.count("max_position_embeddings")?);
    out.count("embedding_length", config.count("hidden_size")?);
    out.count("feed_forward_length", config.count("intermediate_size")?);
    out.count("attention.head_count", config.count("num_attention_heads")?);
    out.number("attention.layer_norm_epsilon", config.number("layer_norm_eps")?);
    encoder_keys(config, out)
}

/// The keys that all kin of BERT have.
pub(super) fn encoder_keys(config: &Config, out: &mut Metadata) -> Result<(), ImportError> {
    out.flag("attention.causal", false);
    out.set("tokenizer.ggml.token_type_count", config.count("type_vocab_size")? as u32);
    Ok(())
}
