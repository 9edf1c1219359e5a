//! Why a folder cannot be imported. Names come from the gateway, so a message can say which file.

use std::io;

use crate::protocol::{Failure, FailureKind};

/// A folder that cannot become a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file that is there cannot be read.
    #[error("{file} cannot be read: {error}")]
    Read {
        /// Its name.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// A file is not what its name says.
    #[error(
        "{file}: {found}, expected {expected}; the file is damaged or incomplete: get it again"
    )]
    Damaged {
        /// Its name.
        file: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A file that the folder needs is not in it.
    #[error("the folder has no {file}; {next}")]
    Missing {
        /// Its name.
        file: String,
        /// What to do.
        next: String,
    },
    /// The folder may be a good model, of a kind that is not imported.
    #[error("{0}")]
    Unsupported(String),
}

impl ImportError {
    /// A file that is not what its name says.
    pub(super) fn damaged(file: &str, found: impl ToString, expected: impl ToString) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        Self::Damaged { file: file.to_owned(), found, expected }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let kind = match error {
            ImportError::Unsupported(_) => FailureKind::Unsupported,
            _ => FailureKind::Model,
        };
        Failure { kind, message: error.to_string() }
    }
}
