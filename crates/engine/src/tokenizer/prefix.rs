//! Finds tokens at the start of a text: the longest one, or all of them.
//!
//! A list of ids sorted by their texts, four bytes for each; a search narrows the list byte by
//! byte.

use super::vocab::Vocab;

/// A set of tokens by their texts.
pub(super) struct PrefixIndex {
    sorted: Vec<u32>,
    /// Where in `sorted` the texts with each first byte begin, and the end.
    starts: Box<[u32; 257]>,
}

impl PrefixIndex {
    /// Indexes those of `ids` that have a text.
    pub(super) fn new(vocab: &Vocab, ids: impl Iterator<Item = u32>) -> PrefixIndex {
        // Sorting by the first eight bytes spares most comparisons a look at the texts.
        let mut keyed: Vec<(u64, u32)> =
            ids.filter(|&id| !vocab.text(id).is_empty()).map(|id| (head(vocab, id), id)).collect();
        keyed.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| (vocab.text(a.1), a.1).cmp(&(vocab.text(b.1), b.1)))
        });
        let mut starts = Box::new([0; 257]);
        for &(head, _) in &keyed {
            starts[(head >> 56) as usize + 1] += 1;
        }
        for byte in 0..256 {
            starts[byte + 1] += starts[byte];
        }
        PrefixIndex { sorted: keyed.into_iter().map(|(_, id)| id).collect(), starts }
    }

    /// Calls `found` with each token that `text` begins with and its length, the shortest first.
    pub(super) fn each(&self, vocab: &Vocab, text: &[u8], mut found: impl FnMut(u32, usize)) {
        let Some(&first) = text.first() else { return };
        let range = self.starts[usize::from(first)]..self.starts[usize::from(first) + 1];
        let mut left = &self.sorted[range.start as usize..range.end as usize];
        for depth in 1..=text.len() {
            // All of `left` begin with `text[..depth]`; those that end there come first.
            let Some(&id) = left.first() else { return };
            if vocab.text(id).len() == depth {
                found(id, depth);
                let equal = left.partition_point(|&id| vocab.text(id).len() == depth);
                left = &left[equal..];
            }
            let Some(&next) = text.get(depth) else { return };
            let byte = |&id: &u32| vocab.text(id).get(depth).copied();
            left = &left[left.partition_point(|id| byte(id) < Some(next))..];
            left = &left[..left.partition_point(|id| byte(id) == Some(next))];
        }
    }

    /// The longest token that `text` begins with and that is `allowed`, and its length.
    pub(super) fn longest(
        &self,
        vocab: &Vocab,
        text: &[u8],
        allowed: impl Fn(u32) -> bool,
    ) -> Option<(u32, usize)> {
        let mut longest = None;
        self.each(vocab, text, |id, len| {
            if allowed(id) {
                longest = Some((id, len));
            }
        });
        longest
    }
}

/// The first eight bytes of a text as a number that sorts like them.
fn head(vocab: &Vocab, id: u32) -> u64 {
    let text = vocab.text(id);
    let mut head = [0; 8];
    let len = text.len().min(8);
    head[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::super::vocab::Kind;
    use super::*;
    use crate::gguf::Value;

    #[test]
    fn finds_all_prefixes_and_of_equal_texts_the_first() {
        let texts: [&[u8]; 9] =
            [b"ab", b"a", b"", b"abcdefghij", b"b", b"ab", b"abcdefghi", b"a\0", b"\xff"];
        let Value::Array(array) = Value::strings(texts) else { unreachable!() };
        let kinds = vec![Kind::Normal; texts.len()];
        let vocab = Vocab::new(array.strings().unwrap(), kinds).unwrap();
        let index = PrefixIndex::new(&vocab, vocab.ids());
        let all = |text: &[u8]| {
            let mut all = Vec::new();
            index.each(&vocab, text, |id, len| all.push((id, len)));
            all
        };
        assert_eq!(all(b"abcdefghijk"), [(1, 1), (0, 2), (6, 9), (3, 10)]);
        assert_eq!(all(b"abcdefgh"), [(1, 1), (0, 2)]);
        assert_eq!(all(b"a\0"), [(1, 1), (7, 2)]);
        assert_eq!(all(b"\xff\xff"), [(8, 1)]);
        assert_eq!(all(b""), []);
        assert_eq!(all(b"c"), []);
        assert_eq!(index.longest(&vocab, b"abc", |id| id != 0), Some((1, 1)));
    }
}
