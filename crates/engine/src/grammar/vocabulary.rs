//! The vocabulary as grammars see it: a trie over the bytes of its tokens, built once per model
//! when the first constraint comes.
//!
//! Control tokens are marked, so that no grammar can match them as text. Tokens that no sane
//! vocabulary has (hundreds of bytes, or many with the same bytes) are left out: a grammar cannot
//! use them, everything else can.

use std::collections::HashMap;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};

use super::GrammarError;
use crate::tokenizer::Tokenizer;

/// Longest token that a grammar may use; the trie's depth is bounded by it.
const MAX_TOKEN_BYTES: usize = 1000;
/// Most bytes of all tokens together: the trie counts its nodes in 22 bits.
const MAX_BYTES: usize = 4_000_000;
/// Most tokens with the same bytes that a grammar may use.
const MAX_EQUAL: u32 = 16;
/// The tokens that are allowed together or not at all inside a JSON string; their answer is kept.
/// The library's four such sets cost twice the memory of this one (measured on 262,144 tokens) and
/// are not faster.
const TEXT_SLICE: &str = r#"[^"\\\x00-\x1F\x7F]+"#;

/// What every grammar of a model shares.
pub struct GrammarEnv {
    factory: ParserFactory,
    vocab_size: usize,
}

impl std::fmt::Debug for GrammarEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarEnv").field("vocab_size", &self.vocab_size).finish_non_exhaustive()
    }
}

impl GrammarEnv {
    /// Builds the trie of a tokenizer's vocabulary.
    ///
    /// # Errors
    /// If the vocabulary is empty, too large, or has no token that ends a text.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let size = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let ends: Vec<u32> = (0..size).filter(|&id| tokenizer.is_eog(id)).collect();
        let words = (0..size).map(|id| {
            let bytes = tokenizer.token_bytes(id);
            match tokenizer.is_control(id) || tokenizer.is_eog(id) {
                true => marked(tokenizer.token_text(id)),
                false => bytes.into_owned(),
            }
        });
        Self::from_words(words.collect(), &ends)
    }

    /// Builds the trie of these tokens; marked ones start with [`TokTrie::SPECIAL_TOKEN_MARKER`].
    pub(super) fn from_words(mut words: Vec<Vec<u8>>, ends: &[u32]) -> Result<Self, GrammarError> {
        let Some(&end) = ends.first() else { return Err(GrammarError::NoEnd) };
        drop_unusable(&mut words);
        let bytes: usize = words.iter().map(Vec::len).sum();
        if bytes > MAX_BYTES || words.len() >= 1 << 24 {
            return Err(GrammarError::Vocabulary { tokens: words.len(), bytes, most: MAX_BYTES });
        }
        let vocab_size = words.len();
        let info = TokRxInfo::new(vocab_size as u32, end);
        let trie = TokTrie::from(&info, &words);
        drop(words);
        let trie = if ends.len() > 1 { trie.with_eos_tokens(ends) } else { trie };
        let env: toktrie::TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new(&env, InferenceCapabilities::default(), &[TEXT_SLICE.to_owned()])
                .map_err(GrammarError::invalid)?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, vocab_size })
    }

    /// The compiler of grammars.
    pub(super) fn factory(&self) -> &ParserFactory {
        &self.factory
    }

    /// Number of tokens; ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// A token that only a grammar's own special tokens match.
pub(super) fn marked(text: &[u8]) -> Vec<u8> {
    [&[TokTrie::SPECIAL_TOKEN_MARKER], text].concat()
}

/// Empties the tokens that grammars leave out.
fn drop_unusable(words: &mut [Vec<u8>]) {
    let mut seen: HashMap<&[u8], u32> = HashMap::with_capacity(words.len());
    let mut unusable = Vec::new();
    for (id, word) in words.iter().enumerate() {
        let equal = seen.entry(word).or_default();
        *equal += 1;
        if word.len() > MAX_TOKEN_BYTES || *equal > MAX_EQUAL {
            unusable.push(id);
        }
    }
    for id in unusable {
        words[id] = Vec::new();
    }
}

/// What a grammar may cost. The library's defaults allow half a gigabyte of lexer states; these
/// keep a hostile grammar below about 60 MB and 50 ms a token, and the schemas of the field compile
/// within them.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_lexer_states: 30_000,
        max_grammar_size: 250_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}
