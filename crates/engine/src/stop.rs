//! When an output ends other than by the model's own end token: stop strings and loops.
//!
//! Both work on a stream: text that may become a stop string is held back until it is clear, and
//! a loop is seen from its repeats alone. Token limits and cancelling are the session's.

/// Watches a stream of text for the strings that end it.
///
/// The output ends before the stop string that is complete first; of several that end together,
/// before the longest. How the stream is cut into pieces makes no difference.
pub struct StopStrings {
    stops: Vec<Stop>,
    /// Text taken in and not yet given out.
    pending: String,
    stopped: bool,
}

/// A stop string and how much of it the stream ends with (Knuth, Morris and Pratt's automaton).
struct Stop {
    bytes: Vec<u8>,
    /// For each length of a matched beginning: the longest shorter one that it ends with.
    fallback: Vec<usize>,
    matched: usize,
}

/// What [`StopStrings::push`] gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Text that belongs to the output, possibly empty.
    pub text: String,
    /// A stop string has come; the output is complete.
    pub stopped: bool,
}

/// An empty stop string, which would end every output at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stop string {index} is empty; leave it out or give it at least one character")]
pub struct EmptyStop {
    /// Its place in the list, from 0.
    pub index: usize,
}

impl Stop {
    fn new(stop: &str) -> Self {
        let bytes = stop.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = fallback[matched];
            }
            matched += usize::from(bytes[at] == bytes[matched]);
            fallback[at + 1] = matched;
        }
        Self { bytes, fallback, matched: 0 }
    }

    /// Takes in a byte; true when the string is complete, after which no more may come.
    fn push(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        self.matched == self.bytes.len()
    }
}

impl StopStrings {
    /// Watches for `stops`; none watches for nothing.
    ///
    /// # Errors
    /// An empty string among them.
    pub fn new(stops: &[String]) -> Result<Self, EmptyStop> {
        if let Some(index) = stops.iter().position(String::is_empty) {
            return Err(EmptyStop { index });
        }
        let stops = stops.iter().map(|stop| Stop::new(stop)).collect();
        Ok(Self { stops, pending: String::new(), stopped: false })
    }

    /// Takes in the next piece and gives out what is certain to belong to the output. After a stop
    /// string everything is dropped.
    pub fn push(&mut self, piece: &str) -> Released {
        if self.stopped {
            return Released { text: String::new(), stopped: true };
        }
        let before = self.pending.len();
        self.pending.push_str(piece);
        for (i, &byte) in piece.as_bytes().iter().enumerate() {
            let mut complete = None;
            for stop in &mut self.stops {
                if stop.push(byte) {
                    complete = complete.max(Some(stop.bytes.len()));
                }
            }
            if let Some(length) = complete {
                self.stopped = true;
                self.pending.truncate(before + i + 1 - length);
                return Released { text: std::mem::take(&mut self.pending), stopped: true };
            }
        }
        // What is held back begins like a stop string, hence at the start of a character.
        let held = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let rest = self.pending.split_off(self.pending.len() - held);
        Released { text: std::mem::replace(&mut self.pending, rest), stopped: false }
    }

    /// The stream has ended: gives out what was held back.
    pub fn finish(self) -> String {
        self.pending
    }
}

/// Repeats of one cycle of tokens that make a loop.
const LOOP_REPEATS: usize = 8;
/// Tokens that these repeats must span.
const LOOP_TOKENS: usize = 256;
/// Longest cycle looked for.
const LOOP_CYCLE: usize = 1024;

/// Watches a stream of tokens for one cycle repeated exactly: at least 8 times over at least 256
/// tokens, cycles of up to 1,024 tokens.
///
/// To turn it off, do not push. A token costs 1,024 comparisons, well under a microsecond.
pub struct LoopDetector {
    /// The tokens, latest first, from `start` on; what lies before is room for those to come.
    latest: Vec<u32>,
    start: usize,
    /// For each cycle length, from 1: how many tokens in a row equal the one a cycle before.
    equal: Vec<u32>,
}

/// A loop that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Tokens in the cycle, the shortest that fits.
    pub cycle: usize,
    /// Whole repeats of it at the end of the stream.
    pub repeats: usize,
}

impl Default for LoopDetector {
    fn default() -> Self {
        // No token has the largest number, so that nothing equals what was before the stream.
        let room = 4 * LOOP_CYCLE;
        let latest = vec![u32::MAX; room];
        Self { latest, start: room - LOOP_CYCLE, equal: vec![0; LOOP_CYCLE] }
    }
}

impl LoopDetector {
    /// Takes in the next token; says whether the stream now ends in a loop.
    pub fn push(&mut self, token: u32) -> Option<Loop> {
        let seen = self.start..self.start + LOOP_CYCLE;
        let mut is_loop = false;
        let earlier = &self.latest[seen.clone()];
        for ((equal, &earlier), &needed) in self.equal.iter_mut().zip(earlier).zip(&NEEDED) {
            // Wraps after four billion tokens of one loop.
            *equal = if earlier == token { equal.wrapping_add(1) } else { 0 };
            is_loop |= *equal >= needed;
        }
        if self.start == 0 {
            self.start = self.latest.len() - LOOP_CYCLE;
            self.latest.copy_within(seen, self.start);
        }
        self.start -= 1;
        self.latest[self.start] = token;
        if !is_loop {
            return None;
        }
        let at = self.equal.iter().zip(&NEEDED).position(|(equal, needed)| equal >= needed)?;
        let (cycle, span) = (at + 1, at + 1 + self.equal[at] as usize);
        Some(Loop { cycle, repeats: span / cycle })
    }
}

