//! One generation: prompt to ids, prefill from the cached prefix, then choose, check and emit one
//! token after another until the model, a limit, a stop string, the constraint or the user ends it.
//! Where the next tokens can be guessed, one pass serves several of them (see `speculate`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::block::Stopped;
use crate::grammar::Matcher;
use crate::host::{Engine, request};
use crate::model::Model;
use crate::protocol::{
    Event, Failure, FailureKind, Finish, Generate, Message, Overflow, Prompt, Stage, Stats,
    TokenLogprob,
};
use crate::sample::{Sampler, dry_breakers, logprobs};
use crate::session::{PREFILL_CHUNK, Session};
use crate::speculate::{Pace, Speculator};
use crate::stop::{LoopDetector, StopStrings};
use crate::tokenizer::{Decoder, Tokenizer};

impl Engine {
    /// Runs one generation, sending text and progress to `out`.
    pub(crate) fn generate(
        &mut self,
        id: u64,
        job: &Generate,
        out: &mut dyn FnMut(Event),
    ) -> Result<Stats, Failure> {
        let prompt = self.prompt_tokens(job)?;
        self.check_tokens(&prompt)?;
        let mut answer = self.answer(id, job, &prompt)?;
        let (model, session) = self.model()?;

        let start = Instant::now();
        let cached = session.keep_prefix(&prompt);
        let total = (prompt.len() - cached) as u64;
        let prefilled = session.prefill(model, &prompt[cached..], PREFILL_CHUNK, &mut |done| {
            out(Event::Progress { id, stage: Stage::Prefill, done: done as u64, total });
        });
        let prefill_ms = start.elapsed().as_secs_f64() * 1e3;
        let start = Instant::now();
        let finish = match prefilled {
            Err(Stopped) => Finish::Cancelled,
            Ok(row) => match answer.take(row, &[], out)? {
                Next::End(finish) => finish,
                Next::Token(token) => answer.decode(model, session, token, out)?,
            },
        };
        let (guessed_tokens, accepted_tokens) = answer.guesses;
        let output_tokens = answer.output_tokens as u64;
        answer.writer.finish(out);
        Ok(Stats {
            finish,
            prompt_tokens: prompt.len() as u64,
            cached_tokens: cached as u64,
            output_tokens,
            guessed_tokens,
            accepted_tokens,
            prefill_ms,
            decode_ms: start.elapsed().as_secs_f64() * 1e3,
            context: (session.tokens().len() as u64, model.ctx as u64),
        })
    }

    /// What an answer to `prompt` starts from.
    fn answer<'a>(
        &mut self,
        id: u64,
        job: &'a Generate,
        prompt: &[u32],
    ) -> Result<Answer<'a>, Failure> {
        let writer = Writer::new(id, self.tokenizer().ok().cloned(), job)?;
        let (mut sampler, matcher) = self.choosers(job)?;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let stop = crate::worker::Host::stop_flag(self);
        let (model, _) = self.model()?;
        Ok(Answer {
            job,
            writer,
            choose: Choose { sampler, matcher },
            speculator: job.speculate.then(|| Speculator::new(prompt)),
            stop,
            room: model.ctx - prompt.len(),
            output_tokens: 0,
            guesses: (0, 0),
        })
    }

    /// The sampler and the constraint of a request.
    fn choosers(&mut self, job: &Generate) -> Result<(Sampler, Option<Matcher>), Failure> {
        let (model, _) = self.model()?;
        let (vocab, ctx) = (model.weights.n_vocab(), model.ctx);
        let breakers = match self.tokenizer() {
            Ok(tokenizer) if job.sampling.dry_multiplier != 0.0 => dry_breakers(
                &job.sampling.dry_sequence_breakers,
                vocab,
                |token| tokenizer.token_bytes(token),
                |text| tokenizer.encode(text, false, false),
            ),
            _ => Vec::new(),
        };
        let sampler = Sampler::new(&job.sampling, vocab, breakers, ctx)
            .map_err(|error| request(&error.to_string()))?;
        let matcher = match &job.constraint {
            None => None,
            Some(constraint) => Some(
                Matcher::new(constraint, self.grammar()?)
                    .map_err(|error| request(&error.to_string()))?,
            ),
        };
        Ok((sampler, matcher))
    }

    /// The ids of the prompt, cut only by the strategy that the request names.
    fn prompt_tokens(&mut self, job: &Generate) -> Result<Vec<u32>, Failure> {
        let (model, _) = self.model()?;
        let ctx = model.ctx;
        // One place is needed for the first new token.
        let room = ctx.saturating_sub(1);
        let mut tokens = match &job.prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Raw(text) => self.tokenizer()?.encode(text.as_bytes(), true, false),
            Prompt::Chat { messages, tools_json } => {
                let mut messages = messages.clone();
                loop {
                    let tokens = self.render(&messages, tools_json)?;
                    let drop = job.overflow == Overflow::DropOldest && tokens.len() > room;
                    match messages.iter().position(|message| message.role != "system") {
                        // The last message is what is being answered: it is never dropped.
                        Some(oldest) if drop && oldest + 1 < messages.len() => {
                            messages.remove(oldest);
                        }
                        _ => break tokens,
                    }
                }
            }
        };
        if tokens.len() > room && job.overflow == Overflow::KeepEnd {
            tokens.drain(..tokens.len() - room);
        }
        if tokens.len() > room {
            let message = format!(
                "the prompt has {} tokens; the context of {ctx} holds {room} and one new token. \
                 Shorten it, raise `--ctx`, or choose `--overflow drop-oldest` or `keep-end`",
                tokens.len()
            );
            return Err(Failure { kind: FailureKind::TooLong, message });
        }
        Ok(tokens)
    }

    /// Messages to ids: special tokens count in the template's own text, never in a message.
    fn render(&self, messages: &[Message], tools_json: &str) -> Result<Vec<u32>, Failure> {
        let (tokenizer, template) = (self.tokenizer()?, self.template()?);
        let guarded: Vec<Message> = messages
            .iter()
            .map(|message| Message {
                content: tokenizer.guard(&message.content).into_owned(),
                ..message.clone()
            })
            .collect();
        let text = template
            .render(&guarded, tools_json, self.date(), true)
            .map_err(|error| request(&error.to_string()))?;
        let mut tokens = tokenizer.encode_guarded(&text);
        // Most templates write bos themselves; the others rely on the tokenizer's setting.
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        if let Some(bos) = bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }
}

