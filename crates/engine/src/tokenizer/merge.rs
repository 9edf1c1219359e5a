//! Joins neighbours, strongest pair first, until none is left to join: what both kinds of BPE do.
//!
//! A heap of candidate pairs over a linked list of symbols, O(n log n) for n symbols. What makes a
//! pair strong is the caller's: a merge's rank (`bpe.rs`) or a token's score (`sentencepiece.rs`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No symbol: the end of the list.
const END: u32 = u32::MAX;
/// `next` of a symbol that its left neighbour has swallowed.
const SWALLOWED: u32 = u32::MAX - 1;
/// The token of a symbol that is none.
pub(super) const NO_TOKEN: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    prev: u32,
    next: u32,
    token: u32,
}

/// A pair that may be joined, ordered by weakness, then by place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    weakness: u32,
    left: u32,
    /// End of the pair's text; if it has moved, the pair is out of date.
    end: u32,
    token: u32,
}

/// Two neighbouring symbols: their tokens (`NO_TOKEN` if none) and where their text lies.
pub(super) struct Pair {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The list of symbols of one word or text; kept to reuse its memory.
#[derive(Default)]
pub(super) struct Symbols {
    list: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
    /// Length of the text.
    end: u32,
}

impl Symbols {
    /// Longest text, in bytes, that one list can hold.
    pub(super) const MOST_BYTES: usize = SWALLOWED as usize - 1;

    /// Forgets the symbols.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.queue.clear();
        self.end = 0;
    }

    /// Appends a symbol of `len` bytes. All symbols together have at most `MOST_BYTES`.
    pub(super) fn push(&mut self, len: usize, token: u32) {
        let (start, at) = (self.end, self.list.len() as u32);
        self.end += len as u32;
        if let Some(last) = self.list.last_mut() {
            last.next = at;
        }
        self.list.push(Symbol { start, prev: at.wrapping_sub(1), next: END, token });
    }

    /// Joins pairs until `join` knows none: it returns how weak the pair is (the weakest is joined
    /// last, of equals the left one first) and the token that it makes.
    pub(super) fn join(&mut self, join: impl Fn(Pair) -> Option<(u32, u32)>) {
        for left in 0..(self.list.len() as u32).saturating_sub(1) {
            self.propose(left, left + 1, &join);
        }
        while let Some(Reverse(pair)) = self.queue.pop() {
            let Symbol { prev, next: right, .. } = self.list[pair.left as usize];
            if right >= SWALLOWED || self.end_of(right) != pair.end {
                continue;
            }
            let next = self.list[right as usize].next;
            self.list[right as usize].next = SWALLOWED;
            let left = &mut self.list[pair.left as usize];
            left.next = next;
            left.token = pair.token;
            if next != END {
                self.list[next as usize].prev = pair.left;
                self.propose(pair.left, next, &join);
            }
            if prev != END {
                self.propose(prev, pair.left, &join);
            }
        }
    }

    fn end_of(&self, symbol: u32) -> u32 {
        match self.list[symbol as usize].next {
            END => self.end,
            next => self.list[next as usize].start,
        }
    }

    fn propose(&mut self, left: u32, right: u32, join: impl Fn(Pair) -> Option<(u32, u32)>) {
        let end = self.end_of(right);
        let (l, r) = (self.list[left as usize], self.list[right as usize]);
        let pair =
            Pair { left: l.token, right: r.token, start: l.start as usize, end: end as usize };
        if let Some((weakness, token)) = join(pair) {
            self.queue.push(Reverse(Candidate { weakness, left, end, token }));
        }
    }

    /// The symbols that are left: token (`NO_TOKEN` if none) and range of the text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, std::ops::Range<usize>)> + '_ {
        let first = if self.list.is_empty() { END } else { 0 };
        let live = |at: u32| (at != END).then_some(at);
        std::iter::successors(live(first), move |&at| live(self.list[at as usize].next)).map(|at| {
            let symbol = self.list[at as usize];
            (symbol.token, symbol.start as usize..self.end_of(at) as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins "ab" before "bc", and "aa"; tokens are the lengths.
    fn joined(text: &'static str) -> Vec<&'static str> {
        let mut symbols = Symbols::default();
        text.chars().for_each(|_| symbols.push(1, NO_TOKEN));
        symbols.join(|pair| match &text[pair.start..pair.end] {
            "ab" => Some((0, 2)),
            "bc" | "aa" => Some((1, 2)),
            "abab" => Some((0, 4)),
            _ => None,
        });
        symbols.iter().map(|(_, range)| &text[range]).collect()
    }

    #[test]
    fn the_strongest_pair_goes_first_and_of_equals_the_left_one() {
        assert_eq!(joined(""), [""; 0]);
        assert_eq!(joined("c"), ["c"]);
        assert_eq!(joined("abc"), ["ab", "c"]);
        assert_eq!(joined("aaa"), ["aa", "a"]);
        assert_eq!(joined("aab"), ["a", "ab"]);
        assert_eq!(joined("ababab"), ["abab", "ab"]);
        assert_eq!(joined("xbcx"), ["x", "bc", "x"]);
    }
}
