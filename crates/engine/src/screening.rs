//! The head's screening as a sequence goes on (`hearth_kernels::matmul::Screen`): inputs of the
//! head are collected until there are enough to learn from, and where screening does not pay it
//! rests. What is learned belongs to the model and serves all sequences. Which samplers can do with
//! some of the logits stands in `sample/need.rs`.

use hearth_kernels::matmul::{Acts, Need, Screened, Work, linear};

use crate::model::Model;

/// Inputs to learn from: with half as many, the directions miss much of what comes later.
const ENOUGH: usize = 128;

/// Inputs taken from one pass, at most: the others come with the tokens that are decoded, so that
/// no short answer waits for the learning.
const OF_A_PASS: usize = 96;

/// Tokens that screening rests for when it costs more than it saves.
const REST: usize = 64;

/// What a row costs that is picked out, in rows that are read one after another.
const PICKED: f32 = 1.5;

/// The share of the last tokens' losses that is forgotten with each new one, and the mean loss of
/// a token, in whole heads, at which it rests: one bad token is not enough.
const FORGOTTEN: f32 = 1.0 / 32.0;
const LOSS: f32 = 0.02;

/// One sequence's part.
#[derive(Default)]
pub struct Screener {
    states: Vec<f32>,
    work: Work,
    /// Tokens until screening is tried again.
    resting: usize,
    /// What the last tokens cost more than whole heads, in the mean; negative where it paid.
    loss: f32,
    total: Totals,
}

/// What screening did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Tokens screened.
    pub tokens: u64,
    /// Rows of the head that were scored for them.
    pub scored: u64,
}

impl Screener {
    /// What it did so far.
    pub fn totals(&self) -> Totals {
        self.total
    }

    /// Whether inputs are still wanted to learn from.
    pub(crate) fn wants(&self, model: &Model) -> bool {
        self.states.len() < ENOUGH * model.config.n_embd && model.screens() && !model.learned()
    }

    /// Of the rows of a pass, those to learn from.
    pub(crate) fn pick(rows: usize) -> impl Iterator<Item = usize> {
        let count = rows.min(OF_A_PASS);
        (0..count).map(move |i| i * rows / count)
    }

    /// Notes inputs of the head, normed rows.
    pub(crate) fn note(&mut self, model: &Model, rows: &[f32]) {
        let room = ENOUGH * model.config.n_embd - self.states.len();
        self.states.extend_from_slice(&rows[..room.min(rows.len())]);
    }

    /// The logits of one row that `need` asks for; the others may be minus infinity.
    pub(crate) fn head(&mut self, model: &Model, acts: &Acts, need: Need, logits: &mut [f32]) {
        let weight = &model.weights.output.weight;
        let enough = self.states.len() >= ENOUGH * model.config.n_embd;
        let screen = model.screen(enough.then_some(self.states.as_slice()));
        if model.learned() {
            self.states = Vec::new();
        }
        match screen {
            Some(screen) if self.resting == 0 => {
                let screened = screen.run(&model.pool, weight, acts, need, &mut self.work, logits);
                self.judge(screened);
            }
            _ => {
                self.resting = self.resting.saturating_sub(1);
                linear(&model.pool, acts, &mut [(weight, logits)]);
            }
        }
    }

    /// Rests if the last tokens cost more than the whole head does.
    fn judge(&mut self, screened: Screened) {
        let picked = screened.scored as f32 / screened.rows.max(1) as f32;
        let picked = if picked < 1.0 { picked * PICKED } else { 1.0 };
        self.loss += (screened.first + picked - 1.0 - self.loss) * FORGOTTEN;
        if self.loss > LOSS {
            (self.resting, self.loss) = (REST, 0.0);
        }
        self.total.tokens += 1;
        self.total.scored += screened.scored as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screened(scored: usize) -> Screened {
        Screened { scored, rows: 1000, first: 0.6 }
    }

    #[test]
    fn it_rests_where_survivors_cost_more_than_the_pass_saves() {
        let mut screener = Screener::default();
        for _ in 0..100 {
            screener.judge(screened(20));
        }
        assert_eq!(screener.resting, 0);
        let lost = (1..100).find(|_| {
            screener.judge(screened(1000));
            screener.resting > 0
        });
        assert!(lost.is_some_and(|lost| lost < 20), "{lost:?}");
        assert_eq!((screener.resting, screener.total.tokens), (REST, 100 + lost.unwrap() as u64));
    }
}