/// What follows a pass: a token to go on from, or the end.
enum Next {
    Token(u32),
    End(Finish),
}

/// An answer in progress.
struct Answer<'a> {
    job: &'a Generate,
    writer: Writer,
    choose: Choose,
    speculator: Option<Speculator>,
    stop: Arc<AtomicBool>,
    /// Places of the context after the prompt.
    room: usize,
    output_tokens: usize,
    /// Tokens guessed and checked, and those of them that came true.
    guesses: (u64, u64),
}

impl Answer<'_> {
    /// From the first token to the end.
    fn decode(
        &mut self,
        model: &Model,
        session: &mut Session,
        mut token: u32,
        out: &mut dyn FnMut(Event),
    ) -> Result<Finish, Failure> {
        let prompt = session.tokens().len();
        let mut rows = Vec::new();
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Ok(Finish::Cancelled);
            }
            rows.clear();
            rows.push(token);
            self.guess(session.pace(), &mut rows);
            let Ok(logits) = session.step(model, &rows) else { return Ok(Finish::Cancelled) };
            let next = self.take(logits, &rows[1..], out)?;
            // What came last is not in the cache yet, and guesses that failed must leave it.
            session.truncate(prompt + self.output_tokens - 1);
            match next {
                Next::End(finish) => return Ok(finish),
                Next::Token(next) => token = next,
            }
        }
    }

    /// Appends the tokens that are worth checking.
    fn guess(&mut self, pace: &Pace, rows: &mut Vec<u32>) {
        // The token after the last guess is chosen too.
        let most = self.left().saturating_sub(1);
        let Some(speculator) = &mut self.speculator else { return };
        let forced = self.choose.forced(self.writer.tokenizer.as_ref());
        rows.extend_from_slice(speculator.guess(pace, forced, most));
        self.guesses.0 += rows.len() as u64 - 1;
    }

    /// Tokens that may still come.
    fn left(&self) -> usize {
        self.job.max_tokens.min(self.room).saturating_sub(self.output_tokens)
    }

    /// Chooses and sends tokens: the first from the first row of logits, and one more for each
    /// guess that the one before it confirms.
    fn take(
        &mut self,
        logits: &mut [f32],
        guesses: &[u32],
        out: &mut dyn FnMut(Event),
    ) -> Result<Next, Failure> {
        if self.left() == 0 {
            return Ok(Next::End(Finish::Length));
        }
        let width = logits.len() / (guesses.len() + 1);
        let mut guesses = guesses.iter();
        let mut token = 0;
        for row in logits.chunks_exact_mut(width) {
            token = self.writer.choose(&mut self.choose, row, self.job)?;
            self.output_tokens += 1;
            if let Some(speculator) = &mut self.speculator {
                speculator.accept(token);
            }
            if let Some(finish) = self.writer.emit(token, out) {
                return Ok(Next::End(finish));
            }
            if self.choose.complete() {
                return Ok(Next::End(Finish::Stop));
            }
            if self.left() == 0 {
                return Ok(Next::End(Finish::Length));
            }
            if guesses.next() != Some(&token) {
                break;
            }
            self.guesses.1 += 1;
        }
        Ok(Next::Token(token))
    }
}

