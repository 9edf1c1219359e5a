//! Unigram, as SentencePiece does it: `tokenizer.ggml.model` = t5.
//!
//! Of all ways to write the text in tokens, the one with the highest sum of scores (Viterbi).

use super::charsmap::Charsmap;
use super::prefix::PrefixIndex;
use super::vocab::{Kind, Vocab};

/// Everything that Unigram needs beside the vocabulary.
pub(super) struct Unigram {
    /// Tokens that text may become.
    pub(super) index: PrefixIndex,
    pub(super) scores: Vec<f32>,
    pub(super) charsmap: Charsmap,
    pub(super) unknown: u32,
    /// Score of a character that is no token.
    pub(super) unknown_score: f32,
    pub(super) add_space_prefix: bool,
    /// Runs of spaces count as one, and those at the end do not count.
    pub(super) merge_spaces: bool,
}

/// The best way to reach a place in the text: the last token and where it starts.
#[derive(Clone, Copy)]
struct Step {
    token: u32,
    from: u32,
    score: f64,
}

impl Unigram {
    /// Appends the tokens of `text`. A byte that is not part of a character counts as U+FFFD, which
    /// the character map does not see.
    pub(super) fn encode(&self, vocab: &Vocab, text: &[u8], out: &mut Vec<u32>) {
        let text = self.normalize(text);
        let start = Step { token: self.unknown, from: 0, score: f64::NEG_INFINITY };
        let mut best = vec![start; text.len() + 1];
        best[0].score = 0.0;
        for (at, c) in text.char_indices() {
            let so_far = best[at].score;
            let mut reach = |token: u32, len: usize, score: f32| {
                let score = so_far + f64::from(score);
                let step = &mut best[at + len];
                if score > step.score {
                    *step = Step { token, from: at as u32, score };
                }
            };
            let mut whole_character = false;
            self.index.each(vocab, &text.as_bytes()[at..], |token, len| {
                whole_character |= len == c.len_utf8();
                // Added tokens win over all others: normal scores are logarithms, so negative.
                let added = vocab.kind(token) == Kind::UserDefined;
                reach(token, len, if added { 0.0 } else { self.scores[token as usize] });
            });
            if !whole_character {
                reach(self.unknown, c.len_utf8(), self.unknown_score);
            }
        }
        self.read_back(&best, out);
    }

    /// Follows the best steps from the end; neighbouring unknown characters are one token.
    fn read_back(&self, best: &[Step], out: &mut Vec<u32>) {
        let first = out.len();
        let mut at = best.len() - 1;
        while at > 0 {
            let step = best[at];
            let again = step.token == self.unknown && out[first..].last() == Some(&self.unknown);
            if !again {
                out.push(step.token);
            }
            at = step.from as usize;
        }
        out[first..].reverse();
    }

    /// Applies the character map and writes spaces as `▁`.
    fn normalize(&self, text: &[u8]) -> String {
        let mut mapped = Vec::with_capacity(text.len() + 8);
        for chunk in text.utf8_chunks() {
            self.map(chunk.valid(), &mut mapped);
            for _ in chunk.invalid() {
                mapped.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        let mut out = String::with_capacity(mapped.len() + 8);
        let (mut in_word, mut prefixed) = (false, false);
        for c in String::from_utf8_lossy(&mapped).chars() {
            if c == ' ' {
                in_word = false;
                if !self.merge_spaces {
                    out.push('▁');
                }
                continue;
            }
            if !in_word && (self.merge_spaces || (self.add_space_prefix && !prefixed)) {
                out.push('▁');
                prefixed = true;
            }
            in_word = true;
            out.push(c);
        }
        out
    }

    /// Appends `text` with its replacements.
    fn map(&self, text: &str, mapped: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let len = match self.charsmap.replace(rest.as_bytes()) {
                Some((len, replacement)) if rest.is_char_boundary(len) => {
                    mapped.extend_from_slice(replacement);
                    len
                }
                _ => {
                    mapped.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                    c.len_utf8()
                }
            };
            rest = &rest[len..];
        }
    }
}
