//! Many answers at once: every pass of the model serves all of them. Those that are being written
//! get their next token (and their guesses checked) in every pass; prompts are read beside them, in
//! pieces short enough that nobody waits long for a token.

use std::time::Instant;

use hearth_kernels::attention::BLOCK;

use crate::adapter::Active;
use crate::answer::{Answer, Next};
use crate::block::{Scratch, head};
use crate::kv::KvCache;
use crate::model::Model;
use crate::prefix::{PrefixCache, Scope};
use crate::protocol::{Event, Failure, Finish, KvKind, Stage, Stats};
use crate::session::{PREFILL_CHUNK, Part, Sequence, pass};
use crate::speculate::Pace;
use crate::speculate::draft::DraftModel;

/// Most answers at once: beyond it, a machine of a few cores gains nothing, and each one's cache
/// takes memory.
const MOST_RUNNING: usize = 8;
/// Rows that answers being written share for their tokens and guesses.
const WRITING_ROWS: usize = 16;
/// Seconds that reading a prompt may add to a pass in which others wait for their next token.
const READING_S: f64 = 0.05;
/// Least rows of a prompt in a pass: fewer would waste the pass.
const LEAST_READ: usize = 16;

/// Everything that runs, and what finished sequences left for others.
pub(crate) struct Batch {
    running: Vec<Running>,
    prefix: PrefixCache,
    kv: KvKind,
    scratch: Scratch,
    logits: Vec<f32>,
    pace: Pace,
    /// Seconds of a row of a prompt; 0 before one was read.
    read_s: f64,
    /// Guesses for an answer that runs alone.
    draft: Option<DraftModel>,
}

struct Running {
    id: u64,
    answer: Answer,
    sequence: Sequence,
    /// What the draft model holds of it.
    drafted: Option<Sequence>,
    prompt: Vec<u32>,
    scope: Scope,
    /// Tokens of the prompt that need not be computed.
    cached: usize,
    /// The token to go on from, once the prompt is read.
    next: u32,
    /// What the next pass takes; empty if it has to wait.
    rows: Vec<u32>,
    started: Instant,
    prefill_ms: Option<f64>,
}

impl Running {
    /// Whether the prompt is not read to its end.
    fn reading(&self) -> bool {
        self.sequence.tokens().len() < self.prompt.len()
    }

    /// Of the rows of the pass just made, those whose logits are needed.
    fn wanted(&self) -> std::ops::Range<usize> {
        let rows = self.rows.len();
        match self.prefill_ms {
            Some(_) => 0..rows,
            None if self.reading() => rows..rows,
            None => rows.saturating_sub(1)..rows,
        }
    }

    fn stats(&self, model: &Model, finish: Finish) -> Stats {
        let elapsed = self.started.elapsed().as_secs_f64() * 1e3;
        let prefill_ms = self.prefill_ms.unwrap_or(elapsed);
        let (guessed_tokens, accepted_tokens) = self.answer.guesses();
        Stats {
            finish,
            prompt_tokens: self.prompt.len() as u64,
            cached_tokens: self.cached as u64,
            output_tokens: self.answer.output_tokens() as u64,
            guessed_tokens,
            accepted_tokens,
            prefill_ms,
            decode_ms: elapsed - prefill_ms,
            context: (self.sequence.tokens().len() as u64, model.ctx as u64),
        }
    }
}

impl Batch {
    /// Nothing running. As much is kept of finished sequences as one context holds: their memory
    /// is shared, so that a single conversation costs nothing more.
    pub(crate) fn new(ctx: usize, kv: KvKind) -> Self {
        Self {
            running: Vec::new(),
            prefix: PrefixCache::new(ctx.div_ceil(BLOCK)),
            kv,
            scratch: Scratch::default(),
            logits: Vec::new(),
            pace: Pace::default(),
            read_s: 0.0,
            draft: None,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.running.len() >= MOST_RUNNING
    }

    /// The requests that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.running.iter().map(|run| run.id).collect()
    }

    /// Forgets what finished sequences left.
    pub(crate) fn forget(&mut self) {
        self.prefix.clear();
    }

