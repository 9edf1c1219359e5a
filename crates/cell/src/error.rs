//! What can go wrong between the parent and a sealed child.

use std::io;

use hearth_engine::protocol::Failure;

use crate::death::Death;
use crate::frame::FrameError;
use crate::isolation::{Isolation, SealReport};

/// An error of the cell, as a user reads it. Its message holds the cause, which is no source
/// besides: it would be printed twice.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The child could not be started.
    #[error("the engine process could not be started: {0}")]
    Spawn(io::Error),
    /// The seal is weaker than required.
    #[error(
        "the engine would run at isolation level `{}`, but `{required}` is required; missing: {}. \
         Run on a system that has these layers, or accept less with `--require-isolation {}`",
        .report.level, .report.missing(), .report.level
    )]
    Weak {
        /// What was asked for.
        required: Isolation,
        /// What was reached.
        report: SealReport,
    },
    /// The engine refused the model.
    #[error("{}", .0.message)]
    Load(Failure),
    /// The child is gone.
    #[error("{0}")]
    Died(Death),
    /// A request that does not fit a frame.
    #[error("the request cannot be sent to the engine: {0}; shorten the input")]
    Request(FrameError),
    /// Too many requests wait in one child.
    #[error("{0} requests already wait for the engine; try again when some have ended")]
    Busy(usize),
    /// This system has no way to hold a sealed child.
    #[error("a sealed engine process is not available on this system: {0}")]
    Unsupported(String),
}

impl From<io::Error> for CellError {
    fn from(error: io::Error) -> Self {
        Self::Spawn(error)
    }
}

impl From<FrameError> for CellError {
    fn from(error: FrameError) -> Self {
        Self::Request(error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        for error in [io::Error::other("x").into(), FrameError::from(io::Error::other("x")).into()]
        {
            let error: CellError = error;
            assert_eq!(error.to_string().matches('x').count(), 1, "{error}");
            assert!(error.source().is_none(), "{error}");
        }
    }
}
