//! The merge table of BPE: from a pair of token ids to the rank of its merge and the token it
//! makes.
//!
//! One flat open-addressing table; no text is kept. `merge.rs` applies it.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

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
    /// Reads `tokenizer.ggml.merges`: "left right" each, the first being the strongest. The left
    /// part may itself begin with a space. Of equal merges the first counts. Merges that make a
    /// control token are left out: no text may become one.
    pub(super) fn new(merges: &Strings, vocab: &Vocab) -> Result<Merges, TokenizerError> {
        let capacity = merges.len() + merges.len() / 3 + 1;
        let most = (u32::MAX / 2) as usize;
        if capacity > most {
            return Err(TokenizerError::TooMany { found: capacity, most });
        }
        // A multiplier that no file can foresee: colliding pairs cannot be prepared.
        let seed = RandomState::new().hash_one(0) | 1;
        let mut table = Merges { slots: vec![EMPTY; capacity], seed };
        let mut last = 0;
        for start in (0..merges.len()).step_by(BATCH) {
            let end = merges.len().min(start + BATCH);
            let batch = read_batch(merges, start..end, vocab, &mut last)?;
            let at = |slot: &Slot| table.slots[table.first(slot.left, slot.right)].rank;
            std::hint::black_box(batch.iter().map(at).fold(0, u32::wrapping_add));
            for new in batch.into_iter().filter(|new| vocab.kind(new.result).is_plain()) {
                let slot = table.search(new.left, new.right);
                if table.slots[slot].left == EMPTY.left {
                    table.slots[slot] = new;
                }
            }
        }
        Ok(table)
    }

    /// Where the search for a pair starts.
    fn first(&self, left: u32, right: u32) -> usize {
        let pair = u64::from(left) << 32 | u64::from(right);
        let product = u128::from(pair ^ self.seed) * u128::from(self.seed);
        spread((product >> 64) as u64 ^ product as u64, self.slots.len())
    }

    /// The slot of the pair, or the free one where it belongs.
    fn search(&self, left: u32, right: u32) -> usize {
        let mut slot = self.first(left, right);
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

/// Merges that are read together, to wait for memory once (see `Vocab::find_all`).
const BATCH: usize = 64;

/// Reads the merges `ranks`; `last` is the result of the one before, near which the next one mostly
/// is.
fn read_batch(
    merges: &Strings,
    ranks: Range<usize>,
    vocab: &Vocab,
    last: &mut u32,
) -> Result<Vec<Slot>, TokenizerError> {
    let wrong = |rank: usize, wrong| {
        let merge = merges.get(rank);
        let text = String::from_utf8_lossy(&merge[..merge.len().min(64)]).into_owned();
        TokenizerError::Merge { number: rank, text, wrong }
    };
    let mut parts = Vec::with_capacity(2 * BATCH);
    for rank in ranks.clone() {
        let merge = merges.get(rank);
        let blank = merge.iter().skip(1).position(|&b| b == b' ');
        let blank = blank.ok_or_else(|| wrong(rank, "it has no space between two parts"))? + 1;
        parts.extend([&merge[..blank], &merge[blank + 1..]]);
    }
    let ids = vocab.find_all(&parts);
    let (pairs, _) = parts.as_chunks::<2>();
    let (pair_ids, _) = ids.as_chunks::<2>();
    let mut batch = Vec::with_capacity(BATCH);
    for (rank, (&[left, right], &[left_id, right_id])) in ranks.zip(pairs.iter().zip(pair_ids)) {
        let joins = |&id: &u32| {
            let text = vocab.text(id);
            let len = left.len() + right.len();
            text.len() == len && text.starts_with(left) && text.ends_with(right)
        };
        let near = (*last..=last.saturating_add(1)).find(joins);
        let result = near.or_else(|| vocab.find(&[left, right].concat()));
        *last = result.ok_or_else(|| wrong(rank, "its result is no token"))?;
        batch.push(Slot {
            left: left_id.ok_or_else(|| wrong(rank, "its left part is no token"))?,
            right: right_id.ok_or_else(|| wrong(rank, "its right part is no token"))?,
            rank: rank as u32,
            result: *last,
        });
    }
    Ok(batch)
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
            ("x a", "result"),
            ("a ", "right part"),
            ("a x", "result"),
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
