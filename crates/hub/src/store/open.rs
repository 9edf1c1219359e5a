//! Opening a model to use it: every part, checked against the manifest, with a lock that keeps it.

use super::intake::{open_model_file, state};
use super::lock::{LockFile, SharedLock};
use super::manifest::{Manifest, StoredFile};
use super::{Store, not_found};
use crate::name::ModelName;
use crate::{HubError, split};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A model in use. While this lives, `rm` of the model refuses.
#[derive(Debug)]
pub struct OpenModel {
    /// What to call it in messages: its name or its path.
    pub label: String,
    /// Its parts in order, open for reading.
    pub files: Vec<File>,
    /// Where the parts are.
    pub paths: Vec<PathBuf>,
    /// What the store knows of it; `None` for a file outside the store.
    pub manifest: Option<Manifest>,
    lock: Option<SharedLock>,
}

impl OpenModel {
    /// What tells this model from another: the digests of its parts, or for a file outside the
    /// store sizes, times and places on the disk, as taking digests would take longer than an
    /// answer. Copied files are others then.
    ///
    /// # Errors
    /// If a file cannot be asked.
    pub fn identity(&self) -> Result<String, HubError> {
        if let Some(manifest) = &self.manifest {
            let digests = manifest.files.iter().map(|file| format!("sha256 {}", file.sha256()));
            return Ok(digests.collect::<Vec<_>>().join(", "));
        }
        let parts = self.files.iter().zip(&self.paths).map(|(file, path)| {
            let meta = file.metadata().map_err(HubError::io("read", path))?;
            let (bytes, modified) = state(file).map_err(HubError::io("read", path))?;
            Ok(format!("{bytes} bytes of {modified} at inode {}", meta.ino()))
        });
        Ok(parts.collect::<Result<Vec<_>, HubError>>()?.join(", "))
    }

    /// Does this model hold a lock of the store?
    pub fn locked(&self) -> bool {
        self.lock.is_some()
    }
}

impl Store {
    /// Opens a model of the store.
    ///
    /// # Errors
    /// [`HubError::NotFound`]; [`HubError::Changed`] if a file is missing or differs in size or, in
    /// place, in time from what the manifest says.
    pub fn open_model(&self, name: &ModelName) -> Result<OpenModel, HubError> {
        // Asked first without the lock: a pull may hold it for long, a reader of a model that is
        // there never waits longer than `rm` takes.
        let manifest = self.manifest(name)?.ok_or_else(|| not_found(name))?;
        if let Some(found) = manifest.damaged {
            let path = self.folder(name);
            return Err(HubError::Changed { name: name.to_string(), path, found });
        }
        let lock = LockFile::open(&self.locks(), name)?.shared()?;
        let manifest = self.manifest(name)?.ok_or_else(|| not_found(name))?;
        let folder = self.folder(name);
        let mut files = Vec::new();
        let mut paths = Vec::new();
        for stored in &manifest.files {
            let path = stored.path(&folder);
            files.push(open_stored(name, stored, &path)?);
            paths.push(path);
        }
        let label = name.to_string();
        Ok(OpenModel { label, files, paths, manifest: Some(manifest), lock: Some(lock) })
    }
}

fn open_stored(name: &ModelName, stored: &StoredFile, path: &Path) -> Result<File, HubError> {
    let changed =
        |found: String| HubError::Changed { name: name.to_string(), path: path.to_owned(), found };
    let file = open_model_file(path).map_err(|error| match error {
        HubError::NotAModel { found, .. } => changed(found),
        HubError::NoFile { .. } => changed("the file is gone".to_owned()),
        other => other,
    })?;
    let (bytes, modified) = state(&file).map_err(HubError::io("read", path))?;
    if bytes != stored.bytes() {
        return Err(changed(format!("it has {bytes} bytes and had {}", stored.bytes())));
    }
    match stored {
        StoredFile::InPlace { modified_ns, .. } if *modified_ns != modified => {
            Err(changed("it was written to since it was imported".to_owned()))
        }
        _ => Ok(file),
    }
}

/// Opens a file outside the store, with all its parts if its name is that of a split model.
///
/// # Errors
/// If a part is missing or not a GGUF file.
pub fn open_path(path: &Path) -> Result<OpenModel, HubError> {
    let paths = split::parts(path)?;
    let files = paths.iter().map(|path| open_model_file(path)).collect::<Result<_, _>>()?;
    let label = path.display().to_string();
    Ok(OpenModel { label, files, paths, manifest: None, lock: None })
}
