//! A file the user has: recorded where it is, never copied or changed.

use super::{Source, Supplied};
use crate::catalogue::{Catalogue, Entry};
use crate::name::ModelName;
use crate::store::{Intake, StoredFile};
use crate::{HubError, split};
use std::path::PathBuf;

/// A model file, with its other parts if it is split.
#[derive(Clone, Debug)]
pub struct FileSource {
    path: PathBuf,
    claim: Option<Claim>,
}

/// A name that only one file may have.
#[derive(Clone, Debug)]
struct Claim {
    name: ModelName,
    entry: Entry,
}

impl FileSource {
    /// The model at `path`, to be called `name`. A name of the catalogue's is given only to the
    /// catalogue's own bytes.
    pub fn new(path: PathBuf, name: &ModelName, catalogue: &Catalogue) -> Self {
        let claim =
            catalogue.owner(name).map(|entry| Claim { name: name.clone(), entry: entry.clone() });
        Self { path, claim }
    }

    /// Refuses the files if the name belongs to others.
    fn check(&self, claim: &Claim, files: &[StoredFile]) -> Result<(), HubError> {
        let found = match files {
            [file] if Some(file.sha256()) == claim.entry.sha256 => return Ok(()),
            [file] => format!("SHA-256 {}", file.sha256()),
            _ => format!("{} files", files.len()),
        };
        Err(HubError::CatalogueName {
            name: claim.name.to_string(),
            entry: claim.entry.name.to_string(),
            path: self.path.clone(),
            found,
            expected: match claim.entry.sha256 {
                Some(sha256) => format!("SHA-256 {sha256}"),
                None => "whose checksum is not known".to_owned(),
            },
        })
    }
}

impl Source for FileSource {
    fn label(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let paths = split::parts(&self.path)?;
        let files: Vec<StoredFile> =
            paths.iter().map(|path| intake.in_place(path)).collect::<Result<_, _>>()?;
        if let Some(claim) = &self.claim {
            self.check(claim, &files)?;
        }
        Ok(Supplied { files, verified: self.claim.is_some() })
    }
}
