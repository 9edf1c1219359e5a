//! What can go wrong between the parent and a sealed child.

use std::io;

use hearth_engine::protocol::Failure;

use crate::death::Death;
use crate::frame::FrameError;
use crate::isolation::{Isolation, SealReport};

/// An error of the cell, as a user reads it.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The child could not be started.
    #[error("the engine process could not be started: {0}")]
    Spawn(#[from] io::Error),
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
    Request(#[from] FrameError),
    /// Too many requests wait in one child.
    #[error("{0} requests already wait for the engine; try again when some have ended")]
    Busy(usize),
    /// This system has no way to hold a sealed child.
    #[error("a sealed engine process is not available on this system: {0}")]
    Unsupported(String),
}
