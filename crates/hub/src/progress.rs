//! What long work tells its caller, and how the caller stops it.

use crate::HubError;
use std::ops::ControlFlow;

/// What is being done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Bytes come over the network, by the source's own client.
    Download,
    /// Bytes are taken out of a package, hashed and written.
    Unpack,
    /// Bytes are made out of others and written.
    Convert,
    /// Bytes on disk are hashed: an import, or the part of a pull that was there already.
    Hash,
}

/// One report. Reports come often; drawing less often is the observer's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process holds the model; the work waits for it. Reported again while it waits, so
    /// that waiting can be stopped too.
    Waiting {
        /// Who holds it, as far as known.
        holder: String,
    },
    /// A server was asked and has not answered yet. Reported again and again, so that waiting can
    /// be stopped.
    Asking,
    /// `done` of `total` bytes of a stage; `total` may be an estimate for a download.
    Bytes {
        /// What is being done.
        stage: Stage,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// One step that changes the store is about to happen.
    Step(&'static str),
}

/// Receives reports; answering `Break` stops the work at that point, programs that it runs too.
/// Complete pieces stay for a resume.
pub trait Observer {
    /// Takes one report.
    fn observe(&self, progress: Progress) -> ControlFlow<()>;
}

/// An observer that wants nothing.
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Reports and turns a `Break` into [`HubError::Stopped`].
pub(crate) fn report(observer: &dyn Observer, progress: Progress) -> Result<(), HubError> {
    match observer.observe(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(HubError::Stopped),
    }
}
