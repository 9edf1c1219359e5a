//! Models on disk: the catalogue, verified downloads, the store, and the ledger of connections.
//!
//! Knows nothing of what is inside a model beyond the first four bytes of a GGUF file; reading it
//! is the sealed engine's job (`hearth-cell`). Reads no environment variable: the app passes paths.
//! Start at [`resolve()`] (what a word means), [`Store`] (what is on disk), [`source::Source`]
//! (where it comes from), [`Client`] (how servers are asked) and [`Ledger`] (what is written before
//! anything connects). [`sealed`] are files for this installation alone.

mod catalogue;
mod clock;
mod digest;
mod egress;
mod error;
mod http;
mod name;
pub mod progress;
mod resolve;
pub mod sealed;
pub mod source;
mod split;
mod store;
pub mod suggest;

pub use catalogue::{
    Catalogue, DEFAULT_MODEL, Entry, Package, PackagePin, PackagedFile, PackagedFolder,
};
pub use clock::now_rfc3339;
pub use digest::{Hasher, NotADigest, Sha256};
pub use egress::Ledger;
pub use error::{ErrorKind, HubError};
pub use http::{Client, Credential, Limits, Reach, Secret, Url};
pub use name::{FileName, ModelName};
pub use resolve::{Target, resolve};
pub use split::stem as model_stem;
pub use store::{
    Damage, Desk, Facts, FileSpec, Installed, Intake, Listed, Manifest, OpenModel, PieceWriter,
    SharedLock, Store, StoredFile, open_path, readable,
};