/// For each cycle length, from 1: tokens that must equal the one a cycle before. These are all
/// tokens of the loop but its first cycle.
const NEEDED: [u32; LOOP_CYCLE] = {
    let mut needed = [0; LOOP_CYCLE];
    let mut cycle = 1;
    while cycle <= LOOP_CYCLE {
        let repeats = LOOP_REPEATS * cycle;
        let span = if repeats > LOOP_TOKENS { repeats } else { LOOP_TOKENS };
        needed[cycle - 1] = (span - cycle) as u32;
        cycle += 1;
    }
    needed
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|stop| stop.to_string()).collect()
    }

    /// Everything given out for `pieces`, and whether a stop string came.
    fn stream<'a>(stops: &[String], pieces: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let mut watch = StopStrings::new(stops).unwrap();
        let mut text = String::new();
        for piece in pieces {
            let released = watch.push(piece);
            text += &released.text;
            if released.stopped {
                assert_eq!(watch.push("more"), Released { text: String::new(), stopped: true });
                return (text, true);
            }
            assert!(!stops.iter().any(|stop| text.contains(stop.as_str())));
        }
        (text + &watch.finish(), false)
    }

    /// What the output must be: found by trying every end and every stop string.
    fn expected(stops: &[String], text: &str) -> (String, bool) {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let ends = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str()));
            if let Some(longest) = ends.map(String::len).max() {
                return (text[..end - longest].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn output_ends_before_the_first_complete_stop_string() {
        for (stops, text, output) in [
            (&["stop"][..], "go on stop now", "go on "),
            (&["stop"], "sto", "sto"),
            (&["aab"], "aaab", "a"),
            (&["abcd", "bc"], "xabcd", "xa"),
            (&["bc", "abc"], "xabc", "x"),
            (&["é!"], "caféé!", "café"),
            (&["\n\n"], "a\nb\n\n", "a\nb"),
            (&[], "anything", "anything"),
        ] {
            assert_eq!(stream(&strings(stops), [text]).0, output);
        }
    }

    #[test]
    fn what_may_become_a_stop_string_is_held_back() {
        let mut watch = StopStrings::new(&strings(&["<end>", "END"])).unwrap();
        for (piece, text) in [("a<", "a"), ("e", ""), ("nx", "<enx"), ("E", ""), ("<", "E")] {
            assert_eq!(watch.push(piece), Released { text: text.into(), stopped: false });
        }
        assert_eq!(watch.finish(), "<");
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let stops = strings(&["a", ""]);
        assert_eq!(StopStrings::new(&stops).err(), Some(EmptyStop { index: 1 }));
    }

    proptest! {
        #[test]
        fn the_division_into_pieces_makes_no_difference(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            text in "[abéc]{0,12}",
        ) {
            let right = expected(&stops, &text);
            let marks: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).collect();
            // Every way to cut the text between characters.
            for cuts in 0u32..1 << marks.len() {
                let chosen = (0..marks.len()).filter(|i| cuts >> i & 1 == 1).map(|i| marks[i]);
                let ends: Vec<usize> = chosen.chain([text.len()]).collect();
                let starts = [0].into_iter().chain(ends.iter().copied());
                let pieces = starts.zip(&ends).map(|(start, &end)| &text[start..end]);
                prop_assert_eq!(&stream(&stops, pieces), &right);
            }
        }

        #[test]
        fn a_loop_is_found_as_soon_as_it_is_one(
            cycle in prop::collection::vec(0u32..4, 1..200),
            prefix in prop::collection::vec(4u32..9, 0..300),
        ) {
            let fits = |n: &usize| {
                let shifted = cycle.iter().cycle().skip(*n);
                cycle.len() % n == 0 && cycle.iter().zip(shifted).all(|(a, b)| a == b)
            };
            let shortest = (1..=cycle.len()).find(fits).unwrap();
            let mut detector = LoopDetector::default();
            for (i, token) in prefix.into_iter().enumerate() {
                prop_assert_eq!(detector.push(token + 10 * i as u32), None, "no two are equal");
            }
            let needed = 256.max(8 * shortest);
            for (i, &token) in (1..=needed).zip(cycle.iter().cycle()) {
                let found = detector.push(token);
                let right = Loop { cycle: shortest, repeats: needed / shortest };
                prop_assert_eq!(found, (i == needed).then_some(right), "after {} of {}", i, needed);
            }
        }
    }

    #[test]
    fn one_other_token_in_a_cycle_is_no_loop() {
        let mut detector = LoopDetector::default();
        for i in 0..20_000 {
            // Each round of 40 tokens differs from the last in one of them.
            let token = if i % 40 == 7 { i / 40 } else { i % 40 };
            assert_eq!(detector.push(token), None, "token {i}");
        }
    }

    #[test]
    fn the_longest_cycle_needs_all_its_repeats() {
        let mut detector = LoopDetector::default();
        let found = (0..).position(|i| detector.push(i % 1024).is_some());
        assert_eq!(found, Some(8 * 1024 - 1));
    }
}
