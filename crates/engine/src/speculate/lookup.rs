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
/// Tokens after the last place that was right, in which the copy may go on: what was copied so far
/// left something out, or put something in.
const NEAR: usize = 48;
/// What standing there counts for, in tokens that agree.
const NEAR_WORTH: usize = 2;
/// No place.
const NONE: u32 = u32::MAX;

/// The text so far, indexed.
pub(super) struct Lookup {
    tokens: Vec<u32>,
    /// By hash of two tokens: the position after their latest pair.
    latest: Vec<u32>,
    /// By position: the one before it in the same slot.
    earlier: Vec<u32>,
    /// The place of the last guess, and the one that follows its last right token.
    place: usize,
    near: Option<usize>,
}

impl Lookup {
    /// An index of `tokens`.
    pub(super) fn new(tokens: &[u32]) -> Self {
        let mut lookup = Self {
            tokens: Vec::with_capacity(tokens.len()),
            latest: vec![NONE; 1 << SLOT_BITS],
            earlier: Vec::with_capacity(tokens.len()),
            place: 0,
            near: None,
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

    /// The first `right` tokens of the last guess came true.
    pub(super) fn came_true(&mut self, right: usize) {
        self.near = Some(self.place + right);
    }

    /// At most `count` tokens that may come next, and how many of the last tokens agree with those
    /// before the place they were found at. The longest agreement wins, then the latest place; a
    /// place shortly behind the last one that was right counts for more.
    pub(super) fn find(&mut self, count: usize) -> (Vec<u32>, usize) {
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
        if let Some((place, worth)) = self.find_near().filter(|near| near.1 >= best.1) {
            best = (place, worth);
        }
        let (place, agreement) = best;
        if agreement == 0 {
            return (Vec::new(), 0);
        }
        self.place = place;
        // A place near the end repeats with a period: the guess goes on into itself.
        let period = end - place;
        let guess = (0..count).map(|i| self.tokens[place + i % period]).collect();
        (guess, agreement)
    }

    /// The best place behind the last one that was right, and what it is worth.
    fn find_near(&self) -> Option<(usize, usize)> {
        let last = *self.tokens.last()?;
        let first = self.near? + 1;
        let places = first..(first + NEAR).min(self.tokens.len());
        let agreeing = places.filter(|&place| self.tokens[place - 1] == last);
        let worth = agreeing.map(|place| (place, self.agreement(place) + NEAR_WORTH));
        // The nearest of the best.
        worth.reduce(|best, other| if other.1 > best.1 { other } else { best })
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
        let mut lookup = Lookup::new(&[1, 2, 3, 4, 5, 9, 1, 2]);
        assert_eq!(lookup.find(3), (vec![3, 4, 5], 2));
        assert_eq!(lookup.find(0), (vec![], 2));
        for nothing in [&[][..], &[1], &[1, 2], &[1, 2, 3, 4, 2]] {
            assert_eq!(Lookup::new(nothing).find(4), (vec![], 0), "{nothing:?}");
        }
    }

    #[test]
    fn the_longest_agreement_wins_then_the_latest_place() {
        let mut lookup = Lookup::new(&[7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2]);
        assert_eq!(lookup.find(1), (vec![3], 3));
        let mut lookup = Lookup::new(&[8, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2]);
        assert_eq!(lookup.find(1), (vec![4], 2));
    }

    #[test]
    fn a_cycle_is_continued() {
        let mut lookup = Lookup::new(&[5, 1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(lookup.find(7), (vec![3, 1, 2, 3, 1, 2, 3], 5));
        assert_eq!(Lookup::new(&[4, 4, 4]).find(3), (vec![4, 4, 4], 2));
    }

    #[test]
    fn a_copy_goes_on_behind_what_it_left_out() {
        let mut lookup = Lookup::new(&[7, 9, 1, 2, 3, 4, 5, 9, 6, 8, 50, 1, 2]);
        assert_eq!(lookup.find(2), (vec![3, 4], 2));
        lookup.came_true(1);
        [3, 9].into_iter().for_each(|token| lookup.push(token));
        // One token agrees, and it stands behind what was copied; the other 9 stands before.
        assert_eq!(lookup.find(2), (vec![6, 8], 3));
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
