//! Tokens of WordPiece, from `tokenizer.json` or, where only that is there, from `vocab.txt`.
//!
//! In the folder the rest of a word begins with `##`; in the file its beginning does with `▁`.

use serde_json::{Map, Value as Json};

use super::super::ImportError;
use super::super::folder::twice;
use super::super::metadata::Metadata;
use super::json::Tokenizer;
use super::special::text_of;
use super::{Files, Kind, TOKENIZER, Token, bytes, lists, looks_special, with_spaces};

/// One token in each line, in the order of their ids.
const VOCAB: &str = "vocab.txt";

/// What the rest of a word begins with.
const REST: &str = "##";

/// The name that the converter knows the first vocabulary of BERT by. Nothing goes by it: text is
/// cut into words in one way only.
const PRE: &str = "jina-v2-en";

/// Roles of tokens: the name in the folder, the text that counts where no file names one, the
/// file's key, and the id that is taken where a file has no such key.
const ROLES: [(&str, &str, &str, usize); 3] = [
    ("cls_token", "[CLS]", "tokenizer.ggml.bos_token_id", 101),
    ("sep_token", "[SEP]", "tokenizer.ggml.seperator_token_id", 102),
    ("unk_token", "[UNK]", "tokenizer.ggml.unknown_token_id", 100),
];

/// Further tokens that are special where no file says so.
const SPECIAL: [&str; 2] = ["[PAD]", "[MASK]"];

/// Sets the keys; gives the number of tokens. What has no token is padding.
pub(super) fn keys(
    files: &Files<'_>,
    size: usize,
    out: &mut Metadata,
) -> Result<usize, ImportError> {
    let tokens = match (files.tokenizer, files.folder.text(VOCAB)?) {
        (Some(tokenizer), _) => of_tokenizer(tokenizer, files.settings, size, out)?,
        (None, Some(text)) => of_lines(&text, files.settings, size, out)?,
        (None, None) => return Err(files.missing(VOCAB)),
    };
    out.set("tokenizer.ggml.model", "bert");
    out.set("tokenizer.ggml.pre", PRE);
    lists(&tokens, out);
    Ok(tokens.len())
}

fn of_tokenizer(
    tokenizer: &Tokenizer,
    settings: &Map<String, Json>,
    size: usize,
    out: &mut Metadata,
) -> Result<Vec<Token>, ImportError> {
    let texts = bytes::texts(tokenizer, "WordPiece", size)?;
    check(tokenizer)?;
    let added = bytes::added(tokenizer, settings, &texts)?;
    for name in ["lowercase", "strip_accents"] {
        if let Some(value) = tokenizer.normalizer.get(name).and_then(Json::as_bool) {
            out.set(&format!("tokenizer.ggml.normalizer.{name}"), value);
        }
    }
    let token = |(id, text): (usize, &Option<&str>)| match *text {
        None => marked(Token::padding(id)),
        Some(text) => match added.get(text) {
            None => plain(text),
            Some(flags) => special(text, flags.special || looks_special(text)),
        },
    };
    Ok(texts.iter().enumerate().map(token).collect())
}

/// Refuses what the engine's WordPiece does not do.
fn check(tokenizer: &Tokenizer) -> Result<(), ImportError> {
    let kind = |part: &Json| part.get("type").and_then(Json::as_str).map(str::to_owned);
    let on = |key| tokenizer.normalizer.get(key).and_then(Json::as_bool) == Some(true);
    let wrong = |what: &str, part: &Json, expected: &str| {
        let shown: String = part.to_string().chars().take(300).collect();
        ImportError::Unsupported(format!("{TOKENIZER}: {what} {shown}; expected {expected}"))
    };
    let prefix = tokenizer.model.continuing_subword_prefix.as_deref();
    if prefix.is_some_and(|prefix| prefix != REST)
        || (prefix, &tokenizer.model.kind) == (None, &None)
    {
        let found = Json::from(prefix);
        return Err(wrong("the rest of a word begins with", &found, "WordPiece's \"##\""));
    }
    let normal = kind(&tokenizer.normalizer).as_deref() == Some("BertNormalizer")
        && on("clean_text")
        && on("handle_chinese_chars");
    if !normal {
        let expected = "BertNormalizer, cleaning text and setting Chinese characters apart";
        return Err(wrong("text is normalised by", &tokenizer.normalizer, expected));
    }
    match kind(&tokenizer.pre_tokenizer).as_deref() {
        Some("BertPreTokenizer") => Ok(()),
        _ => Err(wrong("words are cut by", &tokenizer.pre_tokenizer, "BertPreTokenizer")),
    }
}

/// The converter writes no key for what only `tokenizer_config.json` says. Here those keys are set
/// without which the file would be read otherwise than the folder.
fn of_lines(
    text: &str,
    settings: &Map<String, Json>,
    size: usize,
    out: &mut Metadata,
) -> Result<Vec<Token>, ImportError> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > size {
        let found = format!("{} lines", lines.len());
        let expected = format!("at most {size}, the `vocab_size` of config.json");
        return Err(ImportError::damaged(VOCAB, found, expected));
    }
    if let Some(text) = twice(lines.iter().copied()) {
        return Err(ImportError::damaged(VOCAB, format!("token {text:?} twice"), "each once"));
    }
    let mut controls = SPECIAL.map(str::to_owned).to_vec();
    for (role, usual, key, usual_id) in ROLES {
        let text = settings.get(role).and_then(text_of).unwrap_or(usual);
        let Some(id) = lines.iter().position(|line| *line == text) else {
            let found = format!("no token {text:?}");
            return Err(ImportError::damaged(VOCAB, found, format!("the {role}")));
        };
        if id != usual_id {
            out.set(key, id as u32);
        }
        controls.push(text.to_owned());
    }
    if settings.get("tokenize_chinese_chars").and_then(Json::as_bool) == Some(false) {
        return Err(ImportError::Unsupported(
            "tokenizer_config.json: `tokenize_chinese_chars` is false; expected true: Chinese \
             characters set apart"
                .to_owned(),
        ));
    }
    if settings.get("do_lower_case").and_then(Json::as_bool) == Some(false) {
        out.set("tokenizer.ggml.normalizer.lowercase", false);
    }
    if let Some(strip) = settings.get("strip_accents").and_then(Json::as_bool) {
        out.set("tokenizer.ggml.normalizer.strip_accents", strip);
    }
    let token = |id| match lines.get(id) {
        None => marked(Token::padding(id)),
        Some(text) if controls.iter().any(|control| control == text) => special(text, true),
        Some(text) => plain(text),
    };
    Ok((0..size).map(token).collect())
}

fn plain(text: &str) -> Token {
    marked(Token { text: text.to_owned(), score: 0.0, kind: Kind::Normal })
}

/// A token that was added: those that stand for themselves are marked as all others are.
fn special(text: &str, control: bool) -> Token {
    match control {
        true => Token { text: text.to_owned(), score: 0.0, kind: Kind::Control },
        false => marked(Token { text: with_spaces(text), score: 0.0, kind: Kind::UserDefined }),
    }
}

/// The token with its text as files have it.
fn marked(token: Token) -> Token {
    let text = match token.text.strip_prefix(REST) {
        Some(rest) => rest.to_owned(),
        None => format!("▁{}", token.text),
    };
    Token { text, ..token }
}