    /// What is known of the beginning of `tokens`, without adapters.
    pub(crate) fn known(&mut self, model: &Model, salt: u64, tokens: &[u32]) -> KvCache {
        let mut kv = self.empty(model);
        self.prefix.restore(&Scope::new(salt, &[]), tokens, &mut kv);
        kv
    }

    /// Keeps what `kv` holds of `tokens`, as if a sequence without adapters had computed it.
    pub(crate) fn learn(&mut self, salt: u64, tokens: &[u32], kv: &KvCache) {
        self.prefix.store(&Scope::new(salt, &[]), tokens, kv);
    }

    /// A cache as that of every sequence.
    pub(crate) fn empty(&self, model: &Model) -> KvCache {
        KvCache::new(&model.config, self.kv)
    }

    /// Drops everything.
    pub(crate) fn reset(&mut self) {
        let (prefix, draft) = (PrefixCache::new(self.prefix.budget()), self.draft.take());
        *self = Self { prefix, draft, ..Self::new(0, self.kv) };
    }

    /// Lets another model of the same vocabulary guess.
    pub(crate) fn set_draft(&mut self, draft: Model, n_vocab: usize) {
        self.draft = Some(DraftModel::new(draft, n_vocab));
    }

    /// Takes an answer in. Its prompt has at least one token, and fits the context.
    pub(crate) fn admit(
        &mut self,
        model: &Model,
        id: u64,
        answer: Answer,
        prompt: Vec<u32>,
        (salt, adapters): (u64, Vec<Active>),
    ) {
        let scope = Scope::new(salt, &adapters);
        let started = Instant::now();
        let mut sequence = Sequence::new(model, self.kv).through(adapters);
        // The last token is always computed: its logits are what the answer starts from.
        let known = &prompt[..prompt.len() - 1];
        let cached = sequence.begin(known, |kv| self.prefix.restore(&scope, known, kv));
        self.running.push(Running {
            id,
            answer,
            sequence,
            drafted: self.draft.as_ref().map(|draft| draft.sequence(self.kv)),
            prompt,
            scope,
            cached,
            next: 0,
            rows: Vec::new(),
            started,
            prefill_ms: None,
        });
    }

    /// One pass for everything that runs. If the pool was stopped, all is as before it.
    pub(crate) fn turn(&mut self, model: &Model, out: &mut dyn FnMut(Event)) {
        if self.running.is_empty() {
            return;
        }
        let read = self.plan();
        let start = Instant::now();
        let taking = self.running.iter_mut().filter(|run| !run.rows.is_empty());
        let mut parts: Vec<Part> =
            taking.map(|run| Part { sequence: &mut run.sequence, tokens: &run.rows }).collect();
        if pass(model, &mut self.scratch, &mut parts).is_err() {
            return;
        }
        let mut first = 0;
        let mut wanted = Vec::new();
        for run in &self.running {
            wanted.extend(run.wanted().map(|row| first + row));
            first += run.rows.len();
        }
        if !wanted.is_empty() {
            let mut writing = self.running.iter().filter(|run| !run.wanted().is_empty());
            // Of a single row only, so there is just one.
            let need = writing.next().and_then(|run| run.answer.need());
            let need = need.filter(|_| wanted.len() == 1);
            head(model, &mut self.scratch, &wanted, need, &mut self.logits);
        }
        if model.pool.stopped() {
            for run in &mut self.running {
                let before = run.sequence.tokens().len() - run.rows.len();
                run.sequence.truncate(before);
            }
            return;
        }
        self.note(first, read, start.elapsed().as_secs_f64());
        self.hand_out(model, out);
    }

