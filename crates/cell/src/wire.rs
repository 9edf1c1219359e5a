//! The messages of the pipe: the engine's protocol plus the few that belong to the cell itself.

use hearth_engine::protocol::{Event, Hello, Request};
use serde::{Deserialize, Serialize};

use crate::isolation::{Isolation, SealReport};

/// What the child must know before it seals itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// What the engine needs to know.
    pub hello: Hello,
    /// The child refuses to read a model below this level.
    pub require: Isolation,
}

/// From the parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Down {
    /// First frame, and only then.
    Start(Box<Start>),
    /// A request to the engine.
    Request(Request),
}

/// From the child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Up {
    /// First frame: what the seal reached. Nothing of the model has been read yet.
    Sealed(SealReport),
    /// System calls that the seal refused since the last report: a defect, as normal work makes
    /// none.
    Refused {
        /// Calls refused in all.
        calls: u64,
        /// Number of the last one in the system's table.
        last: i64,
    },
    /// An event of the engine.
    Event(Event),
}
