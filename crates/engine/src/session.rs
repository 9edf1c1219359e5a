//! One mutable timeline: the tokens of a sequence and their cache. Prefill, decode, cut and resume;
//! choosing tokens is `generate.rs`.

use std::time::Instant;

use crate::block::{Chunk, Scratch, Stopped, forward, head};
use crate::kv::KvCache;
use crate::model::Model;
use crate::protocol::KvKind;
use crate::speculate::Pace;
use crate::timers::Timers;

/// Rows of a prefill pass: enough to be bound by arithmetic, few enough for progress and memory.
pub const PREFILL_CHUNK: usize = 256;
/// Rows whose logits are computed at once when all are wanted: bounds memory at large vocabularies.
const LOGIT_ROWS: usize = 16;

/// A sequence in progress.
pub struct Session {
    tokens: Vec<u32>,
    kv: KvCache,
    scratch: Scratch,
    logits: Vec<f32>,
    pace: Pace,
}

impl Session {
    /// An empty sequence.
    pub fn new(model: &Model, kind: KvKind) -> Self {
        Self {
            tokens: Vec::new(),
            kv: KvCache::new(&model.config, kind),
            scratch: Scratch::default(),
            logits: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// The tokens whose keys and values are held.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Bytes of the cache.
    pub fn kv_bytes(&self) -> usize {
        self.kv.bytes()
    }

    /// The stopwatch of this sequence's own passes.
    pub fn timers(&mut self) -> &mut Timers {
        &mut self.scratch.timers
    }

    /// Keeps the longest common prefix with `prompt`, leaving at least its last token to compute;
    /// returns how many tokens are kept.
    pub fn keep_prefix(&mut self, prompt: &[u32]) -> usize {
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let keep = common.min(prompt.len().saturating_sub(1));
        self.truncate(keep);
        keep
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.kv.truncate(len);
    }

    /// Appends tokens, `chunk` at a time, and returns the logits after the last one. `progress`
    /// hears how many of them are done.
    ///
    /// # Errors
    /// [`Stopped`]; the session is then as before the unfinished chunk.
    ///
    /// # Panics
    /// If `tokens` is empty or names a token outside the vocabulary.
    pub fn prefill(
        &mut self,
        model: &Model,
        tokens: &[u32],
        chunk: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<&mut [f32], Stopped> {
        assert!(!tokens.is_empty(), "prefill needs a token");
        let mut done = 0;
        for part in tokens.chunks(chunk) {
            self.pass(model, part)?;
            done += part.len();
            progress(done);
        }
        let last = (tokens.len() - 1) % chunk;
        head(model, &mut self.scratch, &[last], &mut self.logits);
        if model.pool.stopped() { Err(Stopped) } else { Ok(&mut self.logits) }
    }

    /// Appends one token, or it and what is guessed to follow, and returns the logits after each.
    /// `[tokens][V]`
    ///
    /// # Errors
    /// [`Stopped`], as [`Session::prefill`].
    pub fn step(&mut self, model: &Model, tokens: &[u32]) -> Result<&mut [f32], Stopped> {
        let start = Instant::now();
        self.pass(model, tokens)?;
        let rows: Vec<usize> = (0..tokens.len()).collect();
        head(model, &mut self.scratch, &rows, &mut self.logits);
        self.pace.note(tokens.len(), start.elapsed().as_secs_f64());
        if model.pool.stopped() { Err(Stopped) } else { Ok(&mut self.logits) }
    }

    /// What steps have cost so far.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Appends tokens and hands over the logits after each of them, a few rows at a time.
    ///
    /// # Errors
    /// [`Stopped`], as [`Session::prefill`].
    pub fn all_logits(
        &mut self,
        model: &Model,
        tokens: &[u32],
        chunk: usize,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<(), Stopped> {
        for part in tokens.chunks(chunk) {
            self.pass(model, part)?;
            let rows: Vec<usize> = (0..part.len()).collect();
            for rows in rows.chunks(LOGIT_ROWS) {
                head(model, &mut self.scratch, rows, &mut self.logits);
                if model.pool.stopped() {
                    return Err(Stopped);
                }
                sink(&self.logits);
            }
        }
        Ok(())
    }

    fn pass(&mut self, model: &Model, tokens: &[u32]) -> Result<(), Stopped> {
        let vocab = model.weights.n_vocab();
        assert!(
            tokens.iter().all(|&token| (token as usize) < vocab),
            "token outside the vocabulary"
        );
        let mut chunks = [Chunk { tokens, kv: &mut self.kv }];
        let result = forward(model, &mut self.scratch, &mut chunks);
        match result {
            Ok(()) => self.tokens.extend_from_slice(tokens),
            Err(Stopped) => self.kv.truncate(self.tokens.len()),
        }
        result
    }
}

/// One decoding step of several sequences together: each takes its token, and its logits follow in
/// the same order. Bytes equal those of each sequence on its own.
///
/// # Errors
/// [`Stopped`]; every session is then as before.
pub fn step_together(
    model: &Model,
    sessions: &mut [(&mut Session, u32)],
    scratch: &mut Scratch,
    logits: &mut Vec<f32>,
) -> Result<(), Stopped> {
    let tokens: Vec<u32> = sessions.iter().map(|(_, token)| *token).collect();
    let mut chunks: Vec<Chunk> = sessions
        .iter_mut()
        .zip(&tokens)
        .map(|((session, _), token)| Chunk {
            tokens: std::slice::from_ref(token),
            kv: &mut session.kv,
        })
        .collect();
    let result = forward(model, scratch, &mut chunks);
    for (session, token) in sessions.iter_mut() {
        match result {
            Ok(()) => session.tokens.push(*token),
            Err(Stopped) => session.kv.truncate(session.tokens.len()),
        }
    }
    result?;
    let rows: Vec<usize> = (0..sessions.len()).collect();
    head(model, scratch, &rows, logits);
    if model.pool.stopped() { Err(Stopped) } else { Ok(()) }
}
