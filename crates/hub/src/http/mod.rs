//! Fetching over HTTP, from servers that are not trusted: addresses, tokens, answers, downloads.
//!
//! [`Client`] asks and follows redirects, `download.rs` brings a file in parallel ranges, `url.rs`
//! and `secret.rs` are the types for what must not be mixed up. Connections are made in
//! `egress/line.rs` and nowhere else; what lies on a server is known in `source/`.

mod answer;
mod client;
mod download;
mod secret;
mod trouble;
mod url;

pub(crate) use answer::clean;
pub(crate) use client::{Ask, attended};
pub use client::{Client, Limits, Reach};
pub(crate) use download::{Download, Probe, Stream, probe};
pub use secret::{Credential, Secret};
pub(crate) use trouble::Trouble;
pub use url::Url;
