//! Errors of loading and running a model. Input formats have their own (`gguf`, `tokenizer`,
//! `template`); this one holds them and adds what only the whole model can know.

use crate::gguf::GgufError;
use crate::protocol::{Failure, FailureKind};
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// A model file that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The container is malformed.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The vocabulary is malformed or of an unknown kind.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template does not parse.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A key that must be there is not.
    #[error("the file lacks `{0}`, which its architecture needs; the file may be incomplete")]
    Missing(String),
    /// A value outside what is possible.
    #[error("`{key}` is {found}, expected {expected}; the file is damaged or of a newer kind")]
    Range {
        /// The key or tensor.
        key: String,
        /// What the file says.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// A context that the model cannot have.
    #[error(
        "a context of {asked} tokens was asked for, expected 1 to {trained}, \
         the length that the model was trained for"
    )]
    Context {
        /// What the caller asked for.
        asked: usize,
        /// What the model was trained for.
        trained: usize,
    },
    /// Something this version does not do.
    #[error("{0}")]
    Unsupported(String),
    /// Loading was cancelled.
    #[error("loading was cancelled")]
    Cancelled,
}

impl ModelError {
    /// A missing key.
    pub fn missing(key: &str) -> Self {
        Self::Missing(key.to_owned())
    }

    /// A value out of range.
    pub fn range(key: &str, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Range { key: key.to_owned(), found: found.to_string(), expected: expected.into() }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let kind = match error {
            ModelError::Context { .. } => FailureKind::TooLong,
            ModelError::Unsupported(_) => FailureKind::Unsupported,
            ModelError::Gguf(ref error) if error.is_unsupported() => FailureKind::Unsupported,
            ModelError::Gguf(GgufError::InPart { part, .. } | GgufError::Split { part, .. }) => {
                FailureKind::Part(part)
            }
            _ => FailureKind::Model,
        };
        Failure { kind, message: error.to_string() }
    }
}
