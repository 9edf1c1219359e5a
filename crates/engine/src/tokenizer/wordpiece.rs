//! WordPiece, as BERT does it: `tokenizer.ggml.model` = bert.
//!
//! Text is cleaned and cut at spaces and punctuation; a word is written in the longest tokens from
//! the left, or else is unknown. In GGUF the first piece of a word starts with `▁`, the others are
//! bare. As in llama.cpp, and unlike in the original, words of more than 100 characters are not
//! unknown at once.

use unicode_normalization::UnicodeNormalization;

use super::classes::{Classes, LETTER, MARK, NONSPACING, NUMBER, PUNCT, SPACE, SYMBOL};
use super::prefix::PrefixIndex;
use super::vocab::Vocab;

/// Everything that WordPiece needs beside the vocabulary.
pub(super) struct WordPiece {
    /// Tokens that text may become.
    pub(super) index: PrefixIndex,
    pub(super) classes: Classes,
    pub(super) unknown: u32,
    pub(super) lowercase: bool,
    pub(super) strip_accents: bool,
}

impl WordPiece {
    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let text = self.normalize(text);
        let cut = |word: &str, out: &mut Vec<u32>| {
            if !word.is_empty() {
                self.word(vocab, word, out);
            }
        };
        for word in text.split(' ') {
            let mut rest = word;
            while let Some((at, c)) =
                rest.char_indices().find(|&(_, c)| stands_alone(&self.classes, c))
            {
                let end = at + c.len_utf8();
                cut(&rest[..at], out);
                cut(&rest[at..end], out);
                rest = &rest[end..];
            }
            cut(rest, out);
        }
    }

    fn word(&self, vocab: &Vocab, word: &str, out: &mut Vec<u32>) {
        let marked = format!("▁{word}");
        let first = out.len();
        let mut rest = marked.as_bytes();
        while !rest.is_empty() {
            let Some((token, len)) = self.index.longest(vocab, rest, |_| true) else {
                out.truncate(first);
                return out.push(self.unknown);
            };
            out.push(token);
            rest = &rest[len..];
        }
    }

    fn normalize(&self, text: &str) -> String {
        let clean = |c: &char| *c != char::REPLACEMENT_CHARACTER && !is_control(&self.classes, *c);
        let spaced = |c: char| if self.classes.of(c) & SPACE != 0 { ' ' } else { c };
        let mut text: String = text.chars().filter(clean).map(spaced).collect();
        if self.strip_accents {
            text = text.nfd().filter(|&c| self.classes.of(c) & NONSPACING == 0).collect();
        }
        if self.lowercase { text.chars().flat_map(char::to_lowercase).collect() } else { text }
    }
}

/// Controls, and what is private or unassigned; not the line ends and tabs.
fn is_control(classes: &Classes, c: char) -> bool {
    const OTHER_THAN_CONTROL: u16 = LETTER | MARK | NUMBER | PUNCT | SYMBOL;
    match c {
        '\t' | '\n' | '\r' => false,
        // These two are spaces and controls both.
        '\u{b}' | '\u{c}' | '\u{85}' => true,
        _ => classes.of(c) & (OTHER_THAN_CONTROL | SPACE) == 0,
    }
}

/// Punctuation, every visible ASCII character that is no letter or digit, and Chinese characters.
fn stands_alone(classes: &Classes, c: char) -> bool {
    c.is_ascii_punctuation() || classes.of(c) & PUNCT != 0 || is_chinese(c)
}

/// As the original has it: without the block that starts at U+2B820.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}
