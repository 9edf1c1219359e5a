//! One Python package: asked for with a line in the ledger, measured while it comes.

use super::Proxies;
use super::pip::{Pip, PipError};
use crate::HubError;
use crate::catalogue::PackagePin;
use crate::progress::Stage;
use crate::store::Intake;
use std::path::{Path, PathBuf};

/// A download may be on disk twice for a moment (pip copies it), and indexes answer with pages.
const SLACK: u64 = 64 << 20;

/// A package to download.
pub(super) struct Download<'a> {
    /// The Python whose package client does it.
    pub(super) python: &'a Path,
    /// Named in the ledger where the client's own configuration names none.
    pub(super) proxies: &'a Proxies,
    pub(super) pin: &'a PackagePin,
    /// Size of the package file: for the progress bar and as a bound.
    pub(super) bytes: u64,
    /// Bytes that were downloaded before it, and those of all.
    pub(super) before: u64,
    pub(super) total: u64,
}

impl Download<'_> {
    /// Downloads it into `scratch` and gives its file.
    pub(super) fn run(&self, intake: &Intake<'_>, scratch: &Path) -> Result<PathBuf, PipError> {
        let pip = Pip { python: self.python };
        let progress = |seen| intake.progress(Stage::Download, self.before + seen, self.total);
        let destinations = pip.destinations(scratch, self.proxies, || progress(0))?;
        let ticket = intake.ledger().open(intake.command(), &destinations, self.pin.as_str())?;
        let cap = self.bytes.saturating_mul(2).saturating_add(SLACK);
        let mut seen = 0;
        let result = pip.download(&ticket, self.pin, scratch, cap, |bytes| {
            seen = bytes.min(self.bytes).max(seen);
            progress(seen)
        });
        let outcome = match &result {
            Ok(_) => "done",
            Err(PipError::Hub(HubError::Stopped)) => "stopped",
            Err(_) => "failed",
        };
        ticket.close(seen, outcome)?;
        result
    }
}

/// The program to run: it runs in a folder of its own, where a relative path would mean something
/// else; a bare name is searched for on the path.
pub(super) fn absolute(python: PathBuf) -> PathBuf {
    let is_path = python.components().count() > 1;
    is_path.then(|| std::path::absolute(&python).ok()).flatten().unwrap_or(python)
}
