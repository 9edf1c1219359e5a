//! Constraints: which tokens may come next so that the output matches a JSON Schema, a regular
//! expression or a Lark grammar. llguidance compiles and matches; `schema.rs` says what is refused.
//!
//! A constraint holds from the first token of the output: whoever lets a model think first must
//! begin the constraint after it. Text that the constraint leaves no choice about is not forced: it
//! is a guess (see `speculate`), so that the tokens are those the model would have chosen.

mod lark;
mod schema;
mod vocabulary;

use llguidance::api::{StopReason, TopLevelGrammar};

use crate::protocol::Constraint;
pub use vocabulary::GrammarEnv;

/// Longest accepted schema and Lark grammar, and longest regular expression.
const MAX_GRAMMAR_BYTES: usize = 512 << 10;
const MAX_REGEX_BYTES: usize = 16 << 10;

/// Why a constraint cannot be used, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum GrammarError {
    /// The constraint's text is too long.
    #[error("the {what} has {found} bytes; at most {most} are accepted")]
    TooLong {
        /// What kind of constraint.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// Bytes accepted.
        most: usize,
    },
    /// Brackets nest too deep.
    #[error("the grammar nests brackets deeper than {most} levels")]
    TooDeep {
        /// Levels accepted.
        most: usize,
    },
    /// The schema is not JSON.
    #[error("the schema is not valid JSON: {message}")]
    Json {
        /// Where it breaks.
        message: String,
    },
    /// The schema has a keyword that would not be honoured.
    #[error("the schema's keyword {keyword} (at {place}) cannot be enforced; leave it out")]
    Keyword {
        /// The keyword.
        keyword: String,
        /// The path to the schema that has it.
        place: String,
    },
    /// The constraint does not compile.
    #[error("the constraint cannot be used: {message}")]
    Invalid {
        /// The compiler's reason.
        message: String,
    },
    /// The constraint became too complex while it was matched.
    #[error("the constraint was given up: {message}")]
    GivenUp {
        /// Which limit.
        message: String,
    },
    /// A token that the constraint does not allow.
    #[error("token {token} is not allowed by the constraint here")]
    NotAllowed {
        /// The token.
        token: u32,
    },
    /// Nothing in the vocabulary can go on, though the constraint is not fulfilled.
    #[error("no token of the vocabulary can continue the constraint")]
    Stuck,
    /// No token ends a text.
    #[error("the vocabulary has no token that ends a text, so a constraint could not end")]
    NoEnd,
    /// The vocabulary is larger than grammars can handle.
    #[error("the vocabulary has {tokens} tokens of {bytes} bytes; constraints handle {most} bytes")]
    Vocabulary {
        /// Number of tokens.
        tokens: usize,
        /// Bytes of all of them.
        bytes: usize,
        /// Bytes accepted.
        most: usize,
    },
}

impl GrammarError {
    /// The compiler's message, cut to what people read.
    fn invalid(error: impl std::fmt::Display) -> Self {
        // The compiler suggests an option of its own that does not exist here.
        let message = brief(&error.to_string());
        let message = message.split(". Enable '").next().unwrap_or(&message).to_owned();
        GrammarError::Invalid { message }
    }
}

/// The first lines of a message; a crash inside the library brings a backtrace.
fn brief(message: &str) -> String {
    let head = message.split("\n<").next().unwrap_or(message).trim();
    head.chars().take(400).collect()
}

