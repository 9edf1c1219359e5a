//! How long a guess should be: as long as the tokens it is expected to win are worth the time.
//! Nothing here changes what is answered, only when.

/// Longest guess that is checked in one pass.
pub(super) const MOST: usize = 15;
/// Least expected gain for which a guess is checked: below it, what is measured is noise.
const WORTH: f64 = 1.06;

/// What passes of this model cost here, as measured while it answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Seconds of a pass over one row; 0 before the first.
    alone: f64,
    /// Seconds that each further row adds; 0 before the first pass with several.
    further: f64,
}

impl Pace {
    /// Share of a pass that a further row is taken to cost until one was measured.
    const FIRST_GUESS: f64 = 0.2;
    /// Weight of a new measurement.
    const FRESH: f64 = 0.2;
    /// How fast a measurement that is not repeated is forgotten: what kept guesses from being
    /// checked may have passed.
    const FORGET: f64 = 0.01;

    /// A pass over `rows` rows took `seconds`.
    pub(crate) fn note(&mut self, rows: usize, seconds: f64) {
        let blend = |old: f64, new: f64| match old {
            0.0 => new,
            // One pass that was interrupted must not switch guessing on or off.
            old => old + Self::FRESH * (new.clamp(old / 2.0, old * 2.0) - old),
        };
        if rows == 1 {
            self.alone = blend(self.alone, seconds);
            if self.further > 0.0 {
                self.further += Self::FORGET * (Self::FIRST_GUESS * self.alone - self.further);
            }
        } else if self.alone > 0.0 {
            let further = (seconds - self.alone) / (rows - 1) as f64;
            // A row never has to cost more than a pass of its own.
            let further = further.clamp(0.01 * self.alone, self.alone);
            self.further = blend(self.further, further);
        }
    }

    /// Seconds of a pass over one row; 0 before the first.
    pub(crate) fn alone(&self) -> f64 {
        self.alone
    }

    /// Cost of a further row, in passes over one; `None` before anything was measured.
    fn further(&self) -> Option<f64> {
        match (self.alone, self.further) {
            (0.0, _) => None,
            (_, 0.0) => Some(Self::FIRST_GUESS),
            (alone, further) => Some(further / alone),
        }
    }
}

/// How often the guesses of one kind came true, the last few dozen counting most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    right: f64,
    wrong: f64,
}

impl Odds {
    /// Weight of the first assumption, in tokens.
    const ASSUMED: f64 = 4.0;
    /// What a token's weight becomes with the next.
    const FADE: f64 = 0.97;

    /// Odds before anything was seen.
    pub(super) fn assume(chance: f64) -> Self {
        Self { right: chance * Self::ASSUMED, wrong: (1.0 - chance) * Self::ASSUMED }
    }

    /// A guessed token came true or did not.
    pub(super) fn note(&mut self, right: bool) {
        (self.right, self.wrong) = (self.right * Self::FADE, self.wrong * Self::FADE);
        *(if right { &mut self.right } else { &mut self.wrong }) += 1.0;
    }

    /// Chance that the next guessed token comes true.
    fn chance(&self) -> f64 {
        self.right / (self.right + self.wrong)
    }
}

/// Tokens to check in the next pass, at most `most`; 0 if none is worth it. Guessing a token takes
/// `guess_s` seconds itself.
pub(super) fn length(odds: &Odds, pace: &Pace, guess_s: f64, most: usize) -> usize {
    let Some(further) = pace.further() else { return 0 };
    let further = further + guess_s / pace.alone;
    let (chance, mut won, mut reach) = (odds.chance(), 1.0, 1.0);
    let mut best = (WORTH, 0);
    for count in 1..=most {
        reach *= chance;
        won += reach;
        let gain = won / (1.0 + further * count as f64);
        if gain > best.0 {
            best = (gain, count);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(further: f64) -> Pace {
        let mut pace = Pace::default();
        pace.note(1, 0.010);
        pace.note(5, 0.010 + 4.0 * 0.010 * further);
        pace
    }

    #[test]
    fn nothing_is_checked_before_a_pass_was_timed() {
        assert_eq!(length(&Odds::assume(0.99), &Pace::default(), 0.0, MOST), 0);
    }

    #[test]
    fn the_length_follows_the_odds_and_the_cost() {
        let at = |chance, further| length(&Odds::assume(chance), &pace(further), 0.0, MOST);
        assert_eq!(at(0.05, 0.15), 0);
        assert_eq!(at(0.99, 0.05), MOST);
        assert_eq!(at(0.9, 2.0), 0, "several rows in one pass may cost more than several passes");
        assert!((1..=3).contains(&at(0.4, 0.15)));
        assert!(at(0.9, 0.15) > at(0.6, 0.15));
        assert_eq!(length(&Odds::assume(0.99), &pace(0.05), 0.0, 3), 3);
        assert!(length(&Odds::assume(0.8), &pace(0.1), 0.002, MOST) < at(0.8, 0.1));
        assert_eq!(length(&Odds::assume(0.8), &pace(0.1), 0.010, MOST), 0);
    }

    #[test]
    fn odds_follow_what_comes() {
        let mut odds = Odds::assume(0.9);
        (0..40).for_each(|_| odds.note(false));
        assert!(odds.chance() < 0.1);
        (0..40).for_each(|_| odds.note(true));
        assert!(odds.chance() > 0.6);
    }

    #[test]
    fn a_bad_measurement_is_forgotten() {
        let mut pace = pace(50.0);
        let odds = Odds::assume(0.8);
        assert_eq!(length(&odds, &pace, 0.0, MOST), 0);
        (0..300).for_each(|_| pace.note(1, 0.010));
        assert!(length(&odds, &pace, 0.0, MOST) > 0);
    }

    #[test]
    fn one_interrupted_pass_changes_little() {
        let mut pace = pace(0.15);
        let before = pace.further().unwrap();
        pace.note(5, 1.0);
        assert!(pace.further().unwrap() < 1.3 * before);
    }
}
