//! Errors of the hub: each says what was found, what was expected and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// What kind of error it is, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A name or argument is malformed.
    Usage,
    /// No model of that name.
    NotFound,
    /// A source did not deliver.
    Source,
    /// Bytes are not what they should be.
    Integrity,
    /// The store or the ledger cannot be read or written.
    Store,
    /// Another process holds the model.
    Busy,
    /// The caller stopped the work.
    Stopped,
}

/// Any error of the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A word is not a model name.
    #[error(
        "`{found}` is not a model name: {why}; expected letters, digits, `.`, `_` or `-`, \
         as in `smollm2:135m`"
    )]
    Name {
        /// The word, escaped.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text looks like the place of a model on a server and is none.
    #[error("{found}: {why}")]
    Address {
        /// The text, without what may be secret.
        found: String,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// No model of that name in the store or the catalogue, and no such file.
    #[error(
        "no model `{name}` in the store or the catalogue{hint}; `hearth list --all` shows both"
    )]
    NotFound {
        /// The name as given.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// A path names nothing.
    #[error("there is no file {path}")]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A path does not name a model file.
    #[error("{path}: {found}; expected a GGUF file")]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// The name is taken by another model.
    #[error(
        "the name `{name}` is taken by {holder}; choose another with --name, or \
         `hearth rm` that one first"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// What holds it.
        holder: String,
    },
    /// The name is that of a model of the catalogue, and the file is another.
    #[error(
        "the name `{name}` is kept for the catalogue's `{entry}` ({expected}), and {path} is not \
         that file: {found}; choose another with --name"
    )]
    CatalogueName {
        /// The name.
        name: String,
        /// The catalogue's model.
        entry: String,
        /// The file.
        path: PathBuf,
        /// What the file is.
        found: String,
        /// What the catalogue says.
        expected: String,
    },
    /// A part of a split model, without the others.
    #[error("{path}: {found}; {next}")]
    Part {
        /// The part.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What to give instead.
        next: String,
    },
    /// A source failed.
    #[error("{source_name}: {found}")]
    Source {
        /// The source.
        source_name: String,
        /// What happened and what to do next.
        found: String,
    },
    /// Bytes from a source or a file are not the expected ones.
    #[error("{what}: {found}, expected {expected}; nothing of it was kept")]
    Integrity {
        /// File or source.
        what: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A file in use by a model changed since it was imported or pulled.
    #[error("{path}: {found}; `hearth rm {name}` and import or pull it again if this is meant")]
    Changed {
        /// The model.
        name: String,
        /// The file.
        path: PathBuf,
        /// What differs.
        found: String,
    },
    /// The disk has too little space.
    #[error(
        "{path} has {free} free, and {needed} are needed; free some space or choose \
         another folder with --store"
    )]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Free space, readable.
        free: String,
        /// Needed space, readable.
        needed: String,
    },
    /// The model is in use.
    #[error("`{name}` is in use by {holder}; stop it first")]
    Busy {
        /// The model.
        name: String,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// A manifest of the store cannot be used.
    #[error("{path}: {found}; `hearth rm` the model and pull it again")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// The ledger of connections cannot be written, so no connection is made.
    #[error("{path}: {error}; no connection is made without a line in this file")]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There are no certificates to know servers by.
    #[error("{path}: {found}; name a file of certificates in PEM with the setting `ca_file`")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
    },
    /// A file that only this installation can read is not what it wrote.
    #[error(
        "{path}: found {found}; nothing of it is used. Bring back a copy that was not changed, or \
         name another file"
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: &'static str,
    },
    /// The file of the key cannot be used.
    #[error("{path}: {found}; {next}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// What to do.
        next: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was attempted: "read", "write", "lock".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
    /// The caller stopped the work; what is complete so far stays for a later resume.
    #[error("stopped; run the same command again to go on from here")]
    Stopped,
}

impl HubError {
    /// The kind, for exit codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::Address { .. }
            | Self::NameTaken { .. }
            | Self::CatalogueName { .. } => ErrorKind::Usage,
            Self::NotFound { .. } | Self::NoFile { .. } => ErrorKind::NotFound,
            Self::Source { .. } | Self::Certificates { .. } => ErrorKind::Source,
            Self::Stopped => ErrorKind::Stopped,
            Self::NotAModel { .. }
            | Self::Part { .. }
            | Self::Integrity { .. }
            | Self::Sealed { .. }
            | Self::Changed { .. } => ErrorKind::Integrity,
            Self::NoSpace { .. }
            | Self::Manifest { .. }
            | Self::Ledger { .. }
            | Self::Key { .. }
            | Self::Io { .. } => ErrorKind::Store,
            Self::Busy { .. } => ErrorKind::Busy,
        }
    }

    /// For `map_err`: an I/O error with the attempt and the path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { action, path, error }
    }
}
