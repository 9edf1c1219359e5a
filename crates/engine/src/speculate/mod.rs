//! Speculation: the next tokens are guessed, and one pass of the model checks them all. A pass over
//! a few rows costs little more than over one, because the weights are read once.
//!
//! The answer is the same, token for token: each place's logits are bit-identical whatever rows are
//! computed with it, and each token is chosen from them by the same sampler in the same order. A
//! guess that is wrong costs time only, and `gate` weighs that, from what passes cost on this
//! machine and how often guesses came true in this answer. A guess that is not worth checking is
//! still compared with the token that comes, so that the odds are learnt for nothing.

mod gate;
mod lookup;

pub use gate::Pace;
use gate::{MOST, Odds};
use lookup::Lookup;

/// Kinds of guess that are judged apart: forced by the constraint, then by how many tokens agreed
/// (at least), each with what is assumed of it at first.
const KINDS: [(usize, f64); 7] =
    [(usize::MAX, 0.95), (16, 0.9), (8, 0.8), (5, 0.65), (4, 0.5), (3, 0.35), (0, 0.25)];

/// Guesses the tokens of one answer.
pub struct Speculator {
    lookup: Lookup,
    odds: [Odds; KINDS.len()],
    /// Tokens guessed to come next, and their kind.
    guess: Vec<u32>,
    kind: usize,
    /// How many of the guess came true.
    came: usize,
}

impl Speculator {
    /// Starts from the prompt, where most of what can be guessed stands.
    pub fn new(prompt: &[u32]) -> Self {
        Self {
            lookup: Lookup::new(prompt),
            odds: KINDS.map(|(_, assumed)| Odds::assume(assumed)),
            guess: Vec::new(),
            kind: 0,
            came: 0,
        }
    }

    /// The answer goes on with `token`.
    pub fn accept(&mut self, token: u32) {
        self.lookup.push(token);
        let Some(&guessed) = self.guess.get(self.came) else { return };
        self.odds[self.kind].note(guessed == token);
        self.came += 1;
        if guessed != token {
            self.guess.truncate(self.came);
        }
    }

    /// The tokens to check in the next pass: at most `most`, often none. `forced` are those that a
    /// constraint leaves no choice about.
    pub fn guess(&mut self, pace: &Pace, forced: Vec<u32>, most: usize) -> &[u32] {
        let (guess, agreement) = match forced.is_empty() {
            true => self.lookup.find(MOST),
            false => (forced, usize::MAX),
        };
        self.guess = guess;
        self.came = 0;
        self.kind = KINDS.iter().position(|&(least, _)| agreement >= least).unwrap_or_default();
        let most = most.min(MOST).min(self.guess.len());
        let count = gate::length(&self.odds[self.kind], pace, most);
        // The first one is judged even if it is not checked.
        self.guess.truncate(count.max(1));
        &self.guess[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let mut pace = Pace::default();
        pace.note(1, 0.010);
        pace.note(2, 0.011);
        pace
    }

    #[test]
    fn a_copied_text_is_guessed_in_long_pieces() {
        let text: Vec<u32> = (0..200).map(|i| i * 7919 % 1009).collect();
        let mut speculator = Speculator::new(&text);
        let (mut at, mut passes) = (0, 0);
        while at < text.len() {
            let guess = speculator.guess(&pace(), Vec::new(), 100).to_vec();
            let right = guess.iter().zip(&text[at..]).take_while(|(a, b)| a == b).count();
            let step = (right + 1).min(text.len() - at);
            text[at..at + step].iter().for_each(|&token| speculator.accept(token));
            (at, passes) = (at + step, passes + 1);
        }
        assert!(passes < 25, "{passes} passes");
    }

    #[test]
    fn guesses_that_fail_are_no_longer_checked() {
        let mut speculator = Speculator::new(&[]);
        let mut checked = Vec::new();
        for _ in 0..100 {
            checked.push(speculator.guess(&pace(), vec![2; 4], 100).len());
            speculator.accept(1);
        }
        assert!(checked[0] > 0);
        assert!(checked[50..].iter().all(|&count| count == 0), "{checked:?}");
    }

    #[test]
    fn odds_come_back_when_guesses_come_true_again() {
        let mut speculator = Speculator::new(&[]);
        for _ in 0..60 {
            speculator.guess(&pace(), vec![1, 1, 1], 100);
            speculator.accept(2);
        }
        assert!(speculator.guess(&pace(), vec![1, 1, 1], 100).is_empty());
        for _ in 0..60 {
            speculator.guess(&pace(), vec![2, 2, 2], 100);
            speculator.accept(2);
        }
        assert_eq!(speculator.guess(&pace(), vec![2, 2, 2], 100), [2, 2, 2]);
        assert_eq!(speculator.guess(&pace(), vec![2, 2, 2], 1), [2]);
        assert!(speculator.guess(&pace(), vec![2, 2, 2], 0).is_empty());
    }
}
