//! The merge table of BPE: from a pair of token ids to the rank of its merge and the token it makes.
//!
//! One flat open-addressing table; no text is kept. `merge.rs` applies it.

use std::hash::{BuildHasher, RandomState};

use crate::gguf::Strings;

use super::error::TokenizerError;
use super::vocab::{Vocab, spread};

/// 16 bytes for each merge and a third more that is free.
pub(super) struct Merges {
    slots: Vec<Slot>,
    seed: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    left: u32,
    right: u32,
    rank: u32,
    result: u32,
}

const EMPTY: Slot = Slot { left: u32::MAX, right: u32::MAX, rank: 0, result: 0 };

impl Merges {
    /// Reads `tokenizer.ggml.merges`: "left right" each, the first being the strongest. The left part
    /// may itself begin with a space. Of equal merges the first counts. Merges that make a control token
    /// are left out: no text may become one.
    pub(super) fn new(merges: &Strings, vocab: &Vocab) -> Result<Merges, TokenizerError> {
        let capacity = merges.len() + merges.len() / 3 + 1;
        let most = (u32::MAX / 2) as usize;
        if capacity > most {
            return Err(TokenizerError::TooMany { found: capacity, most });
        }
        // A multiplier that no file can foresee: colliding pairs cannot be prepared.
        let seed = RandomState::new().hash_one(0) | 1;
        let mut table = Merges { slots: vec![EMPTY; capacity], seed };
        let mut joined = Vec::new();
        for (rank, merge) in merges.iter().enumerate() {
            let wrong = |wrong| TokenizerError::Merge {
                number: rank,
                text: String::from_utf8_lossy(&merge[..merge.len().min(64)]).into_owned(),
                wrong,
            };
            let blank = merge.iter().skip(1).position(|&b| b == b' ');
            let blank = blank.ok_or_else(|| wrong("has no space between two parts"))? + 1;
            let (left, right) = (&merge[..blank], &merge[blank + 1..]);
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let id = |text, what| vocab.find(text).ok_or_else(|| wrong(what));
            let left = id(left, "its left part is no token")?;
            let right = id(right, "its right part is no token")?;
            let result = id(&joined, "its result is no token")?;
            if !vocab.kind(result).is_plain() {
                continue;
            }
            let slot = table.search(left, right);
            if table.slots[slot].left == EMPTY.left {
                table.slots[slot] = Slot { left, right, rank: rank as u32, result };
            }
        }
        Ok(table)
    }

    /// The slot of the pair, or the free one where it belongs.
    fn search(&self, left: u32, right: u32) -> usize {
        let pair = u64::from(left) << 32 | u64::from(right);
        let product = u128::from(pair ^ self.seed) * u128::from(self.seed);
        let mut slot = spread((product >> 64) as u64 ^ product as u64, self.slots.len());
        loop {
            let found = &self.slots[slot];
            if (found.left == left && found.right == right) || found.left == EMPTY.left {
                return slot;
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Rank of the merge of two tokens (0 is the strongest) and the token it makes.
    pub(super) fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let slot = &self.slots[self.search(left, right)];
        (slot.left != EMPTY.left).then_some((slot.rank, slot.result))
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocab::Kind;
    use super::*;
    use crate::gguf::Value;

    fn strings(texts: &[&str]) -> Strings {
        let Value::Array(array) = Value::strings(texts) else { unreachable!() };
        array.strings().unwrap()
    }

    fn table(tokens: &[&str], merges: &[&str]) -> Result<Merges, TokenizerError> {
        let kinds = tokens.iter().map(|t| if *t == "<s>" { Kind::Control } else { Kind::Normal });
        Merges::new(&strings(merges), &Vocab::new(strings(tokens), kinds.collect()).unwrap())
    }

    #[test]
    fn first_of_equal_merges_counts_and_the_left_part_may_begin_with_a_space() {
        let table = table(&["a", "b", "ab", " ", " a"], &["a b", "  a", "a b"]).unwrap();
        assert_eq!(table.get(0, 1), Some((0, 2)));
        assert_eq!(table.get(3, 0), Some((1, 4)));
        assert_eq!(table.get(1, 0), None);
        assert_eq!(table.get(u32::MAX - 1, 7), None);
    }

    #[test]
    fn merges_that_are_no_pairs_of_tokens_are_refused() {
        let cases = [
            ("", "no space"),
            ("a", "no space"),
            (" a", "no space"),
            ("x a", "left part"),
            ("a ", "right part"),
            ("a x", "right part"),
            ("b a", "result"),
        ];
        for (merge, part) in cases {
            let error = table(&["a", "b", "ab", "<s>", ">"], &["a b", merge]).err().unwrap();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("merge 1 is `{merge}`")) && text.contains(part),
                "{text}"
            );
        }
    }

    #[test]
    fn a_merge_that_makes_a_control_token_is_left_out() {
        let table = table(&["<s", ">", "<s>"], &["<s >"]).unwrap();
        assert_eq!(table.get(0, 1), None);
    }
}
