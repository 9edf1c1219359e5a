//! Where models come from: one interface, one file per source.
//!
//! A source brings bytes and makes no decision about the store: locking, resuming, hashing, space
//! and publishing are done by [`crate::store`] around it. What lies on a server is named by the
//! user ([`Remote`]), asked for, and then a source as the others are ([`RemoteModel`]).

mod download;
mod file;
mod folder;
mod hub;
mod package;
mod pip;
mod proxy;
mod registry;
mod remote;
mod url;
mod wheel;
mod words;

pub use file::FileSource;
pub use folder::PackageFolder;
pub use package::PackageSource;
pub use proxy::Proxies;
pub use remote::{Remote, RemoteModel};

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

    /// What the user names to mean this model, if that is no name of the store: so that it is found
    /// by that too.
    fn reference(&self) -> Option<String> {
        None
    }

    /// Brings the model's files through `intake`.
    ///
    /// # Errors
    /// With the source's own words of what went wrong, and the next step.
    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError>;
}
