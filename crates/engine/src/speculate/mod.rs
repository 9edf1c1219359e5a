//! Speculation: the next tokens are guessed, and one pass of the model checks them all. A pass over
//! a few rows costs little more than over one, because the weights are read once.
//!
//! The answer is the same, token for token: each place's logits are bit-identical whatever rows are
//! computed with it, and each token is chosen from them by the same sampler in the same order. A
//! guess that is wrong costs time only, and `gate` weighs that, from what passes cost on this
//! machine and how often guesses came true in this answer. A guess that is not worth checking is
//! still compared with the token that comes, so that the odds are learnt for nothing.

pub mod draft;
mod gate;
mod lookup;

pub use gate::Pace;
use gate::{MOST, Odds};
use lookup::Lookup;

/// Kinds of guess that are judged apart: forced by the constraint, then by how many tokens agreed
/// (at least), each with what is assumed of it at first.
const KINDS: [(usize, f64); 7] =
    [(usize::MAX, 0.95), (16, 0.9), (8, 0.8), (5, 0.65), (4, 0.5), (3, 0.35), (0, 0.25)];
/// The kind behind them: what a draft model says.
const DRAFTED: usize = KINDS.len();
const DRAFTED_CHANCE: f64 = 0.75;

/// Guesses for money: at most so many tokens, each of which takes so many seconds.
pub type Draft<'a> = (&'a mut dyn FnMut(usize) -> Vec<u32>, f64);

/// Guesses the tokens of one answer.
pub struct Speculator {
    lookup: Lookup,
    odds: [Odds; KINDS.len() + 1],
    /// Tokens guessed to come next, and their kind.
    guess: Vec<u32>,
    kind: usize,
    /// How many tokens of the guess have come, right or wrong.
    came: usize,
    /// Whether the guess is from the text.
    from_text: bool,
}

impl Speculator {
    /// Starts from the prompt, where most of what can be guessed stands.
    pub fn new(prompt: &[u32]) -> Self {
        Self {
            lookup: Lookup::new(prompt),
            odds: std::array::from_fn(|kind| {
                Odds::assume(KINDS.get(kind).map_or(DRAFTED_CHANCE, |kind| kind.1))
            }),
            guess: Vec::new(),
            kind: 0,
            came: 0,
            from_text: false,
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
        } else if self.from_text {
            self.lookup.came_true(self.came);
        }
    }

    /// The tokens to check in the next pass: at most `most`, often none. `forced` are those that a
    /// constraint leaves no choice about; a draft is asked for when nothing else is worth it.
    pub fn guess(
        &mut self,
        pace: &Pace,
        forced: Vec<u32>,
        most: usize,
        draft: Option<Draft>,
    ) -> &[u32] {
        self.from_text = forced.is_empty();
        let (guess, agreement) = match self.from_text {
            true => self.lookup.find(MOST),
            false => (forced, usize::MAX),
        };
        self.guess = guess;
        self.came = 0;
        self.kind = KINDS.iter().position(|&(least, _)| agreement >= least).unwrap_or_default();
        let most = most.min(MOST);
        let known = most.min(self.guess.len());
        let mut count = gate::length(&self.odds[self.kind], pace, 0.0, known);
        if count == 0
            && let Some((draft, token_s)) = draft
        {
            let wanted = gate::length(&self.odds[DRAFTED], pace, token_s, most);
            let drafted = if wanted > 0 { draft(wanted) } else { Vec::new() };
            if !drafted.is_empty() {
                (self.kind, count) = (DRAFTED, drafted.len().min(most));
                self.from_text = false;
                self.guess = drafted;
            }
        }
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
            let guess = speculator.guess(&pace(), Vec::new(), 100, None).to_vec();
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
            checked.push(speculator.guess(&pace(), vec![2; 4], 100, None).len());
            speculator.accept(1);
        }
        assert!(checked[0] > 0);
        assert!(checked[50..].iter().all(|&count| count == 0), "{checked:?}");
    }

    #[test]
    fn odds_come_back_when_guesses_come_true_again() {
        let mut speculator = Speculator::new(&[]);
        for _ in 0..60 {
            speculator.guess(&pace(), vec![1, 1, 1], 100, None);
            speculator.accept(2);
        }
        assert!(speculator.guess(&pace(), vec![1, 1, 1], 100, None).is_empty());
        for _ in 0..60 {
            speculator.guess(&pace(), vec![2, 2, 2], 100, None);
            speculator.accept(2);
        }
        assert_eq!(speculator.guess(&pace(), vec![2, 2, 2], 100, None), [2, 2, 2]);
        assert_eq!(speculator.guess(&pace(), vec![2, 2, 2], 1, None), [2]);
        assert!(speculator.guess(&pace(), vec![2, 2, 2], 0, None).is_empty());
    }

    #[test]
    fn a_draft_is_asked_for_as_long_as_it_pays() {
        let mut speculator = Speculator::new(&[]);
        let mut asked = Vec::new();
        for right in [true, false] {
            for _ in 0..100 {
                let mut draft = |count: usize| vec![u32::from(!right); count];
                let guess = speculator.guess(&pace(), Vec::new(), 5, Some((&mut draft, 0.001)));
                asked.push(guess.len());
                // The lookup is never right: no pair comes twice.
                speculator.accept(if right { 0 } else { 9 + asked.len() as u32 });
            }
        }
        assert!(asked[0] > 0 && asked[0] <= 5);
        assert!(asked[150..].iter().all(|&count| count == 0), "{asked:?}");
        let mut dear = |_: usize| panic!("not worth asking for");
        assert!(speculator.guess(&pace(), Vec::new(), 5, Some((&mut dear, 1.0))).is_empty());
    }
}
