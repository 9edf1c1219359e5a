//! Choosing the next token: the samplers, in llama.cpp's order and meaning.
//!
//! One file per sampler; `chain` is the one list of their order. A sampler at its neutral setting
//! is left out of the chain. Three kinds, in this order: those that change single logits
//! (`Adjust`), those that drop candidates or reshape their distribution (`Narrow`), and the final
//! `Pick`. Grammar masks are not here: they set logits to minus infinity beforehand, and such a
//! token is never chosen.
//!
//! No step sorts the vocabulary, candidates stay in ascending order of id, and ties go to the
//! lowest id, so that a seed gives the same tokens everywhere.

mod candidates;
mod dist;
mod dry;
pub(crate) mod greedy;
mod logit_bias;
mod logprobs;
mod min_p;
mod mirostat;
mod need;
mod penalties;
mod rng;
mod settings;
mod temperature;
mod top_k;
mod top_p;
mod typical;
#[cfg(test)]
mod vectors;
mod xtc;

pub use dry::breakers as dry_breakers;
pub use logprobs::logprobs;
pub use settings::SettingError;

use crate::protocol::Sampling;
use candidates::Candidates;
use hearth_kernels::matmul::Need;
use rng::Rng;

/// Changes single logits of the whole vocabulary; the history is what [`Self::accept`] has seen.
trait Adjust: Send {
    fn adjust(&mut self, logits: &mut [f32]);

    /// Notes a token of the context.
    fn accept(&mut self, _token: u32) {}
}

/// Drops candidates or changes their logits; at least one stays.
trait Narrow: Send {
    fn narrow(&self, kept: &mut Candidates, rng: &mut Rng);
}

/// How the token is taken from the candidates that are left.
enum Pick {
    /// The best one.
    Greedy,
    /// One by chance.
    Draw,
    /// One by chance, of those that Mirostat leaves.
    Mirostat(mirostat::Mirostat),
}

/// The samplers of one request, with their history and random numbers.
pub struct Sampler {
    vocab_size: usize,
    adjust: Vec<Box<dyn Adjust>>,
    top_k: usize,
    narrow: Vec<Box<dyn Narrow>>,
    pick: Pick,
    rng: Rng,
    candidates: Candidates,
    need: Option<Need>,
}

/// Logits from which no token can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// A logit is NaN or plus infinity.
    #[error("the logit of token {token} is {value}; the model or its file is damaged")]
    NotFinite {
        /// The first such token.
        token: u32,
        /// Its logit.
        value: f32,
    },
    /// Every token is ruled out.
    #[error("no token is left to choose: the constraint and the logit biases rule out every one")]
    NoneLeft,
    /// The number of logits is not the vocabulary's.
    #[error("{found} logits for a vocabulary of {expected}")]
    Width {
        /// Logits given.
        found: usize,
        /// Tokens of the vocabulary.
        expected: usize,
    },
}

type Chain = (Vec<Box<dyn Adjust>>, Vec<Box<dyn Narrow>>);

/// The order of the samplers. Top-k stands first among those that narrow: it is applied while the
/// candidates are gathered.
///
/// Mirostat takes the place of all truncation. At temperature 0 the best candidate is taken, which
/// no truncation but typical and XTC can drop: without these two none is applied.
fn chain(s: &Sampling, breakers: Vec<Vec<u32>>, ctx: usize) -> Chain {
    let adjust = [
        logit_bias::stage(s),
        penalties::stage(s, ctx),
        dry::stage(s, breakers, ctx), //
    ];
    let truncate = [
        typical::stage(s),
        top_p::stage(s),
        min_p::stage(s),
        xtc::stage(s), //
    ];
    let keeps_the_best = typical::stage(s).is_none() && xtc::stage(s).is_none();
    let skip = s.mirostat.is_some() || (s.temperature == 0.0 && keeps_the_best);
    let truncate = truncate.into_iter().filter(|_| !skip);
    let narrow = truncate.chain([temperature::stage(s)]);
    (adjust.into_iter().flatten().collect(), narrow.flatten().collect())
}

impl Sampler {
    /// Samplers for one request.
    ///
    /// `breakers` are the token sequences that end a DRY match (see [`dry_breakers`]; empty if DRY
    /// is off), `ctx` the context limit in tokens, which bounds how far penalties look back.
    ///
    /// # Errors
    /// A setting outside its range, by name.
    pub fn new(
        settings: &Sampling,
        vocab_size: usize,
        breakers: Vec<Vec<u32>>,
        ctx: usize,
    ) -> Result<Self, SettingError> {
        settings::check(settings, vocab_size)?;
        let (adjust, narrow) = chain(settings, breakers, ctx);
        let pick = match settings.mirostat {
            _ if settings.temperature == 0.0 => Pick::Greedy,
            Some((tau, eta)) => Pick::Mirostat(mirostat::Mirostat::new(tau, eta)),
            None => Pick::Draw,
        };
        let top_k = if settings.mirostat.is_some() { 0 } else { settings.top_k };
        let (rng, candidates) = (Rng::new(settings.seed), Candidates::default());
        let need = need::need(settings, !adjust.is_empty());
        Ok(Self { vocab_size, adjust, top_k, narrow, pick, rng, candidates, need })
    }

    /// The logits that make a difference to [`Sampler::sample`]: it would choose the same if all
    /// others were minus infinity. `None` if all do.
    pub fn need(&self) -> Option<Need> {
        self.need
    }

    /// Chooses the next token from `logits`, one per token of the vocabulary, which biases and
    /// penalties change in place. The caller notes the choice by [`Self::accept`].
    ///
    /// # Errors
    /// Logits that are not numbers, or none that may be chosen. Minus infinity rules a token out.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32, SampleError> {
        if logits.len() != self.vocab_size {
            return Err(SampleError::Width { found: logits.len(), expected: self.vocab_size });
        }
        for stage in &mut self.adjust {
            stage.adjust(logits);
        }
        if matches!(self.pick, Pick::Greedy) && self.narrow.is_empty() {
            return greedy::best(logits);
        }
        let kept = &mut self.candidates;
        top_k::gather(logits, self.top_k, kept)?;
        for stage in &self.narrow {
            stage.narrow(kept, &mut self.rng);
        }
        Ok(match &mut self.pick {
            Pick::Greedy => kept.best().id,
            Pick::Draw => dist::draw(kept, &mut self.rng).id,
            Pick::Mirostat(mirostat) => mirostat.pick(kept, &mut self.rng),
        })
    }

    /// Notes a token of the context, of the prompt as of the output, for penalties and DRY.
    pub fn accept(&mut self, token: u32) {
        for stage in &mut self.adjust {
            stage.accept(token);
        }
    }
}
