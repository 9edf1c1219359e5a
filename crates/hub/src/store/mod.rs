//! The store: models on disk under readable names, complete or absent.
//!
//! ```text
//! models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf   bytes untouched
//! models/smollm2-135m/manifest.toml
//! models/.partial/smollm2-135m/                         a pull on its way; may be resumed
//! models/.locks/smollm2-135m.lock                       never removed
//! ```
//! A model's folder is filled under `.partial` and appears by one rename, manifest included, so no
//! reader ever sees half of it. Removing is one rename the other way. What a killed process left
//! under `.partial` is tidied by the next one that opens the store, under the model's lock.
//! How files are received is in `intake.rs`; how a pull or import runs as a whole in `install.rs`;
//! whether a model is still what it was in `check.rs`.

mod check;
mod install;
mod intake;
mod lock;
mod manifest;
mod open;
mod partial;
mod space;

pub use check::Damage;
pub use install::{Desk, Installed};
pub(crate) use intake::CHUNK;
pub use intake::{FileSpec, Intake, PieceWriter};
pub use lock::SharedLock;
pub use manifest::{Facts, Manifest, StoredFile};
pub use open::{OpenModel, open_path};
pub use space::readable;

use crate::HubError;
use crate::name::ModelName;
use lock::LockFile;
use partial::Partial;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One folder of the store: its name, and its manifest or why that cannot be used.
pub type Listed = (String, Result<Manifest, HubError>);

impl Store {
    /// Opens the store at `root`, which need not exist yet, and tidies what killed processes left.
    ///
    /// # Errors
    /// If the folder exists and cannot be read.
    pub fn open(root: PathBuf) -> Result<Self, HubError> {
        // Absolute: package clients run in a folder of their own and are given paths in here.
        let root = std::path::absolute(&root).map_err(HubError::io("find", &root))?;
        let store = Self { root };
        store.sweep()?;
        Ok(store)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every model, by folder name.
    ///
    /// # Errors
    /// If the store cannot be read. A model that cannot be used is listed with its error.
    pub fn list(&self) -> Result<Vec<Listed>, HubError> {
        let mut listed = Vec::new();
        for name in visible_folders(&self.root)? {
            match Manifest::read(&self.root.join(&name)) {
                Ok(Some(manifest)) => listed.push((name, Ok(manifest))),
                Ok(None) => {}
                Err(error) => listed.push((name, Err(error))),
            }
        }
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(listed)
    }

    /// The manifest of a model; `None` if there is no model of that name.
    ///
    /// # Errors
    /// If there is one and its manifest cannot be used.
    pub fn manifest(&self, name: &ModelName) -> Result<Option<Manifest>, HubError> {
        let manifest = Manifest::read(&self.folder(name))?;
        Ok(manifest.filter(|manifest| manifest.facts.name == *name))
    }

    /// The model that came by this reference (see [`Manifest::reference`]), whatever its name.
    ///
    /// # Errors
    /// If the store cannot be read. A model that cannot be used is none.
    pub fn by_reference(&self, reference: &str) -> Result<Option<Manifest>, HubError> {
        let models = self.list()?.into_iter().filter_map(|(_, manifest)| manifest.ok());
        Ok(models.into_iter().find(|model| model.reference.as_deref() == Some(reference)))
    }

    /// Complete bytes of an unfinished pull of `name`, which the next pull takes up.
    pub fn begun(&self, name: &ModelName) -> u64 {
        self.partial(name).resume().files.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Removes a model, or what is there of an unfinished pull; files in place stay where they are.
    /// Gives the bytes freed in the store.
    ///
    /// # Errors
    /// [`HubError::Busy`] if a process uses or writes the model, [`HubError::NotFound`] if there is
    /// nothing of that name.
    pub fn remove(&self, name: &ModelName) -> Result<u64, HubError> {
        let folder = self.folder(name);
        let partial = self.partial(name);
        match Manifest::read(&folder) {
            Ok(Some(manifest)) if manifest.facts.name != *name => return Err(not_found(name)),
            // A manifest that cannot be read must not keep its model from being removed.
            Ok(Some(_)) | Err(_) => {}
            Ok(None) if partial.exists() => {}
            Ok(None) => return Err(not_found(name)),
        }
        let _lock = match LockFile::open(&self.locks(), name)?.try_exclusive("rm")? {
            Ok(lock) => lock,
            Err(mut held) => {
                return Err(HubError::Busy { name: name.to_string(), holder: held.holder() });
            }
        };
        self.take_away(name)
    }

    /// Takes a model's folder out of the store and gives its size; its lock must be held.
    fn take_away(&self, name: &ModelName) -> Result<u64, HubError> {
        let partial = self.partial(name);
        let freed = partial.bring_down(&self.folder(name))?;
        sync_folder(&self.root)?;
        partial.remove()?;
        Ok(freed)
    }

    /// Tidies every unfinished pull that no process is working on.
    fn sweep(&self) -> Result<(), HubError> {
        let partials = self.root.join(".partial");
        for folder in visible_folders(&partials)? {
            let lock = LockFile::open_folder(&self.locks(), &folder)?;
            if let Ok(_lock) = lock.try_exclusive("tidying up")? {
                // Beside a model that is there, too: complete pieces may be those of its repair.
                Partial::at(partials.join(&folder)).tidy()?;
            }
        }
        Ok(())
    }

    fn folder(&self, name: &ModelName) -> PathBuf {
        self.root.join(name.folder())
    }

    fn partial(&self, name: &ModelName) -> Partial {
        Partial::at(self.root.join(".partial").join(name.folder()))
    }

    fn locks(&self) -> PathBuf {
        self.root.join(".locks")
    }
}

fn not_found(name: &ModelName) -> HubError {
    HubError::NotFound { name: name.to_string(), hint: String::new() }
}

/// Names of the folders in `folder` that are real folders with plain names; empty if it is missing.
fn visible_folders(folder: &Path) -> Result<Vec<String>, HubError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HubError::io("read", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(HubError::io("read", folder))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match entry.file_name().into_string() {
            Ok(name) if is_folder && !name.starts_with('.') => names.push(name),
            _ => {}
        }
    }
    Ok(names)
}

/// Makes names that were added to or removed from `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), HubError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(HubError::io("sync", folder))
}
