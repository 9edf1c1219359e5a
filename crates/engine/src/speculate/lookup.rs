//! Guessing by looking back: what followed the last time the text ended as it ends now.
//!
//! The index is that of an LZ77 compressor: a table from a hash of the last two tokens to where
//! they stood last, and from each place to the one before it. A step costs a bounded walk.

/// Tokens that must agree before a place counts.
const LEAST: usize = 2;
/// Longest agreement that is looked for: longer ones are no better evidence.
const MOST: usize = 32;
/// Places that are looked at in a step.
const WALK: usize = 24;
/// log2 of the table's size; places that share a slot only lengthen the walk.
const SLOT_BITS: u32 = 13;
/// No place.
const NONE: u32 = u32::MAX;

/// The text so far, indexed.
pub(super) struct Lookup {
    tokens: Vec<u32>,
    /// By hash of two tokens: the position after their latest pair.
    latest: Vec<u32>,
    /// By position: the one before it in the same slot.
    earlier: Vec<u32>,
}

impl Lookup {
    /// An index of `tokens`.
    pub(super) fn new(tokens: &[u32]) -> Self {
        let mut lookup = Self {
            tokens: Vec::with_capacity(tokens.len()),
            latest: vec![NONE; 1 << SLOT_BITS],
            earlier: Vec::with_capacity(tokens.len()),
        };
        tokens.iter().for_each(|&token| lookup.push(token));
        lookup
    }

    /// The text goes on.
    pub(super) fn push(&mut self, token: u32) {
        self.tokens.push(token);
        let before = match self.slot() {
            None => NONE,
            Some(slot) => std::mem::replace(&mut self.latest[slot], self.tokens.len() as u32),
        };
        self.earlier.push(before);
    }

    /// At most `count` tokens that may come next, and how many of the last tokens agree with those
    /// before the place they were found at. The longest agreement wins, then the latest place.
    pub(super) fn find(&self, count: usize) -> (Vec<u32>, usize) {
        let end = self.tokens.len();
        let mut best = (end, 0);
        let mut place = self.earlier.last().copied().unwrap_or(NONE);
        for _ in 0..WALK {
            if place == NONE {
                break;
            }
            let agreement = self.agreement(place as usize);
            if agreement >= LEAST && agreement > best.1 {
                best = (place as usize, agreement);
            }
            place = self.earlier[place as usize - 1];
        }
        let (place, agreement) = best;
        if agreement == 0 {
            return (Vec::new(), 0);
        }
        // A place near the end repeats with a period: the guess goes on into itself.
        let period = end - place;
        let guess = (0..count).map(|i| self.tokens[place + i % period]).collect();
        (guess, agreement)
    }

    /// How many tokens before `place` are those at the end.
    fn agreement(&self, place: usize) -> usize {
        let (here, there) = (self.tokens.iter().rev(), self.tokens[..place].iter().rev());
        here.zip(there).take(MOST).take_while(|(a, b)| a == b).count()
    }

    /// The slot of the last two tokens.
    fn slot(&self) -> Option<usize> {
        let [.., a, b] = self.tokens[..] else { return None };
        // Fibonacci hashing; the order of the two matters.
        let mixed = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some((mixed >> (64 - SLOT_BITS)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_followed_last_time_is_guessed() {
        let lookup = Lookup::new(&[1, 2, 3, 4, 5, 9, 1, 2]);
        assert_eq!(lookup.find(3), (vec![3, 4, 5], 2));
        assert_eq!(lookup.find(0), (vec![], 2));
        for nothing in [&[][..], &[1], &[1, 2], &[1, 2, 3, 4, 2]] {
            assert_eq!(Lookup::new(nothing).find(4), (vec![], 0), "{nothing:?}");
        }
    }

    #[test]
    fn the_longest_agreement_wins_then_the_latest_place() {
        let lookup = Lookup::new(&[7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2]);
        assert_eq!(lookup.find(1), (vec![3], 3));
        let lookup = Lookup::new(&[8, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2]);
        assert_eq!(lookup.find(1), (vec![4], 2));
    }

    #[test]
    fn a_cycle_is_continued() {
        let lookup = Lookup::new(&[5, 1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(lookup.find(7), (vec![3, 1, 2, 3, 1, 2, 3], 5));
        assert_eq!(Lookup::new(&[4, 4, 4]).find(3), (vec![4, 4, 4], 2));
    }

    /// The same by trying every place.
    fn plain(tokens: &[u32], count: usize) -> (Vec<u32>, usize) {
        let end = tokens.len();
        let agreement = |place: usize| {
            (0..place.min(MOST))
                .take_while(|i| tokens[place - 1 - i] == tokens[end - 1 - i])
                .count()
        };
        let places = (0..end).rev().filter(|&place| agreement(place) >= LEAST);
        let Some(best) = places.reduce(|a, b| if agreement(b) > agreement(a) { b } else { a })
        else {
            return (Vec::new(), 0);
        };
        let mut text = tokens.to_vec();
        (0..count).for_each(|i| text.push(text[best + i]));
        (text[end..].to_vec(), agreement(best))
    }

    proptest! {
        /// As many pairs as the walk can see, so that its bound does not show.
        #[test]
        fn as_every_place_tried(tokens in prop::collection::vec(0u32..4, 0..24)) {
            prop_assert_eq!(Lookup::new(&tokens).find(9), plain(&tokens, 9));
        }
    }
}
