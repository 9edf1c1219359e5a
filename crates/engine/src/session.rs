//! One mutable timeline: the tokens of a sequence and their cache. Prefill, decode, cut and resume;
//! choosing tokens is `answer.rs`, running many at once `batch.rs`.

use hearth_kernels::matmul::Need;

use crate::adapter::Active;
use crate::block::{Chunk, Scratch, Stopped, forward, head};
use crate::kv::KvCache;
use crate::model::Model;
use crate::protocol::KvKind;
use crate::screening::Totals;
use crate::timers::Timers;

/// Rows of a prefill pass: enough to be bound by arithmetic, few enough for progress and memory.
pub const PREFILL_CHUNK: usize = 256;
/// Rows whose logits are computed at once when all are wanted: bounds memory at large vocabularies.
const LOGIT_ROWS: usize = 16;

/// Tokens and their keys and values.
pub struct Sequence {
    tokens: Vec<u32>,
    kv: KvCache,
    adapters: Vec<Active>,
}

impl Sequence {
    /// An empty sequence.
    pub fn new(model: &Model, kind: KvKind) -> Self {
        Self { tokens: Vec::new(), kv: KvCache::new(&model.config, kind), adapters: Vec::new() }
    }

    /// The same, computed through these adapters from the beginning.
    ///
    /// # Panics
    /// If the sequence is not empty.
    #[must_use]
    pub fn through(self, adapters: Vec<Active>) -> Self {
        assert!(self.tokens.is_empty(), "an empty sequence");
        Self { adapters, ..self }
    }

    /// The tokens whose keys and values are held.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The keys and values.
    pub fn kv(&self) -> &KvCache {
        &self.kv
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.kv.truncate(len);
    }

    /// Begins an empty sequence with tokens whose keys and values `fill` takes from elsewhere, as
    /// many as it says.
    ///
    /// # Panics
    /// If the sequence is not empty, or `fill` says something else than it does.
    pub fn begin(&mut self, tokens: &[u32], fill: impl FnOnce(&mut KvCache) -> usize) -> usize {
        assert!(self.tokens.is_empty(), "an empty sequence");
        let filled = fill(&mut self.kv);
        assert_eq!(filled, self.kv.len(), "as many positions as tokens");
        self.tokens.extend_from_slice(&tokens[..filled]);
        filled
    }
}

/// Tokens that a sequence takes in a pass.
pub struct Part<'a> {
    /// What they continue.
    pub sequence: &'a mut Sequence,
    /// At least one.
    pub tokens: &'a [u32],
}

/// One pass over the new tokens of several sequences; the last hidden rows stay in `scratch` for
/// [`head`], in the order of `parts`. Bytes equal those of each sequence on its own.
///
/// # Errors
/// [`Stopped`]; every sequence is then as before.
///
/// # Panics
/// If a token is outside the vocabulary.
pub fn pass(model: &Model, scratch: &mut Scratch, parts: &mut [Part]) -> Result<(), Stopped> {
    let vocab = model.weights.n_vocab();
    let known = |part: &Part| part.tokens.iter().all(|&token| (token as usize) < vocab);
    assert!(parts.iter().all(known), "token outside the vocabulary");
    let mut chunks: Vec<Chunk> = parts
        .iter_mut()
        .map(|part| Chunk {
            tokens: part.tokens,
            kv: &mut part.sequence.kv,
            adapters: &part.sequence.adapters,
        })
        .collect();
    let result = forward(model, scratch, &mut chunks);
    for Part { sequence, tokens } in parts {
        match result {
            Ok(()) => sequence.tokens.extend_from_slice(tokens),
            Err(Stopped) => sequence.kv.truncate(sequence.tokens.len()),
        }
    }
    result
}

/// A sequence that is run by itself, with the buffers for it.
pub struct Session {
    sequence: Sequence,
    scratch: Scratch,
    logits: Vec<f32>,
    need: Option<Need>,
}

impl Session {
    /// An empty sequence.
    pub fn new(model: &Model, kind: KvKind) -> Self {
        Self::with(Sequence::new(model, kind))
    }

    /// Goes on with a sequence.
    pub fn with(sequence: Sequence) -> Self {
        Self { sequence, scratch: Scratch::default(), logits: Vec::new(), need: None }
    }

    /// The sequence.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Says which logits the caller will look at from now on; `None` for all, as at the beginning.
    /// Of single rows, the others may then be minus infinity.
    pub fn set_need(&mut self, need: Option<Need>) {
        self.need = need;
    }

    /// What the head's screening did so far.
    pub fn screened(&self) -> Totals {
        self.scratch.screener.totals()
    }

    /// The stopwatch of this sequence's own passes.
    pub fn timers(&mut self) -> &mut Timers {
        &mut self.scratch.timers
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.sequence.truncate(len);
    }

    /// Appends tokens, `chunk` at a time, and returns the logits after the last one, as far as
    /// they are needed ([`Session::set_need`]). `progress` hears how many of them are done.
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
        head(model, &mut self.scratch, &[last], self.need, &mut self.logits);
        if model.pool.stopped() { Err(Stopped) } else { Ok(&mut self.logits) }
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
                head(model, &mut self.scratch, rows, None, &mut self.logits);
                if model.pool.stopped() {
                    return Err(Stopped);
                }
                sink(&self.logits);
            }
        }
        Ok(())
    }

    fn pass(&mut self, model: &Model, tokens: &[u32]) -> Result<(), Stopped> {
        pass(model, &mut self.scratch, &mut [Part { sequence: &mut self.sequence, tokens }])
    }
}

/// One decoding step of several sequences together: each takes its token, and its logits follow in
/// the same order.
///
/// # Errors
/// [`Stopped`]; every session is then as before, or its token's logits are missing.
pub fn step_together(
    model: &Model,
    sessions: &mut [(&mut Session, u32)],
    scratch: &mut Scratch,
    logits: &mut Vec<f32>,
) -> Result<(), Stopped> {
    let mut parts: Vec<Part> = sessions
        .iter_mut()
        .map(|(session, token)| Part {
            sequence: &mut session.sequence,
            tokens: std::slice::from_ref(token),
        })
        .collect();
    pass(model, scratch, &mut parts)?;
    let rows: Vec<usize> = (0..sessions.len()).collect();
    head(model, scratch, &rows, None, logits);
    if model.pool.stopped() { Err(Stopped) } else { Ok(()) }
}
