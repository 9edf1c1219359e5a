//! What the seal reaches on this system, found out by sealing a real child.

use hearth_engine::protocol::{Hello, LoadOptions};

use crate::cell::{Cell, SpawnOptions};
use crate::error::CellError;
use crate::isolation::{Isolation, SealReport};

/// Starts a child of this program without a model, and returns what its seal reached.
///
/// # Errors
/// When the child cannot be started or dies before it is sealed.
pub fn probe() -> Result<SealReport, CellError> {
    let load = LoadOptions { vocab_only: true, ..LoadOptions::default() };
    let hello = Hello { threads: 1, date: String::new(), parts: 0, load, folder: None };
    let options = SpawnOptions::this_program(hello, Vec::new(), Isolation::None)?;
    Ok(Cell::spawn(&options)?.report().clone())
}
