//! Locks of models: readers share, one writer excludes. They end with the process, however it ends.
//!
//! The lock files stand beside the models, not in their folders, and are never removed: removing a
//! lock file that another process is waiting on would give two writers.

use crate::HubError;
use crate::name::ModelName;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Longest note about a holder that is read, in bytes.
const NOTE_CAP: u64 = 200;

/// Held while a model is read: `rm` and `pull` of it wait or refuse.
#[derive(Debug)]
pub struct SharedLock {
    file: File,
}

/// Held while a model is written or removed.
#[derive(Debug)]
pub(crate) struct ExclusiveLock {
    file: File,
}

/// The lock file of one model.
pub(crate) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    /// Opens (and makes, if need be) the lock file of `name` under the store's folder.
    pub(crate) fn open(locks: &Path, name: &ModelName) -> Result<Self, HubError> {
        Self::open_folder(locks, &name.folder())
    }

    /// The same, by the name of the model's folder.
    pub(crate) fn open_folder(locks: &Path, folder: &str) -> Result<Self, HubError> {
        std::fs::create_dir_all(locks).map_err(HubError::io("make", locks))?;
        let path = locks.join(format!("{folder}.lock"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HubError::io("open", &path))?;
        Ok(Self { path, file })
    }

    /// The exclusive lock, or `Err(self)` if another process holds the model.
    pub(crate) fn try_exclusive(
        self,
        doing: &str,
    ) -> Result<Result<ExclusiveLock, Self>, HubError> {
        match self.file.try_lock() {
            Ok(()) => Ok(Ok(ExclusiveLock::marked(self.file, doing))),
            Err(TryLockError::WouldBlock) => Ok(Err(self)),
            Err(TryLockError::Error(error)) => Err(HubError::io("lock", &self.path)(error)),
        }
    }

    /// Waits for the shared lock.
    pub(crate) fn shared(self) -> Result<SharedLock, HubError> {
        self.file.lock_shared().map_err(HubError::io("lock", &self.path))?;
        // A note that is still there was left by a writer that was killed.
        let _ = self.file.set_len(0);
        Ok(SharedLock { file: self.file })
    }

    /// Who holds the model: what a writer left in the file, else a reader.
    pub(crate) fn holder(&mut self) -> String {
        let mut note = String::new();
        // A note that cannot be read costs only its words.
        let _ = self.file.rewind();
        let _ = (&self.file).take(NOTE_CAP).read_to_string(&mut note);
        let note: String = note.trim().chars().filter(|c| !c.is_control()).collect();
        if note.is_empty() { "another hearth process".to_owned() } else { note }
    }
}

impl ExclusiveLock {
    /// Leaves a note for those who find the model locked. Failing to write it is no reason to stop.
    fn marked(mut file: File, doing: &str) -> Self {
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = write!(file, "process {} ({doing})", std::process::id());
        Self { file }
    }
}

// Both locks are given back by name: closing the file would not do while a process that another
// thread is just starting still holds a copy of the descriptor.

impl Drop for ExclusiveLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_excludes() {
        let folder = tempfile::tempdir().unwrap();
        let name: ModelName = "a:b".parse().unwrap();
        let open = || LockFile::open(folder.path(), &name).unwrap();
        let one = open().shared().unwrap();
        let two = open().shared().unwrap();
        let mut refused = open().try_exclusive("rm").unwrap().err().unwrap();
        assert_eq!(refused.holder(), "another hearth process");
        drop((one, two));
        let writer = open().try_exclusive("pull").unwrap().ok().unwrap();
        let mut refused = open().try_exclusive("rm").unwrap().err().unwrap();
        assert_eq!(refused.holder(), format!("process {} (pull)", std::process::id()));
        drop(writer);
        assert!(open().try_exclusive("rm").unwrap().is_ok());
    }
}
