//! `tokenizer.json`, as far as it is needed: the form in which the tokenizers library keeps a
//! tokenizer.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::super::ImportError;
use super::TOKENIZER;

/// The whole file.
#[derive(Deserialize)]
pub(super) struct Tokenizer {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Json,
    #[serde(default)]
    pub(super) pre_tokenizer: Json,
    #[serde(default)]
    pub(super) post_processor: Json,
    pub(super) model: Model,
}

/// A token that was added to the vocabulary.
#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
    #[serde(default = "yes")]
    pub(super) normalized: bool,
}

fn yes() -> bool {
    true
}

/// The part that turns words into tokens.
#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Vec<Merge>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
}

/// Two tokens that become one: in one text with a space between, or apart.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Joined(String),
    Apart(String, String),
}

impl Merge {
    /// As files have it: a space between, and a space within a token as `Ġ`.
    pub(super) fn text(&self) -> String {
        let spaceless = |part: &str| part.replace(' ', "\u{120}");
        match self {
            Merge::Joined(text) => text.clone(),
            Merge::Apart(left, right) => format!("{} {}", spaceless(left), spaceless(right)),
        }
    }

    /// What the two become; `None` if they are not two.
    pub(super) fn product(&self) -> Option<String> {
        match self {
            Merge::Joined(text) => {
                text.split_once(' ').map(|(left, right)| format!("{left}{right}"))
            }
            Merge::Apart(left, right) => Some(format!("{left}{right}")),
        }
    }
}

/// Texts and their ids; `None` where the file has a list, as other kinds of tokenizer have.
#[derive(Default)]
struct Vocab(Option<Vec<(String, u32)>>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VocabVisitor)
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = Vocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        match super::super::folder::twice(entries.iter().map(|(text, _): &(String, u32)| &**text)) {
            Some(text) => Err(A::Error::custom(format!("token {text:?} comes twice"))),
            None => Ok(Vocab(Some(entries))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Vocab(None))
    }
}

impl Tokenizer {
    /// The tokens of a vocabulary of the type `expected`, with their ids. Older files leave the
    /// type out.
    pub(super) fn vocab(&self, expected: &str) -> Result<&[(String, u32)], ImportError> {
        match (&self.model.vocab.0, self.model.kind.as_deref()) {
            (Some(entries), kind) if kind.is_none_or(|kind| kind == expected) => Ok(entries),
            (_, kind) => Err(ImportError::Unsupported(format!(
                "{TOKENIZER}: the tokenizer is of the type \"{}\"; expected {expected}",
                kind.unwrap_or("unknown").escape_debug()
            ))),
        }
    }

    /// The steps of a part of the file, where a sequence stands for its steps.
    pub(super) fn steps<'a>(part: &'a Json, list: &str) -> Vec<&'a Json> {
        match (part.get("type").and_then(Json::as_str), part.get(list)) {
            (None, _) => Vec::new(),
            (Some("Sequence"), Some(Json::Array(steps))) => steps.iter().collect(),
            (Some(_), _) => vec![part],
        }
    }
}
