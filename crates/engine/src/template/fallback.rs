//! Templates of families, for instruct models whose file lost its own.
//!
//! One is taken only if the file says that it is an instruct model *and* its vocabulary has the
//! family's turn tokens; a base model never gets one, because its answers would be nonsense that
//! looks like a fault of the program. These know no tools: a request with tools is refused.

use std::collections::HashSet;

use crate::gguf::{Gguf, GgufError};

/// What a family is known by, and how it writes a conversation.
struct Family {
    name: &'static str,
    /// Tokens that the vocabulary must have.
    turn_tokens: &'static [&'static str],
    template: &'static str,
}

const FAMILIES: [Family; 5] = [
    Family {
        name: "llama3",
        turn_tokens: &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        template: include_str!("fallback/llama3.jinja"),
    },
    Family {
        name: "chatml",
        turn_tokens: &["<|im_start|>", "<|im_end|>"],
        template: include_str!("fallback/chatml.jinja"),
    },
    Family {
        name: "gemma",
        turn_tokens: &["<start_of_turn>", "<end_of_turn>"],
        template: include_str!("fallback/gemma.jinja"),
    },
    Family {
        name: "phi3",
        turn_tokens: &["<|user|>", "<|assistant|>", "<|end|>"],
        template: include_str!("fallback/phi3.jinja"),
    },
    Family {
        name: "mistral",
        turn_tokens: &["[INST]", "[/INST]"],
        template: include_str!("fallback/mistral.jinja"),
    },
];

/// Refuses what the templates above do not write.
const GUARD: &str = include_str!("fallback/guard.jinja");

/// The family's name and template for an instruct model that has none of its own.
pub(super) fn find(gguf: &Gguf) -> Result<Option<(&'static str, String)>, GgufError> {
    if !says_instruct(gguf)? {
        return Ok(None);
    }
    let Some(tokens) = gguf.meta().strs("tokenizer.ggml.tokens")? else { return Ok(None) };
    let wanted: HashSet<&[u8]> = FAMILIES
        .iter()
        .flat_map(|family| family.turn_tokens)
        .map(|token| token.as_bytes())
        .collect();
    let present: HashSet<&[u8]> = tokens.iter().filter(|token| wanted.contains(token)).collect();
    let has = |token: &&str| present.contains(token.as_bytes());
    let family = FAMILIES.iter().find(|family| family.turn_tokens.iter().all(has));
    Ok(family.map(|family| (family.name, [GUARD, family.template].concat())))
}

/// Whether a name, base name or finetune of the file has the word of an instruct model.
fn says_instruct(gguf: &Gguf) -> Result<bool, GgufError> {
    let mut marked = false;
    for key in ["general.name", "general.basename", "general.finetune"] {
        let text = gguf.meta().str(key)?.unwrap_or("").to_lowercase();
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            match word {
                "base" => return Ok(false),
                "instruct" | "chat" | "it" => marked = true,
                _ => {}
            }
        }
    }
    Ok(marked)
}
