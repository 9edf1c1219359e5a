//! BPE by a list of merges: `tokenizer.ggml.model` = gpt2 and gemma4.
//!
//! Text is cut into words (`pre.rs`); a word starts as one symbol for each byte (gpt2, whose token
//! texts are written in the byte alphabet below) or for each character (gemma4), and `merge.rs`
//! joins symbols in the order of their merges. Loading stands in `load.rs`.

use super::classes::Classes;
use super::merge::{NO_TOKEN, Symbols};
use super::merges::Merges;
use super::pre::PreTokenizer;
use super::split::split;
use super::vocab::Vocab;

/// Everything that BPE needs beside the vocabulary.
pub(super) struct Bpe {
    pub(super) pre: &'static PreTokenizer,
    pub(super) classes: Classes,
    pub(super) merges: Merges,
    /// The token of each byte, or `NO_TOKEN`.
    pub(super) bytes: [u32; 256],
    /// Symbols are characters and spaces are written `▁`; else symbols are bytes.
    pub(super) by_character: bool,
}

impl Bpe {
    /// Appends the tokens of `text`. A byte that has no token is left out, as in llama.cpp.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let mut symbols = Symbols::default();
        if self.by_character {
            let text = text.replace(' ', "▁");
            split(&self.classes, &text, self.pre.stages, &mut |line| {
                self.line(vocab, line, &mut symbols, out);
            });
        } else {
            let mut written = String::new();
            split(&self.classes, text, self.pre.stages, &mut |word| {
                self.word(vocab, word, &mut written, &mut symbols, out);
            });
        }
    }

    /// A word of a vocabulary of bytes.
    fn word(
        &self,
        vocab: &Vocab,
        word: &str,
        written: &mut String,
        symbols: &mut Symbols,
        out: &mut Vec<u32>,
    ) {
        if self.pre.whole_words {
            written.clear();
            written.extend(word.bytes().map(char_of));
            if let Some(id) = vocab.find_plain(written.as_bytes()) {
                return out.push(id);
            }
        }
        symbols.clear();
        for byte in word.bytes() {
            symbols.push(1, self.bytes[usize::from(byte)]);
        }
        self.join(symbols, word, out);
    }

    /// A line, or a run of line ends, of a vocabulary of characters.
    fn line(&self, vocab: &Vocab, line: &str, symbols: &mut Symbols, out: &mut Vec<u32>) {
        if line.starts_with('\n')
            && let Some(id) = vocab.find_plain(line.as_bytes())
        {
            return out.push(id);
        }
        symbols.clear();
        for (at, c) in line.char_indices() {
            let character = &line.as_bytes()[at..at + c.len_utf8()];
            symbols.push(character.len(), vocab.find_plain(character).unwrap_or(NO_TOKEN));
        }
        self.join(symbols, line, out);
    }

    fn join(&self, symbols: &mut Symbols, text: &str, out: &mut Vec<u32>) {
        symbols.join(|pair| self.merges.get(pair.left, pair.right));
        for (token, range) in symbols.iter() {
            if token == NO_TOKEN {
                let bytes = text.as_bytes()[range].iter().map(|&b| self.bytes[usize::from(b)]);
                out.extend(bytes.filter(|&id| id != NO_TOKEN));
            } else {
                out.push(token);
            }
        }
    }
}

/// The character that stands for `byte` in the texts of a vocabulary of bytes: itself if it is a
/// visible Latin-1 character, else one of those from U+0100 on.
pub(super) fn char_of(byte: u8) -> char {
    let shifted = |offset: u8| char::from_u32(0x100 + u32::from(offset)).unwrap_or(char::MAX);
    match byte {
        0..=0x20 => shifted(byte),
        0x7f..=0xa0 => shifted(byte - 0x7f + 0x21),
        0xad => shifted(0x43),
        _ => char::from(byte),
    }
}

/// The byte that `c` stands for.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => code,
    };
    u8::try_from(byte).ok().filter(|&byte| char_of(byte) == c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_that_of_gpt2() {
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(0xad), 'Ń');
        let characters: std::collections::HashSet<char> = (0..=255).map(char_of).collect();
        assert_eq!(characters.len(), 256);
    }

    #[test]
    fn each_character_of_the_alphabet_is_one_byte_and_no_other_is() {
        for c in '\0'..'\u{1000}' {
            assert_eq!(byte_of(c), (0..=255).find(|&byte| char_of(byte) == c), "{c:?}");
        }
    }
}
