//! Where models come from: one interface, one file per source.
//!
//! A source brings bytes and makes no decision about the store: locking, resuming, hashing, space
//! and publishing are done by [`crate::store`] around it.

mod download;
mod file;
mod folder;
mod package;
mod pip;
mod proxy;
mod wheel;

pub use file::FileSource;
pub use folder::PackageFolder;
pub use package::PackageSource;
pub use proxy::Proxies;

use crate::HubError;
use crate::store::{Intake, StoredFile};

/// What a source brought.
#[derive(Debug)]
pub struct Supplied {
    /// The files, in the order of their parts.
    pub files: Vec<StoredFile>,
    /// True if the digest of every file, or of all that it was made of, was known beforehand and
    /// is equal.
    pub verified: bool,
}

/// A place that models come from.
pub trait Source {
    /// What it is, for people and for the manifest. Complete pieces of an earlier run are taken up
    /// only if its label is the same.
    fn label(&self) -> String;

    /// Brings the model's files through `intake`.
    ///
    /// # Errors
    /// With the source's own words of what went wrong, and the next step.
    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError>;
}
