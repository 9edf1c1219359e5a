//! BPE by scores, as SentencePiece does it: `tokenizer.ggml.model` = llama.
//!
//! There is no list of merges: two neighbours may be joined if their text is a token, and the token
//! with the highest score goes first. A character that is no token becomes its bytes' tokens.

use super::merge::{NO_TOKEN, Symbols};
use super::vocab::Vocab;

/// Everything that score-driven BPE needs beside the vocabulary.
pub(super) struct SentencePiece {
    /// For each token how weak it is: sorts like the score, from the highest to the lowest.
    pub(super) weakness: Vec<u32>,
    /// A space is put before a text that starts the input or follows a special token.
    pub(super) add_space_prefix: bool,
    /// The token of each byte, or `NO_TOKEN`.
    pub(super) bytes: [u32; 256],
    /// Longest token that is tried, in bytes.
    pub(super) longest: usize,
    /// For bytes that have no token.
    pub(super) unknown: Option<u32>,
}

impl SentencePiece {
    /// Appends the tokens of `text`, which need not be UTF-8: a stray byte becomes its byte's
    /// token.
    pub(super) fn encode(&self, vocab: &Vocab, text: &[u8], at_start: bool, out: &mut Vec<u32>) {
        let mut escaped = Vec::with_capacity(text.len() + text.len() / 4 + 3);
        let blank: &[u8] = if at_start && self.add_space_prefix { b" " } else { b"" };
        for &byte in blank.iter().chain(text) {
            match byte {
                b' ' => escaped.extend_from_slice("▁".as_bytes()),
                _ => escaped.push(byte),
            }
        }
        let mut symbols = Symbols::default();
        let mut rest = escaped.as_slice();
        while let Some(&first) = rest.first() {
            let (symbol, after) = rest.split_at(char_len(first).min(rest.len()));
            symbols.push(symbol.len(), vocab.find_plain(symbol).unwrap_or(NO_TOKEN));
            rest = after;
        }
        symbols.join(|pair| {
            let joined = &escaped[pair.start..pair.end];
            let token = if joined.len() > self.longest { None } else { vocab.find_plain(joined) }?;
            Some((self.weakness[token as usize], token))
        });
        for (token, range) in symbols.iter() {
            if token == NO_TOKEN {
                let bytes = escaped[range].iter().map(|&b| self.bytes[usize::from(b)]);
                out.extend(
                    bytes.filter_map(|id| if id == NO_TOKEN { self.unknown } else { Some(id) }),
                );
            } else {
                out.push(token);
            }
        }
    }
}

/// Bytes of the character that starts with `first`; 1 for a byte that starts none.
fn char_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// A number that is the smaller the higher `score` is, which is not NaN.
pub(super) fn weakness(score: f32) -> u32 {
    // The sum turns -0.0 into 0.0, which scores the same.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { !bits ^ (1 << 31) } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_are_less_weak() {
        let scores = [f32::INFINITY, 1e10, 1.0, 1e-40, 0.0, -1e-40, -1.0, -2.0, f32::NEG_INFINITY];
        assert!(scores.is_sorted_by_key(|&score| weakness(score)), "{:?}", scores.map(weakness));
        assert_eq!(weakness(0.0), weakness(-0.0));
    }
}
