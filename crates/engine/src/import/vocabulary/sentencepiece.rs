//! `tokenizer.model`: the tokens of a SentencePiece model, which is a message of protocol buffers.
//!
//! Source: `sentencepiece_model.proto` of <https://github.com/google/sentencepiece>, and the
//! encoding as the documentation of protocol buffers describes it.

use serde_json::{Map, Value as Json};

use super::super::ImportError;
use super::super::family::Vocabulary;
use super::json::Tokenizer;
use super::{Added, Kind, Token, looks_special, with_spaces};

/// The score of a token that was added later.
const ADDED: f32 = -1000.0;

/// Fields of the message and of the messages in it.
const PIECES: u64 = 1;
const TRAINER: u64 = 2;
const PIECE_TEXT: u64 = 1;
const PIECE_SCORE: u64 = 2;
const PIECE_KIND: u64 = 3;
const TRAINER_KIND: u64 = 3;

/// `TrainerSpec.ModelType`: BPE; 1 is Unigram, which counts where nothing is said.
const BPE: u64 = 2;

/// The first `size` tokens; what has none is padding.
pub(super) fn read(file: &str, bytes: &[u8], size: usize) -> Result<Vec<Token>, ImportError> {
    let damaged =
        || ImportError::damaged(file, "bytes that are no message", "a SentencePiece model");
    let (mut tokens, mut kind) = (Vec::new(), 1);
    let mut rest = bytes;
    while !rest.is_empty() {
        match field(&mut rest).ok_or_else(damaged)? {
            (PIECES, Field::Bytes(piece)) if tokens.len() < size => {
                tokens.push(token(piece).ok_or_else(damaged)?);
            }
            (TRAINER, Field::Bytes(mut trainer)) => {
                while !trainer.is_empty() {
                    if let (TRAINER_KIND, Field::Number(value)) =
                        field(&mut trainer).ok_or_else(damaged)?
                    {
                        kind = value;
                    }
                }
            }
            _ => {}
        }
    }
    if kind != BPE || tokens.is_empty() {
        return Err(ImportError::Unsupported(format!(
            "{file}: {} tokens of the model type {kind}; expected tokens of BPE, type {BPE}",
            tokens.len()
        )));
    }
    tokens.extend((tokens.len()..size).map(Token::padding));
    Ok(tokens)
}

/// Takes in tokens that were added: `added_tokens.json`, `tokenizer_config.json` and, for families
/// that have them only there, `tokenizer.json`.
pub(super) fn add(
    tokens: &mut [Token],
    added: Option<Map<String, Json>>,
    settings: Vec<Added>,
    tokenizer: Option<&Tokenizer>,
    rules: Vocabulary,
) {
    let mut put = |id: u64, text: String, kind| {
        if let Some(token) = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id)) {
            *token = Token { text, score: ADDED, kind };
        }
    };
    for (text, id) in added.into_iter().flatten() {
        if let Some(id) = id.as_u64() {
            put(id, text, Kind::UserDefined);
        }
    }
    let as_written = rules.added_as_written;
    for Added { id, text, special, .. } in settings {
        match special || (!as_written && looks_special(&text)) {
            true => put(id, text, Kind::Control),
            false if as_written => put(id, text, Kind::UserDefined),
            false => put(id, with_spaces(&text), Kind::UserDefined),
        }
    }
    for token in tokenizer.into_iter().flat_map(|tokenizer| &tokenizer.added_tokens) {
        let kind = if token.special { Kind::Control } else { Kind::UserDefined };
        put(token.id.into(), token.content.clone(), kind);
    }
}

/// A token; `None` if its message is damaged.
fn token(mut piece: &[u8]) -> Option<Token> {
    let mut token = Token { text: String::new(), score: 0.0, kind: Kind::Normal };
    while !piece.is_empty() {
        match field(&mut piece)? {
            (PIECE_TEXT, Field::Bytes(text)) => token.text = String::from_utf8(text.into()).ok()?,
            (PIECE_SCORE, Field::Four(bytes)) => token.score = f32::from_le_bytes(bytes),
            (PIECE_KIND, Field::Number(kind)) => {
                token.kind = match kind {
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    // What users defined counts as normal, as the converter has it.
                    1 | 4 => Kind::Normal,
                    _ => return None,
                }
            }
            _ => {}
        }
    }
    Some(token)
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Four([u8; 4]),
    Bytes(&'a [u8]),
    Other,
}

/// Takes a field off the front: its number and its value. `None` if the message ends within it.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let head = varint(rest)?;
    let value = match head & 7 {
        0 => Field::Number(varint(rest)?),
        1 => {
            rest.split_off(..8)?;
            Field::Other
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Field::Bytes(rest.split_off(..length)?)
        }
        5 => Field::Four(rest.split_off(..4)?.try_into().ok()?),
        _ => return None,
    };
    Some((head >> 3, value))
}

/// Takes a number of 7 bits a byte, the low ones first, off the front.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