    /// Decides what each one takes in the next pass; returns how many rows are of prompts.
    fn plan(&mut self) -> usize {
        let writing = self.running.iter().filter(|run| !run.reading()).count();
        let guesses = (WRITING_ROWS / writing.max(1)).saturating_sub(1);
        let room = match self.read_s {
            _ if writing == 0 => PREFILL_CHUNK,
            0.0 => LEAST_READ,
            row => ((READING_S / row) as usize).clamp(LEAST_READ, PREFILL_CHUNK),
        };
        // Several answers fill a pass by themselves, and each would need guesses of its own.
        let draft_s = self.draft.as_ref().filter(|_| writing == 1).map(DraftModel::token_s);
        let mut left = room;
        for run in &mut self.running {
            run.rows.clear();
            if run.reading() {
                let rest = &run.prompt[run.sequence.tokens().len()..];
                run.rows.extend_from_slice(&rest[..rest.len().min(left)]);
                left -= run.rows.len();
            } else {
                let Running { sequence, drafted, answer, rows, next, .. } = run;
                rows.push(*next);
                let mut ask = |count: usize| match (&mut self.draft, &mut *drafted) {
                    (Some(draft), Some(drafted)) => {
                        let text = [sequence.tokens(), &[*next]].concat();
                        draft.guess(drafted, &text, count)
                    }
                    _ => Vec::new(),
                };
                let draft = draft_s.map(|s| (&mut ask as &mut dyn FnMut(usize) -> Vec<u32>, s));
                answer.guess(&self.pace, guesses, draft, rows);
            }
        }
        room - left
    }

    /// Learns from the time of a pass of `rows`, `read` of them of prompts.
    fn note(&mut self, rows: usize, read: usize, seconds: f64) {
        if read == 0 {
            self.pace.note(rows, seconds);
        } else if read == rows && read >= LEAST_READ {
            let new = seconds / read as f64;
            self.read_s = if self.read_s == 0.0 { new } else { 0.7 * self.read_s + 0.3 * new };
        }
    }

    /// Gives each one its logits, and ends those that are done.
    fn hand_out(&mut self, model: &Model, out: &mut dyn FnMut(Event)) {
        let mut logits = self.logits.as_mut_slice();
        let mut ended = Vec::new();
        for (index, run) in self.running.iter_mut().enumerate() {
            if run.rows.is_empty() {
                continue;
            }
            let (read, prompt) = (run.sequence.tokens().len(), run.prompt.len());
            if run.prefill_ms.is_none() {
                let (done, total) = ((read - run.cached) as u64, (prompt - run.cached) as u64);
                out(Event::Progress { id: run.id, stage: Stage::Prefill, done, total });
            }
            let wanted = run.wanted();
            if wanted.is_empty() {
                continue;
            }
            let (own, others) =
                std::mem::take(&mut logits).split_at_mut(wanted.len() * model.weights.n_vocab());
            logits = others;
            let guesses = if run.prefill_ms.is_some() { &run.rows[1..] } else { &[] };
            if run.prefill_ms.is_none() {
                run.prefill_ms = Some(run.started.elapsed().as_secs_f64() * 1e3);
                self.prefix.store(&run.scope, run.sequence.tokens(), run.sequence.kv());
            }
            let next = run.answer.take(own, guesses, out);
            // What came last is not in the cache yet, and guesses that failed must leave it.
            run.sequence.truncate(prompt + run.answer.output_tokens().saturating_sub(1));
            match next {
                Ok(Next::Token(token)) => run.next = token,
                Ok(Next::End(finish)) => ended.push((index, Ok(finish))),
                Err(failure) => ended.push((index, Err(failure))),
            }
        }
        for (index, result) in ended.into_iter().rev() {
            self.end(model, index, result, out);
        }
    }

    /// Ends a request that was cancelled; does nothing if it is not running.
    pub(crate) fn cancel(&mut self, model: &Model, id: u64, out: &mut dyn FnMut(Event)) {
        if let Some(index) = self.running.iter().position(|run| run.id == id) {
            self.end(model, index, Ok(Finish::Cancelled), out);
        }
    }

    fn end(
        &mut self,
        model: &Model,
        index: usize,
        result: Result<Finish, Failure>,
        out: &mut dyn FnMut(Event),
    ) {
        let run = self.running.remove(index);
        let id = run.id;
        self.prefix.store(&run.scope, run.sequence.tokens(), run.sequence.kv());
        match result {
            Err(failure) => out(Event::Failed { id, failure }),
            Ok(finish) => {
                let stats = run.stats(model, finish);
                run.answer.finish(out);
                out(Event::Done { id, stats });
            }
        }
    }
}
