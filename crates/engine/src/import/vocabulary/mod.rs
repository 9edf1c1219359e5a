//! The tokenizer of a folder as keys of the file: tokens, their kinds, merges or scores, special
//! tokens, the chat template.
//!
//! `tokenizer.model` is read where there is one (`sentencepiece.rs`), else `tokenizer.json`
//! (`json.rs`): BPE over bytes as it is (`bytes.rs`), BPE over characters with scores made from its
//! merges (`characters.rs`). WordPiece is in `wordpiece.rs`. `special.rs` finds roles of tokens and
//! the template, `pre.rs` the name of the rule by which text is cut into words.

mod bytes;
mod characters;
mod json;
mod pre;
mod sentencepiece;
mod special;
mod wordpiece;

use serde_json::{Map, Value as Json};

use super::ImportError;
use super::config::Config;
use super::family::{SpacePrefix, Vocabulary, VocabularyKind};
use super::folder::Folder;
use super::metadata::Metadata;
use crate::gguf::Value;
use json::Tokenizer;

/// The files.
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SENTENCEPIECE: &str = "tokenizer.model";

/// Kinds of tokens, by the numbers that files have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token: its text, its score if the tokenizer goes by scores, its kind.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    score: f32,
    kind: Kind,
}

impl Token {
    /// What stands for an id that has no token; models have more rows than tokens.
    fn padding(id: usize) -> Token {
        Token { text: format!("[PAD{id}]"), score: -10_000.0, kind: Kind::Unused }
    }
}

/// A token that was added to a vocabulary, as `tokenizer_config.json` has it.
struct Added {
    id: u64,
    text: String,
    special: bool,
    normalized: bool,
}

/// Sets the keys of the tokenizer; gives the number of tokens, at most `rows`.
pub(super) fn keys(
    folder: &Folder,
    config: &Config,
    rules: Vocabulary,
    rows: u64,
    out: &mut Metadata,
) -> Result<u64, ImportError> {
    let size = config.count("vocab_size")?;
    if size > rows {
        let found = format!("`vocab_size` is {size} with an embedding of {rows} rows");
        return Err(ImportError::damaged("config.json", found, "a row for each token"));
    }
    let size = size as usize;
    let tokenizer: Option<Tokenizer> = folder.json(TOKENIZER)?;
    let settings: Map<String, Json> = folder.json(TOKENIZER_CONFIG)?.unwrap_or_default();
    let files = Files { folder, tokenizer: tokenizer.as_ref(), settings: &settings };
    let tokens = match rules.kind {
        VocabularyKind::Merged => merged(&files, rules, size, out)?,
        VocabularyKind::WordPiece => wordpiece::keys(&files, size, out)?,
    };
    special::keys(folder, config, tokenizer.as_ref(), settings, tokens, out)?;
    if rules.no_bos_with == Some(size as u64) {
        out.set("tokenizer.ggml.add_bos_token", false);
    }
    Ok(tokens as u64)
}

/// What a tokenizer is read from.
struct Files<'a> {
    folder: &'a Folder,
    /// `tokenizer.json`.
    tokenizer: Option<&'a Tokenizer>,
    /// `tokenizer_config.json`; empty if it is not there.
    settings: &'a Map<String, Json>,
}

impl Files<'_> {
    /// That there is nothing to read tokens from.
    fn missing(&self, other: &str) -> ImportError {
        ImportError::Missing {
            file: format!("{TOKENIZER} or {other}"),
            next: "without them text cannot be turned into tokens: get them from where the model \
                   is from"
                .to_owned(),
        }
    }
}

