//! Models on disk: the catalogue, verified downloads, the store, and the ledger of connections.
//!
//! Knows nothing of what is inside a model beyond the first four bytes of a GGUF file; reading it
//! is the sealed engine's job (`hearth-cell`). Reads no environment variable: the app passes paths.

mod error;
pub mod suggest;

pub use error::{ErrorKind, HubError};
