//! Tokens of BPE over characters where only `tokenizer.json` is there: the vocabulary of a
//! SentencePiece model without its scores.
//!
//! The converter gives every token the same score then, and a file by which no word is built as
//! the model knows it. The scores here order tokens as the merges do: that is how the merges were
//! made from the scores.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::super::ImportError;
use super::json::Tokenizer;
use super::{Kind, Token, added_tokens, bytes, looks_special, with_spaces};

/// The score of a token that no merge makes, as converters give it to what was added.
const UNMADE: f32 = -1000.0;

/// The tokens by their ids, `size` of them: what has no token is padding.
pub(super) fn tokens(
    tokenizer: &Tokenizer,
    settings: &Map<String, Json>,
    size: usize,
) -> Result<Vec<Token>, ImportError> {
    let mut ranks = HashMap::new();
    for (rank, merge) in tokenizer.model.merges.iter().enumerate() {
        if let Some(product) = merge.product() {
            ranks.entry(product).or_insert(rank);
        }
    }
    let mut special: HashMap<&str, bool> = HashMap::new();
    for token in &tokenizer.added_tokens {
        special.insert(&token.content, token.special);
    }
    let settings = added_tokens(settings)?;
    special.extend(settings.iter().map(|token| (token.text.as_str(), token.special)));
    let unknown = tokenizer.model.unk_token.as_deref();
    let token = |(id, text): (usize, &Option<&str>)| {
        let Some(text) = *text else { return Token::padding(id) };
        let kind = match special.get(text) {
            _ if unknown == Some(text) => Kind::Unknown,
            Some(special) if *special || looks_special(text) => Kind::Control,
            Some(_) => Kind::UserDefined,
            None if is_byte(text) => Kind::Byte,
            None => Kind::Normal,
        };
        let score = match (kind, ranks.get(text)) {
            (Kind::Normal, Some(rank)) => -(*rank as f32),
            (Kind::Normal, None) => -(tokenizer.model.merges.len() as f32),
            (Kind::Byte | Kind::Unknown, _) => 0.0,
            _ => UNMADE,
        };
        let written = kind != Kind::UserDefined;
        let text = if written { text.to_owned() } else { with_spaces(text) };
        Token { text, score, kind }
    };
    Ok(bytes::texts(tokenizer, "BPE", size)?.iter().enumerate().map(token).collect())
}

/// A token such as `<0x0A>`.
fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a text gets a space in front.
pub(super) fn adds_space(tokenizer: &Tokenizer) -> bool {
    let kind = |step: &Json, name| step.get("type").and_then(Json::as_str) == Some(name);
    let never = |step: &&Json| step.get("prepend_scheme").and_then(Json::as_str) == Some("never");
    let normalizers = Tokenizer::steps(&tokenizer.normalizer, "normalizers");
    let cuts = Tokenizer::steps(&tokenizer.pre_tokenizer, "pretokenizers");
    let metaspace = cuts.into_iter().find(|step| kind(step, "Metaspace"));
    normalizers.into_iter().any(|step| kind(step, "Prepend"))
        || metaspace.is_some_and(|step| !never(&step))
}
