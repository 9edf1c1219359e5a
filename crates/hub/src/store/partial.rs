//! The folder of an unfinished pull: what of it is complete, and how it is tidied or removed.
//!
//! ```text
//! .partial/smollm2-135m/model/      becomes the model's folder by one rename
//! .partial/smollm2-135m/resume.toml which bytes are complete and synced
//! .partial/smollm2-135m/scratch/    where a source works; never resumed
//! .partial/smollm2-135m/removed/    a model on its way out
//! ```

use super::sync_folder;
use crate::HubError;
use crate::name::FileName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An unfinished pull.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    root: PathBuf,
}

/// Which bytes of which files are complete. Bytes are counted here only after they are synced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resume {
    /// The source they came from; a pull from another source starts anew.
    pub(super) source: String,
    /// Complete bytes from the start of each file.
    pub(super) files: BTreeMap<FileName, u64>,
}

impl Partial {
    pub(super) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn exists(&self) -> bool {
        self.root.exists()
    }

    /// The folder that becomes the model's.
    pub(super) fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// Makes the folders.
    pub(super) fn make(&self) -> Result<(), HubError> {
        let model = self.model();
        std::fs::create_dir_all(&model).map_err(HubError::io("make", &model))
    }

    /// An empty folder for a source to work in.
    pub(super) fn fresh_scratch(&self) -> Result<PathBuf, HubError> {
        let scratch = self.root.join("scratch");
        remove_tree(&scratch)?;
        std::fs::create_dir_all(&scratch).map_err(HubError::io("make", &scratch))?;
        Ok(scratch)
    }

    /// What is complete. A record that cannot be read counts as none: the pull starts anew.
    pub(super) fn resume(&self) -> Resume {
        let text = std::fs::read_to_string(self.root.join("resume.toml")).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// Records what is complete, so that it survives a crash right after.
    pub(super) fn record(&self, resume: &Resume) -> Result<(), HubError> {
        let path = self.root.join("resume.toml");
        let text = toml::to_string(resume).map_err(|error| HubError::Io {
            action: "write",
            path: path.clone(),
            error: io::Error::other(error),
        })?;
        write_synced(&self.root.join("resume.tmp"), text.as_bytes())?;
        std::fs::rename(self.root.join("resume.tmp"), &path)
            .map_err(HubError::io("write", &path))?;
        sync_folder(&self.root)
    }

    /// Leaves nothing but complete bytes; removes the folder if there are none.
    pub(super) fn tidy(&self) -> Result<(), HubError> {
        let resume = self.resume();
        if resume.files.values().all(|bytes| *bytes == 0) {
            return self.remove();
        }
        remove_tree(&self.root.join("scratch"))?;
        remove_tree(&self.root.join("removed"))?;
        let model = self.model();
        let entries = match std::fs::read_dir(&model) {
            Ok(entries) => entries,
            Err(_) => return self.remove(),
        };
        for entry in entries {
            let path = entry.map_err(HubError::io("read", &model))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let complete = FileName::try_from(name.to_owned())
                .ok()
                .and_then(|name| resume.files.get(&name).copied())
                .unwrap_or(0);
            let cut = match complete {
                0 => std::fs::remove_file(&path),
                bytes => cut(&path, bytes),
            };
            cut.map_err(HubError::io("tidy up", &path))?;
        }
        Ok(())
    }

    /// Moves a model's folder in here, out of sight, and gives its size.
    pub(super) fn bring_down(&self, folder: &Path) -> Result<u64, HubError> {
        let mut bytes = size_of(&self.model());
        std::fs::create_dir_all(&self.root).map_err(HubError::io("make", &self.root))?;
        let removed = self.root.join("removed");
        remove_tree(&removed)?;
        match std::fs::rename(folder, &removed) {
            Ok(()) => bytes += size_of(&removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(HubError::io("remove", folder)(error)),
        }
        Ok(bytes)
    }

    /// Removes everything.
    pub(super) fn remove(&self) -> Result<(), HubError> {
        remove_tree(&self.root)
    }
}

/// Shortens a file to `bytes`; a file that is shorter already is not what the record says: removed.
fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() < bytes {
        return std::fs::remove_file(path);
    }
    file.set_len(bytes)
}

/// Writes a new file and syncs it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(HubError::io("write", path))
}

fn remove_tree(path: &Path) -> Result<(), HubError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HubError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Bytes of the files right in `folder`; what cannot be read counts as nothing.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
