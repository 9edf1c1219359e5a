//! Why a vocabulary was refused. Encoding and decoding cannot fail once it is loaded.

use crate::gguf::GgufError;

use super::pre::PRE_TOKENIZERS;

/// Why a model file's tokenizer could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file's metadata could not be read as the type that the key has.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A key that the kind of tokenizer needs.
    #[error("the file has no `{key}`, which its tokenizer needs; convert the model again")]
    Missing {
        /// The key that is not there.
        key: &'static str,
    },
    /// The file says that it has no tokenizer; token ids still work.
    #[error("the file has no tokenizer (`tokenizer.ggml.model` is `{found}`); use token ids")]
    NoVocabulary {
        /// Value of `tokenizer.ggml.model`.
        found: String,
    },
    /// A kind of tokenizer that is not built here.
    #[error("unknown tokenizer `{found}` in `tokenizer.ggml.model`; known are {KNOWN_MODELS}")]
    UnknownModel {
        /// Value of `tokenizer.ggml.model`.
        found: String,
    },
    /// A way to cut text into words that is not known; guessing would degrade the model silently.
    #[error(
        "unknown pre-tokenizer `{found}` in `tokenizer.ggml.pre`; known are {}",
        known_pre_tokenizers()
    )]
    UnknownPre {
        /// Value of `tokenizer.ggml.pre`.
        found: String,
    },
    /// A BPE file from before May 2024, which does not say how to cut text into words.
    #[error(
        "the file has no `tokenizer.ggml.pre`, so it does not say how its tokenizer cuts words; \
         convert the model again (known are {})",
        known_pre_tokenizers()
    )]
    MissingPre,
    /// An array that does not go with the list of tokens.
    #[error("`{key}` has {found} entries for {expected} tokens")]
    Length {
        /// Key of the array.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The number of tokens.
        expected: usize,
    },
    /// A special token that does not exist.
    #[error("`{key}` is {found}, but the vocabulary has only {vocab_size} tokens")]
    NoSuchToken {
        /// Key of the special token.
        key: &'static str,
        /// The id that it names.
        found: u32,
        /// The number of tokens.
        vocab_size: usize,
    },
    /// The file asks for a token at the start or end of each text without saying which.
    #[error("the file asks for `{key}` in every text, but does not name that token")]
    NoAddedToken {
        /// Key of the special token.
        key: &'static str,
    },
    /// A merge that is no pair, or whose parts or result are no tokens.
    #[error("merge {number} is `{text}`, but {wrong}")]
    Merge {
        /// Position in `tokenizer.ggml.merges`.
        number: usize,
        /// The merge as far as it is text.
        text: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A score that cannot be compared.
    #[error("the score of token {id} is not a number")]
    Score {
        /// The token.
        id: usize,
    },
    /// A token of the type BYTE that names no byte.
    #[error("token {id} is marked as a byte, but is `{text}`; expected `<0x00>` to `<0xFF>`")]
    ByteToken {
        /// The token.
        id: u32,
        /// Its text.
        text: String,
    },
    /// A table of character replacements whose lengths do not fit.
    #[error(
        "`tokenizer.ggml.precompiled_charsmap` is {found}; expected the length of a table of \
         32-bit entries, the table, and replacements"
    )]
    Charsmap {
        /// What is there.
        found: String,
    },
    /// More tokens than the tables can number.
    #[error("the vocabulary has {found} tokens; at most {most} are supported")]
    TooMany {
        /// Number of tokens.
        found: usize,
        /// The limit.
        most: usize,
    },
}

const KNOWN_MODELS: &str = "gpt2, gemma4 (BPE), llama (SentencePiece BPE), bert (WordPiece) and \
                            t5 (Unigram)";

fn known_pre_tokenizers() -> String {
    let names = PRE_TOKENIZERS.iter().flat_map(|pre| pre.names).copied();
    names.collect::<Vec<_>>().join(", ")
}
