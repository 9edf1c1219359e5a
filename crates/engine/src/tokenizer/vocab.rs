//! The tokens: their texts, which stay in the file's map, their types, and a table from text to id.
//!
//! Five words of memory for each token: where its text starts (held by `Strings`), its type, and
//! its share of an open-addressing table of ids. Prefixes are found through `prefix.rs`.

use std::hash::{BuildHasher, RandomState};

use crate::gguf::Strings;

use super::error::TokenizerError;

/// `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of ordinary text.
    Normal,
    /// Stands for what has no token.
    Unknown,
    /// Steers the model; never made from plain text.
    Control,
    /// Added to the vocabulary by the model's makers; found in plain text before all else.
    UserDefined,
    /// Never trained.
    Unused,
    /// One byte, for text that has no token.
    Byte,
}

impl Kind {
    /// The kind of that number; what llama.cpp calls undefined, and every later number, is unused.
    pub(super) fn of(number: i32) -> Kind {
        match number {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            6 => Kind::Byte,
            _ => Kind::Unused,
        }
    }

    /// Whether merging plain text may lead to such a token.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Kind::Normal | Kind::UserDefined | Kind::Unused)
    }
}

/// Tokens by id and by text.
pub(super) struct Vocab {
    texts: Strings,
    kinds: Vec<Kind>,
    /// Ids with eight bits of their text's hash above them, or `EMPTY`; searched linearly.
    slots: Vec<u32>,
    hasher: RandomState,
}

const EMPTY: u32 = u32::MAX;
const ID_BITS: u32 = 24;
const ID_MASK: u32 = (1 << ID_BITS) - 1;

impl Vocab {
    /// Most tokens that the table can number.
    const MOST: usize = (1 << ID_BITS) - 1;

    /// Of tokens with the same text the first is found by text. Empty tokens are never found.
    pub(super) fn new(texts: Strings, kinds: Vec<Kind>) -> Result<Vocab, TokenizerError> {
        let found = texts.len();
        if found > Vocab::MOST {
            return Err(TokenizerError::TooMany { found, most: Vocab::MOST });
        }
        let slots = vec![EMPTY; found + found / 3 + 1];
        let mut vocab = Vocab { texts, kinds, slots, hasher: RandomState::new() };
        for id in 0..found {
            let text = vocab.texts.get(id);
            if text.is_empty() {
                continue;
            }
            if let Err((slot, entry)) = vocab.search(text, vocab.hasher.hash_one(text)) {
                vocab.slots[slot] = entry | id as u32;
            }
        }
        Ok(vocab)
    }

    /// The id of `text`, or the free slot where it belongs and the tag of its hash.
    fn search(&self, text: &[u8], hash: u64) -> Result<u32, (usize, u32)> {
        let tag = (hash as u32) << ID_BITS;
        let mut slot = spread(hash, self.slots.len());
        loop {
            let entry = self.slots[slot];
            if entry == EMPTY {
                return Err((slot, tag));
            }
            let id = entry & ID_MASK;
            if entry ^ tag == id && self.texts.get(id as usize) == text {
                return Ok(id);
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The token's text as the file has it; empty if there is no such token.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        self.texts.get(id as usize)
    }

    /// The token's kind; `Unused` if there is no such token.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    /// Changes the kind of a token that there is.
    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        self.kinds[id as usize] = kind;
    }

    /// The token with that text, of any kind.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.search(text, self.hasher.hash_one(text)).ok()
    }

    /// The same for many texts, three times as fast: a search mostly waits for memory, and here the
    /// memory of all is asked for before any is used.
    pub(super) fn find_all(&self, texts: &[&[u8]]) -> Vec<Option<u32>> {
        let hashes: Vec<u64> = texts.iter().map(|&text| self.hasher.hash_one(text)).collect();
        let first = |&hash: &u64| self.slots[spread(hash, self.slots.len())] & ID_MASK;
        let ids: Vec<u32> = hashes.iter().map(first).collect();
        let touch = |&id: &u32| self.text(id).first().map_or(0, |&byte| u32::from(byte));
        std::hint::black_box(ids.iter().map(touch).sum::<u32>());
        texts.iter().zip(&hashes).map(|(&text, &hash)| self.search(text, hash).ok()).collect()
    }

    /// The token with that text if plain text may become it.
    pub(super) fn find_plain(&self, text: &[u8]) -> Option<u32> {
        self.find(text).filter(|&id| self.kind(id).is_plain())
    }

    /// The token `<0xHH>` of a byte.
    pub(super) fn find_byte(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes())
    }

    /// All ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.kinds.len() as u32
    }
}

/// A place in `0..len` in proportion to the upper half of `hash`; `len` is below 2^32.
pub(super) fn spread(hash: u64, len: usize) -> usize {
    (((hash >> 32) * len as u64) >> 32) as usize
}

/// The byte that `<0x00>` to `<0xFF>` names.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let &[b'<', b'0', b'x', high, low, b'>'] = text else { return None };
    let digit = |c: u8| char::from(c).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn vocab(texts: &[&str]) -> Vocab {
        let Value::Array(array) = Value::strings(texts) else { unreachable!() };
        Vocab::new(array.strings().unwrap(), vec![Kind::Normal; texts.len()]).unwrap()
    }

    #[test]
    fn finds_every_text_and_the_first_of_equal_ones() {
        let texts: Vec<String> = (0..5000).map(|i| format!("t{i}")).collect();
        let mut all: Vec<&str> = texts.iter().map(String::as_str).collect();
        all.extend(["", "t7", ""]);
        let vocab = vocab(&all);
        for (id, text) in texts.iter().enumerate() {
            assert_eq!(vocab.find(text.as_bytes()), Some(id as u32));
        }
        assert_eq!(vocab.find(b""), None);
        assert_eq!(vocab.find(b"t5000"), None);
        assert_eq!(vocab.len(), 5003);
        assert_eq!(vocab.text(9999), b"");
    }

    #[test]
    fn an_empty_vocabulary_finds_nothing() {
        assert_eq!(vocab(&[]).find(b"a"), None);
        assert_eq!(vocab(&["", ""]).find(b""), None);
    }

    #[test]
    fn control_tokens_are_not_plain() {
        let mut vocab = vocab(&["a", "<s>"]);
        vocab.set_kind(1, Kind::Control);
        assert_eq!(vocab.find(b"<s>"), Some(1));
        assert_eq!(vocab.find_plain(b"<s>"), None);
        assert_eq!(vocab.find_plain(b"a"), Some(0));
    }

    #[test]
    fn only_two_hexadecimal_digits_name_a_byte() {
        assert_eq!(byte_of(b"<0x0A>"), Some(10));
        assert_eq!(byte_of(b"<0xfF>"), Some(255));
        for text in ["<0x-1>", "<0x+1>", "<0x1>", "<0x100>", "<0xGG>", "0x00", ""] {
            assert_eq!(byte_of(text.as_bytes()), None, "{text}");
        }
    }
}
