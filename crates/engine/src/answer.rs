//! One answer in progress: from rows of logits to tokens and text, until the model, a limit, a stop
//! string, the constraint or the loop detector ends it. What runs the model is `batch.rs`.

use hearth_kernels::matmul::Need;

use crate::grammar::Matcher;
use crate::host::request;
use crate::protocol::{Event, Failure, Finish, Generate, TokenLogprob};
use crate::sample::{Sampler, logprobs};
use crate::speculate::{Draft, Pace, Speculator};
use crate::stop::{LoopDetector, StopStrings};
use crate::tokenizer::{Decoder, Tokenizer};

/// What follows a pass: a token to go on from, or the end.
pub(crate) enum Next {
    Token(u32),
    End(Finish),
}

/// An answer in progress.
pub(crate) struct Answer {
    writer: Writer,
    choose: Choose,
    speculator: Option<Speculator>,
    /// Most tokens.
    most: usize,
    output_tokens: usize,
    /// Tokens guessed and checked, and those of them that came true.
    guesses: (u64, u64),
}

impl Answer {
    /// The answer to a prompt. `room` is how many tokens the context holds after it.
    ///
    /// # Errors
    /// Stop strings that cannot be used.
    pub(crate) fn new(
        id: u64,
        job: &Generate,
        choose: Choose,
        tokenizer: Option<Tokenizer>,
        (prompt, room): (&[u32], usize),
    ) -> Result<Self, Failure> {
        Ok(Self {
            writer: Writer::new(id, tokenizer, job)?,
            choose,
            speculator: job.speculate.then(|| Speculator::new(prompt)),
            most: job.max_tokens.min(room),
            output_tokens: 0,
            guesses: (0, 0),
        })
    }

    /// Tokens so far.
    pub(crate) fn output_tokens(&self) -> usize {
        self.output_tokens
    }

    /// Tokens guessed and checked, and those of them that came true.
    pub(crate) fn guesses(&self) -> (u64, u64) {
        self.guesses
    }

    /// The logits that make a difference to the next token, `None` if all do: log-probabilities
    /// are of the whole distribution, and a mask may leave only the unlikely.
    pub(crate) fn need(&self) -> Option<Need> {
        let all = self.writer.top.is_some() || self.choose.matcher.is_some();
        self.choose.sampler.need().filter(|_| !all)
    }

    /// Appends the tokens that are worth checking in the next pass, at most `most`.
    pub(crate) fn guess(
        &mut self,
        pace: &Pace,
        most: usize,
        draft: Option<Draft>,
        rows: &mut Vec<u32>,
    ) {
        // The token after the last guess is chosen too.
        let most = self.left().saturating_sub(1).min(most);
        let Some(speculator) = &mut self.speculator else { return };
        let forced = self.choose.forced(self.writer.tokenizer.as_ref());
        let guess = speculator.guess(pace, forced, most, draft);
        self.guesses.0 += guess.len() as u64;
        rows.extend_from_slice(guess);
    }

    /// Tokens that may still come.
    fn left(&self) -> usize {
        self.most - self.output_tokens
    }

    /// Chooses and sends tokens: the first from the first row of logits, and one more for each
    /// guess that the one before it confirms.
    ///
    /// # Errors
    /// A constraint that cannot go on, or logits that are no numbers.
    pub(crate) fn take(
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
            token = self.writer.choose(&mut self.choose, row)?;
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

    /// Sends what was held back.
    pub(crate) fn finish(self, out: &mut dyn FnMut(Event)) {
        self.writer.finish(out);
    }
}

/// What decides the next token.
pub(crate) struct Choose {
    pub(crate) sampler: Sampler,
    pub(crate) matcher: Option<Matcher>,
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
    /// Best tokens whose log-probabilities are asked for.
    top: Option<usize>,
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
            top: job.top_logprobs,
            pending: Vec::new(),
        })
    }

    /// Picks the next token under the constraint and notes its log-probability if asked for.
    fn choose(&mut self, choose: &mut Choose, row: &mut [f32]) -> Result<u32, Failure> {
        let plain = self.top.map(|_| row.to_vec());
        if let Some(matcher) = &mut choose.matcher {
            matcher.mask(row).map_err(|error| request(&error.to_string()))?;
        }
        let token = choose.sampler.sample(row).map_err(|error| request(&error.to_string()))?;
        choose.sampler.accept(token);
        if let Some(matcher) = &mut choose.matcher {
            matcher.accept(token).map_err(|error| request(&error.to_string()))?;
        }
        if let (Some(plain), Some(k)) = (plain, self.top) {
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
