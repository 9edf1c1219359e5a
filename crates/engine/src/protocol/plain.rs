//! The plain form of messages with many fields: who wants more says what.

use super::{Finish, Generate, Overflow, Prompt, Sampling, Stats};

impl Generate {
    /// The likeliest continuation, with nothing asked for but its end; a loop ends it too.
    #[must_use]
    pub fn new(prompt: Prompt, max_tokens: usize) -> Self {
        Self {
            prompt,
            max_tokens,
            sampling: Sampling::default(),
            stop: Vec::new(),
            constraint: None,
            top_logprobs: None,
            loop_detector: true,
            speculate: true,
            adapters: Vec::new(),
            salt: 0,
            overflow: Overflow::Error,
        }
    }
}

impl Stats {
    /// A request that ended with nothing read, written or spent.
    #[must_use]
    pub const fn ended(finish: Finish) -> Self {
        Self {
            finish,
            prompt_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            guessed_tokens: 0,
            accepted_tokens: 0,
            prefill_ms: 0.0,
            decode_ms: 0.0,
            context: (0, 0),
        }
    }
}