/// Follows one output along its constraint.
pub struct Matcher {
    inner: llguidance::Matcher,
    vocab_size: usize,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

impl Matcher {
    /// Compiles a constraint.
    ///
    /// # Errors A constraint that is too long, too deep, too complex, invalid, or a schema with a
    /// keyword that cannot be honoured.
    pub fn new(constraint: &Constraint, env: &GrammarEnv) -> Result<Self, GrammarError> {
        let bounded = |what, text: &str, most| match text.len() {
            found if found > most => Err(GrammarError::TooLong { what, found, most }),
            _ => Ok(()),
        };
        let grammar = match constraint {
            Constraint::JsonSchema(text) => {
                bounded("schema", text, MAX_GRAMMAR_BYTES)?;
                TopLevelGrammar::from_json_schema(schema::compact(schema::read(text)?))
            }
            Constraint::Regex(text) => {
                bounded("regular expression", text, MAX_REGEX_BYTES)?;
                lark::check_nesting(text)?;
                TopLevelGrammar::from_regex(lark::whole_match(text)?)
            }
            Constraint::Lark(text) => {
                bounded("grammar", text, MAX_GRAMMAR_BYTES)?;
                lark::check_nesting(text)?;
                schema::check_inline(text)?;
                TopLevelGrammar::from_lark(text.clone())
            }
        };
        let parser = env.factory().create_parser(grammar).map_err(GrammarError::invalid)?;
        let inner = llguidance::Matcher::new(Ok(parser));
        match inner.get_error() {
            Some(message) => Err(GrammarError::invalid(message)),
            None => Ok(Self { inner, vocab_size: env.vocab_size() }),
        }
    }

    /// Sets the logits of all tokens that may not come next to minus infinity. Once the constraint
    /// is fulfilled and nothing can follow, only the tokens that end a text remain. Logits beyond
    /// the vocabulary (padding of the model) are never allowed.
    ///
    /// # Errors
    /// If the constraint became too complex, or no token can continue it.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<(), GrammarError> {
        let allowed =
            self.inner.compute_mask_or_eos().map_err(|e| self.given_up(&e.to_string()))?;
        let mut any = false;
        for (token, logit) in logits.iter_mut().enumerate() {
            if token < self.vocab_size && allowed.is_allowed(token as u32) {
                any = true;
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        if any { Ok(()) } else { Err(GrammarError::Stuck) }
    }

    /// Goes on past a token that was chosen. After a refusal the matcher is as before.
    ///
    /// # Errors
    /// If the token is not allowed here, or the constraint became too complex.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarError> {
        if token as usize >= self.vocab_size {
            return Err(GrammarError::NotAllowed { token });
        }
        if self.inner.is_stopped() {
            let ends =
                self.inner.compute_mask_or_eos().map_err(|e| self.given_up(&e.to_string()))?;
            return if ends.is_allowed(token) {
                Ok(())
            } else {
                Err(GrammarError::NotAllowed { token })
            };
        }
        match self.inner.try_consume_tokens(&[token]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(GrammarError::NotAllowed { token }),
            Err(error) => Err(self.given_up(&error.to_string())),
        }
    }

    /// The bytes that must come next, as far as the constraint leaves no choice; often none.
    pub fn forced(&mut self) -> Vec<u8> {
        if self.inner.is_stopped() { Vec::new() } else { self.inner.compute_ff_bytes() }
    }

    /// Whether the constraint is fulfilled and nothing can follow but the end.
    pub fn is_complete(&self) -> bool {
        matches!(
            self.inner.stop_reason(),
            StopReason::NoExtension | StopReason::NoExtensionBias | StopReason::EndOfSentence
        )
    }

    /// Whether the output may end here.
    ///
    /// # Errors
    /// If the constraint became too complex.
    pub fn may_end(&mut self) -> Result<bool, GrammarError> {
        if self.is_complete() {
            return Ok(true);
        }
        self.inner.is_accepting().map_err(|e| self.given_up(&e.to_string()))
    }

    fn given_up(&self, message: &str) -> GrammarError {
        // The library has no typed errors: an empty set of tokens is told by this name alone.
        if message.contains("NoExtensionBias") {
            return GrammarError::Stuck;
        }
        let message = match self.inner.stop_reason() {
            StopReason::LexerTooComplex => "its regular expressions are too complex".to_owned(),
            StopReason::ParserTooComplex => {
                "its grammar is too ambiguous or too complex".to_owned()
            }
            _ => brief(message),
        };
        GrammarError::GivenUp { message }
    }
}

#[cfg(test)]
mod tests;
