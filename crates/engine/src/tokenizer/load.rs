//! Builds a tokenizer from the keys `tokenizer.ggml.*`.
//!
//! Every array is checked against the list of tokens and every id against its length; what is
//! unknown is an error. What the parts do is in their own files.

use crate::gguf::{Gguf, Meta};

use super::bpe::{self, Bpe};
use super::charsmap::Charsmap;
use super::classes::Classes;
use super::error::TokenizerError;
use super::merge::NO_TOKEN;
use super::merges::Merges;
use super::pre::{GEMMA4, PreTokenizer};
use super::prefix::PrefixIndex;
use super::sentencepiece::{SentencePiece, weakness};
use super::special::{Partition, SpecialTokens};
use super::unigram::Unigram;
use super::vocab::{Kind, Vocab, byte_of};
use super::wordpiece::WordPiece;
use super::{Inner, Model};

/// Kinds of tokenizer, by `tokenizer.ggml.model`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// gpt2
    Bpe,
    /// gemma4
    BpeOfLines,
    /// llama
    SentencePiece,
    /// bert
    WordPiece,
    /// t5
    Unigram,
}

const MERGES: &str = "tokenizer.ggml.merges";
const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const SCORES: &str = "tokenizer.ggml.scores";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

impl Family {
    fn read(meta: &Meta) -> Result<Family, TokenizerError> {
        let model = meta.str(MODEL)?.ok_or(TokenizerError::Missing { key: MODEL })?;
        let found = || model.to_owned();
        match model {
            "gpt2" => match meta.str(PRE)? {
                Some(name) if GEMMA4.names.contains(&name) => Ok(Family::BpeOfLines),
                _ => Ok(Family::Bpe),
            },
            "gemma4" => Ok(Family::BpeOfLines),
            "llama" => Ok(Family::SentencePiece),
            "bert" => Ok(Family::WordPiece),
            "t5" => Ok(Family::Unigram),
            "none" | "no_vocab" => Err(TokenizerError::NoVocabulary { found: found() }),
            _ => Err(TokenizerError::UnknownModel { found: found() }),
        }
    }
}

/// Reads all keys of a tokenizer.
pub(super) fn load(gguf: &Gguf) -> Result<Inner, TokenizerError> {
    let meta = gguf.meta();
    let family = Family::read(meta)?;
    let mut vocab = read_vocab(meta)?;
    let special = SpecialTokens::read(meta, family, &mut vocab)?;
    let partition = Partition::new(meta, &vocab)?;
    let model = match family {
        Family::Bpe | Family::BpeOfLines => Model::Bpe(read_bpe(meta, family, &vocab)?),
        Family::SentencePiece => {
            Model::SentencePiece(read_sentencepiece(meta, &vocab, special.unknown)?)
        }
        Family::WordPiece => Model::WordPiece(read_wordpiece(meta, &vocab, special.unknown)?),
        Family::Unigram => Model::Unigram(read_unigram(meta, &vocab, special.unknown)?),
    };
    let (begin, end) = added_tokens(meta, family, &model, &special)?;
    let byte_alphabet = family == Family::Bpe;
    Ok(Inner { vocab, special, partition, model, begin, end, byte_alphabet })
}

fn read_vocab(meta: &Meta) -> Result<Vocab, TokenizerError> {
    let texts = meta.strs(TOKENS)?.ok_or(TokenizerError::Missing { key: TOKENS })?;
    let kinds = match meta.i32s(TYPES)? {
        None => vec![Kind::Normal; texts.len()],
        Some(types) => {
            check_len(TYPES, types.len(), texts.len())?;
            types.into_iter().map(Kind::of).collect()
        }
    };
    let vocab = Vocab::new(texts, kinds)?;
    let bad_byte = |&id: &u32| vocab.kind(id) == Kind::Byte && byte_of(vocab.text(id)).is_none();
    match vocab.ids().find(bad_byte) {
        Some(id) => {
            let text = String::from_utf8_lossy(vocab.text(id)).chars().take(32).collect();
            Err(TokenizerError::ByteToken { id, text })
        }
        None => Ok(vocab),
    }
}

fn check_len(key: &'static str, found: usize, expected: usize) -> Result<(), TokenizerError> {
    if found == expected { Ok(()) } else { Err(TokenizerError::Length { key, found, expected }) }
}

