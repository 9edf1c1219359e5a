//! Tokens of BPE over bytes, whose texts are written in an alphabet of 256 characters.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::super::ImportError;
use super::json::Tokenizer;
use super::special::special_texts;
use super::{Kind, TOKENIZER, Token, added_tokens, looks_special, with_spaces};
use crate::tokenizer::byte_of_char;

/// What is said of an added token.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub(super) special: bool,
    pub(super) normalized: bool,
}

/// The tokens by their ids, `size` of them: what has no token is padding.
pub(super) fn tokens(
    tokenizer: &Tokenizer,
    settings: &Map<String, Json>,
    size: usize,
) -> Result<Vec<Token>, ImportError> {
    let texts = texts(tokenizer, "BPE", size)?;
    let added = added(tokenizer, settings, &texts)?;
    let token = |(id, text): (usize, &Option<&str>)| match *text {
        None => Token::padding(id),
        Some(text) => match added.get(text) {
            None => Token { text: text.to_owned(), score: 0.0, kind: Kind::Normal },
            Some(flags) => added_token(text, *flags),
        },
    };
    Ok(texts.iter().enumerate().map(token).collect())
}

/// The text of each id, of the vocabulary, which must be of this type, and of what was added.
pub(super) fn texts<'a>(
    tokenizer: &'a Tokenizer,
    kind: &str,
    size: usize,
) -> Result<Vec<Option<&'a str>>, ImportError> {
    let mut texts = vec![None; size];
    let vocab = tokenizer.vocab(kind)?.iter().map(|(text, id)| (text.as_str(), *id));
    let added = tokenizer.added_tokens.iter().map(|token| (token.content.as_str(), token.id));
    for (text, id) in vocab.chain(added) {
        let Some(place) = texts.get_mut(id as usize) else {
            let found = format!("token {text:?} with the id {id}");
            let expected = format!("less than {size}, the `vocab_size` of config.json");
            return Err(ImportError::damaged(TOKENIZER, found, expected));
        };
        match *place {
            Some(other) if other != text => {
                let found = format!("tokens {other:?} and {text:?} with the id {id}");
                return Err(ImportError::damaged(TOKENIZER, found, "one token for an id"));
            }
            _ => *place = Some(text),
        }
    }
    Ok(texts)
}

/// Added tokens by their texts. What `tokenizer_config.json` says of one counts more, and a token
/// that has a role there is special, wherever it comes from.
pub(super) fn added(
    tokenizer: &Tokenizer,
    settings: &Map<String, Json>,
    texts: &[Option<&str>],
) -> Result<HashMap<String, Flags>, ImportError> {
    let mut added = HashMap::new();
    for token in &tokenizer.added_tokens {
        let flags = Flags { special: token.special, normalized: token.normalized };
        added.insert(token.content.clone(), flags);
    }
    for token in added_tokens(settings)? {
        let flags = Flags { special: token.special, normalized: token.normalized };
        added.insert(token.text, flags);
    }
    let roles = special_texts(settings);
    for text in texts.iter().flatten().filter(|text| roles.iter().any(|role| role == *text)) {
        let flags = Flags { special: true, normalized: false };
        added.entry((*text).to_owned()).or_insert(flags);
    }
    Ok(added)
}

fn added_token(text: &str, flags: Flags) -> Token {
    let text = if flags.normalized { text.to_owned() } else { decoded(text) };
    match flags.special || looks_special(&text) {
        true => Token { text, score: 0.0, kind: Kind::Control },
        false => Token { text: with_spaces(&text), score: 0.0, kind: Kind::UserDefined },
    }
}

/// A token that stands for itself, as the tokenizers library decodes it: read in the alphabet of
/// bytes if all of it is in that.
fn decoded(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(byte_of_char).collect();
    bytes.map_or_else(|| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}
