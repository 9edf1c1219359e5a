//! Guesses of a smaller model with the same vocabulary: what it would say next.

use std::time::Instant;

use crate::block::{Scratch, Stopped, head};
use crate::model::Model;
use crate::protocol::KvKind;
use crate::sample::greedy;
use crate::session::{PREFILL_CHUNK, Part, Sequence, pass};
use crate::speculate::Pace;

/// The model, and the buffers that all answers share.
pub struct DraftModel {
    model: Model,
    scratch: Scratch,
    logits: Vec<f32>,
    pace: Pace,
    /// Tokens that the large model knows: either may have more logits than that.
    n_vocab: usize,
}

impl DraftModel {
    /// Guesses for a model that knows `n_vocab` tokens.
    pub fn new(model: Model, n_vocab: usize) -> Self {
        let n_vocab = n_vocab.min(model.weights.n_vocab());
        let (scratch, logits, pace) = (Scratch::default(), Vec::new(), Pace::default());
        Self { model, scratch, logits, pace, n_vocab }
    }

    /// An empty sequence, for one answer.
    pub fn sequence(&self, kv: KvKind) -> Sequence {
        Sequence::new(&self.model, kv)
    }

    /// What a token costs, in seconds; a first assumption until one was timed.
    pub fn token_s(&self) -> f64 {
        self.pace.alone()
    }

    /// At most `count` likeliest tokens after `tokens`, of which `sequence` holds a part already.
    pub fn guess(&mut self, sequence: &mut Sequence, tokens: &[u32], count: usize) -> Vec<u32> {
        let mut guess = Vec::new();
        // What it cannot hold, it cannot guess.
        let count = count.min(self.model.ctx.saturating_sub(tokens.len()));
        if count > 0 && self.go_on(sequence, tokens, count, &mut guess).is_err() {
            // The pass that would check the guess sees the flag too.
            guess.clear();
        }
        guess
    }

    fn go_on(
        &mut self,
        sequence: &mut Sequence,
        tokens: &[u32],
        count: usize,
        guess: &mut Vec<u32>,
    ) -> Result<(), Stopped> {
        let same = sequence.tokens().iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last token is computed in any case: its logits are needed.
        sequence.truncate(same.min(tokens.len() - 1));
        let missing = tokens[sequence.tokens().len()..].to_vec();
        let mut rows = 0;
        for part in missing.chunks(PREFILL_CHUNK) {
            pass(&self.model, &mut self.scratch, &mut [Part { sequence, tokens: part }])?;
            rows = part.len();
        }
        loop {
            head(&self.model, &mut self.scratch, &[rows - 1], None, &mut self.logits);
            if self.model.pool.stopped() {
                return Err(Stopped);
            }
            // Logits that are no numbers are no guess.
            let Ok(token) = greedy::best(&self.logits[..self.n_vocab]) else { return Ok(()) };
            guess.push(token);
            if guess.len() == count {
                return Ok(());
            }
            let start = Instant::now();
            let tokens = &guess[guess.len() - 1..];
            pass(&self.model, &mut self.scratch, &mut [Part { sequence, tokens }])?;
            self.pace.note(1, start.elapsed().as_secs_f64());
            rows = 1;
        }
    }
}