/// What decides the next token.
struct Choose {
    sampler: Sampler,
    matcher: Option<Matcher>,
}

impl Choose {
    /// Tokens of the text that the constraint leaves no choice about, as far as that is known.
    fn forced(&mut self, tokenizer: Option<&Tokenizer>) -> Vec<u32> {
        /// More than a guess holds.
        const BYTES: usize = 128;
        let (Some(matcher), Some(tokenizer)) = (&mut self.matcher, tokenizer) else {
            return Vec::new();
        };
        let bytes = matcher.forced();
        tokenizer.encode(&bytes[..bytes.len().min(BYTES)], false, false)
    }

    fn complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(Matcher::is_complete)
    }
}

/// Turns tokens into events: decoding, stop strings, the loop detector, log-probabilities.
struct Writer {
    id: u64,
    tokenizer: Option<Tokenizer>,
    decoder: Option<Decoder>,
    stop: StopStrings,
    loops: Option<LoopDetector>,
    pending: Vec<TokenLogprob>,
}

impl Writer {
    fn new(id: u64, tokenizer: Option<Tokenizer>, job: &Generate) -> Result<Self, Failure> {
        Ok(Self {
            id,
            decoder: tokenizer.as_ref().map(Tokenizer::decoder),
            tokenizer,
            stop: StopStrings::new(&job.stop).map_err(|error| request(&error.to_string()))?,
            loops: job.loop_detector.then(LoopDetector::default),
            pending: Vec::new(),
        })
    }

    /// Picks the next token under the constraint and notes its log-probability if asked for.
    fn choose(
        &mut self,
        choose: &mut Choose,
        row: &mut [f32],
        job: &Generate,
    ) -> Result<u32, Failure> {
        let plain = job.top_logprobs.map(|_| row.to_vec());
        if let Some(matcher) = &mut choose.matcher {
            matcher.mask(row).map_err(|error| request(&error.to_string()))?;
        }
        let token = choose.sampler.sample(row).map_err(|error| request(&error.to_string()))?;
        choose.sampler.accept(token);
        if let Some(matcher) = &mut choose.matcher {
            matcher.accept(token).map_err(|error| request(&error.to_string()))?;
        }
        if let (Some(plain), Some(k)) = (plain, job.top_logprobs) {
            let (logprob, top) =
                logprobs(&plain, token, k).map_err(|error| request(&error.to_string()))?;
            let top = top.into_iter().map(|(id, logprob)| (id, self.bytes(id), logprob)).collect();
            self.pending.push(TokenLogprob { token, bytes: self.bytes(token), logprob, top });
        }
        Ok(token)
    }

    fn bytes(&self, token: u32) -> Vec<u8> {
        self.tokenizer.as_ref().map_or_else(Vec::new, |t| t.token_bytes(token).into_owned())
    }

    /// Sends what can be sent after this token; tells if it ends the output.
    fn emit(&mut self, token: u32, out: &mut dyn FnMut(Event)) -> Option<Finish> {
        if self.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.is_eog(token)) {
            return Some(Finish::Stop);
        }
        let text = self.decoder.as_mut().map_or_else(String::new, |decoder| decoder.push(token));
        let released = self.stop.push(&text);
        self.send(released.text, out);
        if released.stopped {
            return Some(Finish::Stop);
        }
        let looping = self.loops.as_mut().is_some_and(|loops| loops.push(token).is_some());
        looping.then_some(Finish::Loop)
    }

    /// Sends what was held back, but for half a character: an answer that was cut inside one ends
    /// before it.
    fn finish(self, out: &mut dyn FnMut(Event)) {
        let Self { id, stop, pending, .. } = self;
        let text = stop.finish();
        if !text.is_empty() || !pending.is_empty() {
            out(Event::Text { id, text, logprobs: pending });
        }
    }

    fn send(&mut self, text: String, out: &mut dyn FnMut(Event)) {
        if !text.is_empty() || !self.pending.is_empty() {
            out(Event::Text { id: self.id, text, logprobs: std::mem::take(&mut self.pending) });
        }
    }
}
