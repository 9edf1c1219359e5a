//! Text of people inside text of a template. A chat template's own special tokens count, those that
//! a message spells out must not: `guard` breaks them with a mark before the template runs, and
//! `encode_guarded` takes the mark out again once special tokens have been found.

use std::borrow::Cow;

use super::Tokenizer;

/// A noncharacter: Unicode keeps it out of text that is passed on, so a message loses nothing.
const MARK: char = '\u{FDD0}';

impl Tokenizer {
    /// `text` with a mark inside every special token that it spells out.
    pub fn guard<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let inner = &*self.0;
        let spelt = |at: usize| inner.partition.control_at(&inner.vocab, &text.as_bytes()[at..]);
        if !text.contains(MARK) && !text.char_indices().any(|(at, _)| spelt(at)) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len() + 16);
        for (at, char) in text.char_indices().filter(|&(_, char)| char != MARK) {
            out.push(char);
            if spelt(at) {
                out.push(MARK);
            }
        }
        Cow::Owned(out)
    }

    /// The tokens of a rendered template whose messages went through [`Tokenizer::guard`]: special
    /// tokens count, marks vanish. Nothing is added at the start or the end.
    pub fn encode_guarded(&self, text: &str) -> Vec<u32> {
        self.encode_pieces(text.as_bytes(), false, true, &unmarked)
    }
}

/// A piece of text without its marks.
fn unmarked(text: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = [0; 4];
    let mark = MARK.encode_utf8(&mut bytes).as_bytes();
    if !text.windows(mark.len()).any(|window| window == mark) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        match rest.strip_prefix(mark) {
            Some(after) => rest = after,
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}
