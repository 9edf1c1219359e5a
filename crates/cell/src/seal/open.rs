//! The seal on systems that it is not built for: every layer is missing, and the report says so.

use crate::isolation::{Isolation, Layer, SealReport};

/// What this build can close on this system: nothing.
#[must_use]
pub fn close() -> SealReport {
    let note = format!("not built for {} on {}", std::env::consts::OS, std::env::consts::ARCH);
    let names = ["user and network namespace", "process limits", "Landlock", "system call filter"];
    let layer = |name: &str| Layer { name: name.into(), active: false, note: note.clone() };
    SealReport { level: Isolation::None, layers: names.into_iter().map(layer).collect() }
}

/// System calls refused so far and the last one's number: without a filter there are none.
#[must_use]
pub fn refused_calls() -> (u64, i64) {
    (0, -1)
}
