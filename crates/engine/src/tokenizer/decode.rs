//! From tokens back to text, one by one, in whole characters.

use std::borrow::Cow;

use super::vocab::{Kind, byte_of};
use super::{Inner, Model, Tokenizer, bpe};

impl Inner {
    /// The bytes that a token stands for; see `Tokenizer::token_bytes`.
    pub(super) fn token_bytes(&self, id: u32) -> Cow<'_, [u8]> {
        let text = self.vocab.text(id);
        match self.vocab.kind(id) {
            Kind::Control | Kind::UserDefined | Kind::Unknown => Cow::Borrowed(text),
            Kind::Byte => byte_of(text).map_or(Cow::Borrowed(text), |byte| Cow::Owned(vec![byte])),
            Kind::Normal | Kind::Unused if self.byte_alphabet => Cow::Owned(written(text)),
            Kind::Normal | Kind::Unused => spaced(text),
        }
    }
}

/// Bytes from the byte alphabet; a character outside it stands for itself.
fn written(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match bpe::byte_of(c) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes.extend_from_slice(chunk.invalid());
    }
    bytes
}

/// `▁` as a space.
fn spaced(text: &[u8]) -> Cow<'_, [u8]> {
    let mark = "▁".as_bytes();
    if !text.windows(mark.len()).any(|window| window == mark) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(mark) {
            bytes.push(b' ');
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    Cow::Owned(bytes)
}

/// Turns a stream of tokens into text.
///
/// The pieces joined are the text of all tokens, however the stream is cut. A piece never ends in
/// half a character; bytes that are no UTF-8 become U+FFFD as in `String::from_utf8_lossy`. Control
/// and unknown tokens are left out. Where the tokenizer puts a space before each text, the first
/// space is left out.
#[derive(Clone)]
pub struct Decoder {
    tokenizer: Tokenizer,
    /// Bytes of a character that is not complete yet; at most three.
    held: Vec<u8>,
    strip_space: bool,
    show_special: bool,
}

impl Decoder {
    pub(super) fn new(tokenizer: Tokenizer) -> Decoder {
        let strip_space = match &tokenizer.0.model {
            Model::Bpe(_) => false,
            Model::SentencePiece(model) => model.add_space_prefix,
            Model::Unigram(model) => model.add_space_prefix,
            Model::WordPiece(_) => true,
        };
        Decoder { tokenizer, held: Vec::new(), strip_space, show_special: false }
    }

    /// Keeps a space at the start: the tokens go on with a text instead of starting one.
    pub fn continuing(self) -> Decoder {
        Decoder { strip_space: false, ..self }
    }

    /// Writes control and unknown tokens too, as the vocabulary spells them.
    pub fn with_special(self) -> Decoder {
        Decoder { show_special: true, ..self }
    }

    /// Adds a token and returns the text that is complete now; empty for ids beyond the vocabulary.
    pub fn push(&mut self, id: u32) -> String {
        let inner = &self.tokenizer.0;
        let special = matches!(inner.vocab.kind(id), Kind::Control | Kind::Unknown);
        if special && !self.show_special {
            return String::new();
        }
        let bytes = inner.token_bytes(id);
        let mut bytes = &bytes[..];
        if !bytes.is_empty() && !special && std::mem::take(&mut self.strip_space) {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.held.extend_from_slice(bytes);
        self.complete()
    }

    /// Ends the stream: what is held back becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }

    fn complete(&mut self) -> String {
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            rest = after;
            let Some(wrong) = error.error_len() else { break };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[wrong..];
        }
        let held = rest.len();
        self.held.drain(..self.held.len() - held);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_spaces() {
        assert_eq!(&*spaced("▁a▁▁b".as_bytes()), b" a  b");
        assert_eq!(&*spaced(b"\xe2\x96\xff"), b"\xe2\x96\xff");
        assert!(matches!(spaced(b"ab"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_byte_alphabet_is_read_and_other_characters_stand_for_themselves() {
        assert_eq!(written("ĠaĊ中".as_bytes()), " a\n中".as_bytes());
        assert_eq!(written(b"a\xff"), b"a\xff");
    }
}