/// A tokenizer that merges, by bytes or by characters; gives the number of tokens.
fn merged(
    files: &Files<'_>,
    rules: Vocabulary,
    size: usize,
    out: &mut Metadata,
) -> Result<usize, ImportError> {
    let Files { folder, tokenizer, settings } = *files;
    let class = settings.get("tokenizer_class").and_then(Json::as_str);
    let by_bytes = rules.added_as_written && class == Some("GPT2Tokenizer");
    let told = settings.get("add_prefix_space").and_then(Json::as_bool);
    let mut prefix = match rules.space_prefix {
        SpacePrefix::Unsaid => None,
        SpacePrefix::Told => told,
        SpacePrefix::Never => Some(false),
    };
    let tokens = match (folder.find(SENTENCEPIECE), tokenizer) {
        (Some(file), _) if !by_bytes => {
            let mut tokens = sentencepiece::read(&file.name, &file.all()?, size)?;
            let added = folder.json::<Map<String, Json>>("added_tokens.json")?;
            let more = tokenizer.filter(|_| rules.added_as_written);
            sentencepiece::add(&mut tokens, added, added_tokens(settings)?, more, rules);
            scored(&tokens, out);
            tokens
        }
        (_, Some(tokenizer)) if tokenizer.model.byte_fallback && !by_bytes => {
            prefix = prefix.or(Some(characters::adds_space(tokenizer)));
            let tokens = characters::tokens(tokenizer, settings, size)?;
            scored(&tokens, out);
            tokens
        }
        (_, Some(tokenizer)) => {
            let tokens = bytes::tokens(tokenizer, settings, size)?;
            out.set("tokenizer.ggml.model", "gpt2");
            out.set("tokenizer.ggml.pre", pre::name(tokenizer)?);
            lists(&tokens, out);
            let merges = tokenizer.model.merges.iter().map(json::Merge::text);
            out.set("tokenizer.ggml.merges", Value::strings(merges));
            tokens
        }
        (_, None) => return Err(files.missing(SENTENCEPIECE)),
    };
    if let Some(prefix) = prefix {
        out.set("tokenizer.ggml.add_space_prefix", prefix);
    }
    Ok(tokens.len())
}

/// The keys of a tokenizer that goes by scores.
fn scored(tokens: &[Token], out: &mut Metadata) {
    out.set("tokenizer.ggml.model", "llama");
    out.set("tokenizer.ggml.pre", "default");
    lists(tokens, out);
    let scores: Vec<f32> = tokens.iter().map(|token| token.score).collect();
    out.set("tokenizer.ggml.scores", scores);
}

fn lists(tokens: &[Token], out: &mut Metadata) {
    out.set("tokenizer.ggml.tokens", Value::strings(tokens.iter().map(|token| &token.text)));
    let kinds: Vec<i32> = tokens.iter().map(|token| token.kind as i32).collect();
    out.set("tokenizer.ggml.token_type", kinds);
}

/// `added_tokens_decoder` of `tokenizer_config.json`: tokens by their ids.
fn added_tokens(settings: &Map<String, Json>) -> Result<Vec<Added>, ImportError> {
    let wrong = |id: &str| {
        let found = format!("`added_tokens_decoder` with an entry \"{}\"", id.escape_debug());
        ImportError::damaged(TOKENIZER_CONFIG, found, "ids with `content`")
    };
    let Some(Json::Object(entries)) = settings.get("added_tokens_decoder") else {
        return Ok(Vec::new());
    };
    let flag = |entry: &Json, key| entry.get(key).and_then(Json::as_bool);
    let read = |(id, entry): (&String, &Json)| {
        Ok(Added {
            id: id.parse().map_err(|_| wrong(id))?,
            text: entry.get("content").and_then(Json::as_str).ok_or_else(|| wrong(id))?.to_owned(),
            special: flag(entry, "special").unwrap_or(false),
            normalized: flag(entry, "normalized").unwrap_or(true),
        })
    };
    entries.iter().map(read).collect()
}

/// Looks like a token that ought to be special, though its folder does not say so.
fn looks_special(text: &str) -> bool {
    let between = |start: &str, end: &str| {
        text.starts_with(start) && text.ends_with(end) && text.len() > start.len()
    };
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">")
}

/// Spaces of a token that users write are spaces.
fn with_spaces(text: &str) -> String {
    text.replace('▁', " ")
}
