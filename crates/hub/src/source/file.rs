//! A file the user has: recorded where it is, never copied or changed.

use super::{Source, Supplied};
use crate::store::Intake;
use crate::{HubError, split};
use std::path::PathBuf;

/// A model file, with its other parts if it is split.
#[derive(Clone, Debug)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// The model at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Source for FileSource {
    fn label(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let paths = split::parts(&self.path)?;
        let files = paths.iter().map(|path| intake.in_place(path)).collect::<Result<_, _>>()?;
        Ok(Supplied { files, verified: false })
    }
}
