//! The `tokenizers` crate built from the same metadata, as an oracle.
//!
//! It is far too heavy to run in the product, but it is what the models were trained with.

use hearth_engine::gguf::Meta;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::{unigram::Unigram, wordpiece::WordPiece};
use tokenizers::normalizers::{self, BertNormalizer, NormalizerWrapper, Prepend, Replace};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::normalizer::SplitDelimiterBehavior::Isolated;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

use super::Vocabulary;

const NORMAL: i32 = 1;
const USER_DEFINED: i32 = 4;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The oracle of a vocabulary. It finds user-defined tokens in text, and no control tokens.
pub(crate) fn oracle(vocabulary: &Vocabulary) -> Tokenizer {
    let meta = vocabulary.gguf.meta();
    let tokens = Tokens::read(meta);
    let (mut oracle, strip) = match meta.str("tokenizer.ggml.model").unwrap().unwrap() {
        "gpt2" => (bpe(meta, &tokens), false),
        "llama" => (sentencepiece(meta, &tokens), true),
        "bert" => (wordpiece(&tokens), false),
        "t5" => (unigram(meta, &tokens), false),
        other => panic!("no oracle for {other}"),
    };
    let control = |id: usize| vocabulary.tokenizer.is_control(id as u32);
    let added = tokens
        .texts
        .iter()
        .enumerate()
        .filter(|&(id, _)| tokens.types[id] == USER_DEFINED && !control(id));
    let added = added
        .map(|(_, text)| AddedToken::from(text.clone(), false).normalized(false).rstrip(strip));
    oracle.add_tokens(added.collect::<Vec<_>>()).unwrap();
    oracle
}

struct Tokens {
    texts: Vec<String>,
    types: Vec<i32>,
    ids: Vocab,
}

impl Tokens {
    fn read(meta: &Meta) -> Tokens {
        let texts = strings(meta, "tokenizer.ggml.tokens");
        let types = meta.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
        let ids = texts.iter().cloned().zip(0..).collect();
        Tokens { texts, types, ids }
    }
}

fn strings(meta: &Meta, key: &str) -> Vec<String> {
    let strings = meta.strs(key).unwrap().unwrap();
    strings.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

fn bpe(meta: &Meta, tokens: &Tokens) -> Tokenizer {
    let pre = meta.str("tokenizer.ggml.pre").unwrap().unwrap();
    let (expressions, whole_words): (&[&str], bool) = match pre {
        "llama-bpe" => (&[LLAMA3], true),
        "qwen2" => (&[QWEN2], false),
        "gpt-2" => (&[GPT2], false),
        "starcoder" | "refact" | "smollm" | "command-r" => (&[r"\p{N}", GPT2], false),
        other => panic!("no oracle for {other}"),
    };
    let merges = strings(meta, "tokenizer.ggml.merges");
    let pairs = merges.iter().map(|merge| {
        let (left, right) = merge.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    });
    let builder = BPE::builder().vocab_and_merges(tokens.ids.clone(), pairs.collect::<Vec<_>>());
    let mut oracle = Tokenizer::new(builder.ignore_merges(whole_words).build().unwrap());
    let mut passes: Vec<PreTokenizerWrapper> = Vec::new();
    for expression in expressions {
        let pattern = SplitPattern::Regex((*expression).to_owned());
        passes.push(Split::new(pattern, Isolated, false).unwrap().into());
    }
    passes.push(ByteLevel::new(false, false, false).into());
    oracle.with_pre_tokenizer(Some(Sequence::new(passes)));
    oracle
}

/// Scores as a list of merges: every way to cut a token in two tokens, the best token first.
fn sentencepiece(meta: &Meta, tokens: &Tokens) -> Tokenizer {
    let scores = meta.f32s("tokenizer.ggml.scores").unwrap().unwrap();
    let mut merges = Vec::new();
    for (id, text) in tokens.texts.iter().enumerate() {
        if tokens.types[id] != NORMAL {
            continue;
        }
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(l), Some(r)) = (tokens.ids.get(left), tokens.ids.get(right)) {
                merges.push((scores[id], (*l, *r), (left.to_owned(), right.to_owned())));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let pairs: Vec<_> = merges.into_iter().map(|(_, _, pair)| pair).collect();
    let builder = BPE::builder().vocab_and_merges(tokens.ids.clone(), pairs);
    let builder = builder.byte_fallback(true).fuse_unk(true).unk_token("<unk>".into());
    let mut oracle = Tokenizer::new(builder.build().unwrap());
    oracle
        .with_normalizer(Some(normalizers::Sequence::new(vec![
            NormalizerWrapper::from(Prepend::new("▁".into())),
            Replace::new(" ", "▁").unwrap().into(),
        ])))
        .unwrap();
    oracle
}

fn wordpiece(tokens: &Tokens) -> Tokenizer {
    let spelt = |id: usize, text: &str| match text.strip_prefix('▁') {
        _ if tokens.types[id] != NORMAL => text.to_owned(),
        Some(word) => word.to_owned(),
        // Unused tokens are written like special ones.
        None if text.starts_with('[') && text.ends_with(']') && text.len() > 2 => text.to_owned(),
        None => format!("##{text}"),
    };
    let vocab: Vocab =
        (0..).zip(&tokens.texts).map(|(id, text)| (spelt(id as usize, text), id)).collect();
    let builder = WordPiece::builder().vocab(vocab).unk_token("[UNK]".into());
    let mut oracle = Tokenizer::new(builder.max_input_chars_per_word(usize::MAX).build().unwrap());
    oracle.with_normalizer(Some(BertNormalizer::new(true, true, None, true))).unwrap();
    oracle.with_pre_tokenizer(Some(BertPreTokenizer));
    oracle
}

fn unigram(meta: &Meta, tokens: &Tokens) -> Tokenizer {
    let scores = meta.f32s("tokenizer.ggml.scores").unwrap().unwrap();
    let unknown = meta.u32("tokenizer.ggml.unknown_token_id").unwrap().unwrap();
    let scored = tokens.texts.iter().cloned().zip(scores.iter().map(|&score| f64::from(score)));
    let model = Unigram::from(scored.collect(), Some(unknown as usize), false).unwrap();
    let mut oracle = Tokenizer::new(model);
    oracle
        .with_normalizer(Some(normalizers::Sequence::new(vec![
            NormalizerWrapper::from(Prepend::new("▁".into())),
            Replace::new(" ", "▁").unwrap().into(),
        ])))
        .unwrap();
    oracle
}

/// Whether the oracle strips more than we after an added token: it counts all of Unicode's spaces,
/// and llama.cpp and we those of ASCII.
pub(crate) fn strips_more(text: &str) -> bool {
    let after = |(at, found): (usize, &str)| {
        let rest = text[at + found.len()..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        rest.starts_with(char::is_whitespace)
    };
    text.match_indices("</s>").any(after)
}
