//! Tokenizers built from a GGUF file's metadata: text to token ids and back.
//!
//! Four kinds: BPE by merges (`bpe.rs`), BPE by scores (`sentencepiece.rs`), WordPiece and Unigram,
//! over one vocabulary (`vocab.rs`) whose texts stay in the file's map. Beside the map a vocabulary
//! takes at most three times the bytes of its tokens and merges. `load.rs` reads the keys and
//! refuses what it does not know; `special.rs` finds special tokens in text; `decode.rs` goes back.
//! Chat templates are not here, nor is the check of a prompt's length.

use std::borrow::Cow;
use std::sync::Arc;

use crate::gguf::Gguf;

mod bpe;
mod charsmap;
mod classes;
mod decode;
mod error;
mod guard;
mod load;
mod merge;
mod merges;
mod pre;
mod prefix;
mod sentencepiece;
mod special;
mod split;
mod unigram;
mod vocab;
mod wordpiece;

pub(crate) use bpe::byte_of as byte_of_char;
pub use decode::Decoder;
pub use error::TokenizerError;

use special::Piece;
use vocab::Kind;

/// A vocabulary and the rules to write text in it. Clones share it.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    vocab: vocab::Vocab,
    special: special::SpecialTokens,
    partition: special::Partition,
    model: Model,
    /// Tokens that `add_special` puts before and after a text.
    begin: Option<u32>,
    end: Option<u32>,
    /// Normal tokens are spelt in the byte alphabet of `bpe.rs`.
    byte_alphabet: bool,
}

enum Model {
    Bpe(bpe::Bpe),
    SentencePiece(sentencepiece::SentencePiece),
    WordPiece(wordpiece::WordPiece),
    Unigram(unigram::Unigram),
}

impl Tokenizer {
    /// Builds the tokenizer that the file's `tokenizer.ggml.*` keys describe.
    ///
    /// # Errors
    /// If a key is missing, has another type or length than it must, names a token that is not
    /// there, or if the kind of tokenizer or pre-tokenizer is unknown.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, TokenizerError> {
        load::load(gguf).map(|inner| Tokenizer(Arc::new(inner)))
    }

    /// The tokens of `text`.
    ///
    /// With `add_special` the tokens that the model expects at the start and end of a text are
    /// added. Control tokens that the text names, such as `<|im_end|>`, stay text unless
    /// `parse_special`.
    ///
    /// Text need not be UTF-8. BPE by scores reads it by bytes, and a lead byte takes the bytes
    /// after it along; elsewhere each byte that is not part of a character becomes U+FFFD. So does
    /// llama.cpp, but for overlong forms and surrogates, which it lets pass as characters.
    pub fn encode(&self, text: &[u8], add_special: bool, parse_special: bool) -> Vec<u32> {
        self.encode_pieces(text, add_special, parse_special, &|text| Cow::Borrowed(text))
    }

    /// As [`Tokenizer::encode`]; `clean` sees every piece of text between special tokens first.
    fn encode_pieces(
        &self,
        text: &[u8],
        add_special: bool,
        parse_special: bool,
        clean: &dyn for<'a> Fn(&'a [u8]) -> Cow<'a, [u8]>,
    ) -> Vec<u32> {
        /// Longer texts are encoded in pieces: the tables count bytes in 32 bits.
        const MOST_BYTES: usize = merge::Symbols::MOST_BYTES / 4;
        let Inner { vocab, model, .. } = &*self.0;
        let mut out = Vec::with_capacity(text.len() / 4 + 2);
        out.extend(self.0.begin.filter(|_| add_special));
        let mut at_start = true;
        for text in text.chunks(MOST_BYTES) {
            self.0.partition.cut(vocab, text, parse_special, |piece| {
                let text = match piece {
                    Piece::Text(text) => clean(text),
                    Piece::Token(id) => {
                        out.push(id);
                        at_start = true;
                        return;
                    }
                };
                match model {
                    Model::SentencePiece(model) => model.encode(vocab, &text, at_start, &mut out),
                    Model::Bpe(model) => model.encode(vocab, &repaired(&text), &mut out),
                    Model::WordPiece(model) => model.encode(vocab, &repaired(&text), &mut out),
                    Model::Unigram(model) => model.encode(vocab, &text, &mut out),
                }
                at_start = false;
            });
        }
        out.extend(self.0.end.filter(|_| add_special));
        out
    }

    /// The text of `ids` as a whole; the same as a `decoder` fed with all of them.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder();
        let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// Turns a stream of tokens into text.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.clone())
    }

    /// The bytes that a token stands for in a text, with its leading space if it has one. They need
    /// not be UTF-8. Control tokens are spelt as in the vocabulary; ids beyond it are empty.
    pub fn token_bytes(&self, id: u32) -> Cow<'_, [u8]> {
        self.0.token_bytes(id)
    }

    /// The token as the vocabulary spells it, in whatever alphabet that is.
    pub fn token_text(&self, id: u32) -> &[u8] {
        self.0.vocab.text(id)
    }

    /// The token that the vocabulary spells so, such as `<|im_start|>`.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.0.vocab.find(text.as_bytes())
    }

    /// Number of tokens; ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab.len()
    }

    /// The first difference between two vocabularies, for an error; `None` if ids mean the same.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.vocab_size(), other.vocab_size());
        if ours != theirs {
            return Some(format!("{theirs} tokens, expected {ours}"));
        }
        let differs = |&id: &u32| self.token_text(id) != other.token_text(id);
        (0..ours as u32).find(differs).map(|id| format!("token {id} is another one"))
    }

    /// The token at the start of a text.
    pub fn bos(&self) -> Option<u32> {
        self.0.special.bos
    }

    /// The token at the end of a text.
    pub fn eos(&self) -> Option<u32> {
        self.0.special.eos
    }

    /// Whether a text begins with the bos token when special tokens are added.
    pub fn adds_bos(&self) -> bool {
        self.0.begin.is_some() && self.0.begin == self.bos()
    }

    /// The token at the end of a turn.
    pub fn eot(&self) -> Option<u32> {
        self.0.special.eot
    }

    /// Whether generation stops at this token: the end of a text, turn or message.
    pub fn is_eog(&self, id: u32) -> bool {
        self.0.special.ends.binary_search(&id).is_ok()
    }

    /// Whether the token steers the model and is not part of a text.
    pub fn is_control(&self, id: u32) -> bool {
        self.0.vocab.kind(id) == Kind::Control
    }

    /// The kind of tokenizer for people to read, such as `BPE (llama-bpe)`.
    pub fn kind(&self) -> String {
        match &self.0.model {
            Model::Bpe(model) => format!("BPE ({})", model.pre.names[0]),
            Model::SentencePiece(_) => "SentencePiece BPE".to_owned(),
            Model::WordPiece(_) => "WordPiece".to_owned(),
            Model::Unigram(_) => "Unigram".to_owned(),
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.kind(), self.vocab_size())
    }
}

/// `text` with U+FFFD for each byte that is not part of a character.
fn repaired(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(out)
}
