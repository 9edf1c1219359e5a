//! The sealed child process: how it is started, what it may not do, and how one talks to it.
//!
//! A model file and a prompt are foreign bytes; everything that reads them runs in a child that
//! holds only two pipes and read-only model descriptors, and that the kernel refuses the rest.
//!
//! - parent side: [`Cell`] is one child, [`Engine`] keeps one alive; [`probe()`] says what this
//!   system can do;
//! - child side: [`child::main`] reads the start frame, seals the process ([`seal`]), then serves;
//! - between them: [`frame`] (bytes) and [`wire`] (messages).
//!
//! What a request means is not here: see `hearth_engine::worker`. The crate's unsafe code is
//! `sys.rs`.

#[cfg(unix)]
mod cell;
#[cfg(unix)]
pub mod child;
mod death;
mod error;
pub mod frame;
mod isolation;
mod memory;
#[cfg(unix)]
mod probe;
pub mod seal;
#[cfg(unix)]
mod supervise;
#[cfg(unix)]
mod sys;
pub mod wire;

#[cfg(unix)]
pub use cell::{Canceller, Cell, ROLE, Reply, SpawnOptions};
pub use death::Death;
pub use error::CellError;
pub use isolation::{Isolation, Layer, SealReport, UnknownIsolation};
pub use memory::peak_rss_bytes;
#[cfg(unix)]
pub use probe::probe;
#[cfg(unix)]
pub use supervise::Engine;
