//! Is a model still what its manifest says? Sizes are asked for every list; bytes are hashed again
//! when a person pulls a model that is there.

use super::Store;
use super::intake::{hash, open_model_file, state};
use super::manifest::{Manifest, StoredFile};
use crate::HubError;
use crate::digest::{Hasher, Sha256};
use crate::progress::{Observer, Progress, Stage, report};
use std::fmt;
use std::path::Path;

/// How a file of the store differs from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is not there, or is no regular file.
    Gone,
    /// It has another size.
    Size {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// It has the right size and other bytes.
    Bytes {
        /// Digest of what is there.
        found: Sha256,
        /// Digest in the manifest.
        expected: Sha256,
    },
    /// A file in place was written to since its import.
    Written,
    /// It was found before, in these words, and is not repaired yet.
    Known(String),
    /// It has the right size and cannot be read, or is no GGUF file any more.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "file gone"),
            Self::Size { found, expected } => {
                write!(f, "damaged: {found} bytes, expected {expected}")
            }
            Self::Bytes { found, expected } => {
                write!(f, "damaged: SHA-256 {found}, expected {expected}")
            }
            Self::Written => write!(f, "changed: written to since it was imported"),
            Self::Known(found) => write!(f, "{found}"),
            Self::Unreadable(found) => write!(f, "damaged: {found}"),
        }
    }
}

impl Store {
    /// What is wrong with a model as far as presence and sizes tell, or as it was found earlier;
    /// its files are not opened.
    pub fn damage(&self, manifest: &Manifest) -> Option<Damage> {
        let folder = self.folder(&manifest.facts.name);
        let sizes = manifest.files.iter().find_map(|f| sized(&f.path(&folder), f.bytes()));
        sizes.or_else(|| manifest.damaged.clone().map(Damage::Known))
    }

    /// Writes into a model's manifest that it is damaged; its lock must be held.
    pub(super) fn mark(&self, mut manifest: Manifest, damage: &Damage) -> Result<(), HubError> {
        manifest.damaged = Some(damage.to_string());
        manifest.write(&self.folder(&manifest.facts.name))
    }

    /// What is wrong with a model: sizes first, then the digest of every file that the store holds.
    /// A file in place is compared by size and time, as whenever it is opened.
    ///
    /// # Errors
    /// [`HubError::Stopped`]; what cannot be read is damage and no error.
    pub fn check(
        &self,
        manifest: &Manifest,
        observer: &dyn Observer,
    ) -> Result<Option<Damage>, HubError> {
        if let Some(damage) = self.damage(manifest) {
            return Ok(Some(damage));
        }
        let folder = self.folder(&manifest.facts.name);
        let total = manifest.bytes();
        let mut before = 0;
        for file in &manifest.files {
            let told = |done| {
                let done = before + done;
                report(observer, Progress::Bytes { stage: Stage::Hash, done, total })
            };
            if let Some(damage) = compared(file, &file.path(&folder), told)? {
                return Ok(Some(damage));
            }
            before += file.bytes();
        }
        Ok(None)
    }
}

fn sized(path: &Path, expected: u64) -> Option<Damage> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {
            let found = meta.len();
            (found != expected).then_some(Damage::Size { found, expected })
        }
        _ => Some(Damage::Gone),
    }
}

fn compared(
    stored: &StoredFile,
    path: &Path,
    told: impl FnMut(u64) -> Result<(), HubError>,
) -> Result<Option<Damage>, HubError> {
    let unreadable = |error: &dyn fmt::Display| Ok(Some(Damage::Unreadable(error.to_string())));
    let mut file = match open_model_file(path) {
        Ok(file) => file,
        Err(HubError::NotAModel { found, .. }) => return unreadable(&found),
        Err(error) => return unreadable(&error),
    };
    if let StoredFile::InPlace { modified_ns, .. } = stored {
        let same = state(&file).is_ok_and(|(_, modified)| modified == *modified_ns);
        return Ok((!same).then_some(Damage::Written));
    }
    let mut hasher = Hasher::default();
    match hash(&mut file, &mut hasher, told).map_err(|error| error.at("read", path)) {
        Ok(()) => {}
        Err(HubError::Stopped) => return Err(HubError::Stopped),
        Err(error) => return unreadable(&error),
    }
    let (found, expected) = (hasher.finish(), stored.sha256());
    Ok((found != expected).then_some(Damage::Bytes { found, expected }))
}