fn read_bpe(meta: &Meta, family: Family, vocab: &Vocab) -> Result<Bpe, TokenizerError> {
    let by_character = family == Family::BpeOfLines;
    let pre = if by_character {
        &GEMMA4
    } else {
        let name = meta.str(PRE)?.ok_or(TokenizerError::MissingPre)?;
        PreTokenizer::find(name)
            .ok_or_else(|| TokenizerError::UnknownPre { found: name.to_owned() })?
    };
    let merges = meta.strs(MERGES)?.ok_or(TokenizerError::Missing { key: MERGES })?;
    let bytes = byte_tokens(|byte| {
        if by_character {
            vocab.find_byte(byte)
        } else {
            vocab.find_plain(bpe::char_of(byte).encode_utf8(&mut [0; 4]).as_bytes())
        }
    });
    let (classes, merges) = (Classes::read(), Merges::new(&merges, vocab)?);
    Ok(Bpe { pre, classes, merges, bytes, by_character })
}

fn byte_tokens(find: impl Fn(u8) -> Option<u32>) -> [u32; 256] {
    std::array::from_fn(|byte| find(byte as u8).unwrap_or(NO_TOKEN))
}

fn read_scores(meta: &Meta, vocab: &Vocab) -> Result<Vec<f32>, TokenizerError> {
    let scores = meta.f32s(SCORES)?.ok_or(TokenizerError::Missing { key: SCORES })?;
    check_len(SCORES, scores.len(), vocab.len())?;
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(TokenizerError::Score { id }),
        None => Ok(scores),
    }
}

fn read_sentencepiece(
    meta: &Meta,
    vocab: &Vocab,
    unknown: Option<u32>,
) -> Result<SentencePiece, TokenizerError> {
    let plain = vocab.ids().filter(|&id| vocab.kind(id).is_plain());
    Ok(SentencePiece {
        weakness: read_scores(meta, vocab)?.into_iter().map(weakness).collect(),
        add_space_prefix: meta.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        bytes: byte_tokens(|byte| vocab.find_byte(byte)),
        longest: plain.map(|id| vocab.text(id).len()).max().unwrap_or(0),
        unknown,
    })
}

fn read_wordpiece(
    meta: &Meta,
    vocab: &Vocab,
    unknown: Option<u32>,
) -> Result<WordPiece, TokenizerError> {
    let lowercase = meta.bool("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
    let strip_accents = meta.bool("tokenizer.ggml.normalizer.strip_accents")?;
    Ok(WordPiece {
        index: PrefixIndex::new(vocab, vocab.ids().filter(|&id| vocab.kind(id).is_plain())),
        classes: Classes::read(),
        unknown: unknown.ok_or(TokenizerError::Missing { key: UNKNOWN })?,
        lowercase,
        strip_accents: strip_accents.unwrap_or(lowercase),
    })
}

fn read_unigram(
    meta: &Meta,
    vocab: &Vocab,
    unknown: Option<u32>,
) -> Result<Unigram, TokenizerError> {
    const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
    /// How much worse than the worst token an unknown character is.
    const PENALTY: f32 = 10.0;
    let scores = read_scores(meta, vocab)?;
    let normal = vocab.ids().filter(|&id| vocab.kind(id) == Kind::Normal);
    let worst = normal.map(|id| scores[id as usize]).fold(f32::MAX, f32::min);
    let charsmap = match meta.get(CHARSMAP) {
        None => Charsmap::default(),
        Some(value) => {
            // The converter writes bytes as signed or as unsigned ones.
            let bytes = meta.i32s(CHARSMAP)?.unwrap_or_default();
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
            Charsmap::new(&bytes)
                .ok_or_else(|| TokenizerError::Charsmap { found: value.to_string() })?
        }
    };
    Ok(Unigram {
        index: PrefixIndex::new(vocab, vocab.ids().filter(|&id| vocab.kind(id).is_plain())),
        scores,
        charsmap,
        unknown: unknown.ok_or(TokenizerError::Missing { key: UNKNOWN })?,
        unknown_score: worst - PENALTY,
        add_space_prefix: meta.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(false),
        merge_spaces: meta.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false),
    })
}

/// The tokens that `add_special` puts before and after a text.
fn added_tokens(
    meta: &Meta,
    family: Family,
    model: &Model,
    special: &SpecialTokens,
) -> Result<(Option<u32>, Option<u32>), TokenizerError> {
    let (bos_key, eos_key) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
    let usual = match model {
        Model::Bpe(bpe) => (bpe.pre.add_bos, false),
        Model::SentencePiece(_) => (true, false),
        Model::WordPiece(_) => return Ok((special.bos, special.separator)),
        Model::Unigram(_) => (false, true),
    };
    let told = meta.bool("tokenizer.ggml.add_bos_token")?;
    // Early files of Gemma 4 say no by mistake.
    let begin = family == Family::BpeOfLines || told.unwrap_or(usual.0);
    let end = meta.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(usual.1);
    let added = |wanted: bool, id: Option<u32>, key| match id {
        None if wanted => Err(TokenizerError::NoAddedToken { key }),
        id => Ok(id.filter(|_| wanted)),
    };
    Ok((added(begin, special.bos, bos_key)?, added(end, special.eos, eos_key)?))
}
