//! The key of sealed files: 32 random bytes in a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::{fill_random, folder_of, part_of};
use crate::HubError;
use crate::store::sync_folder;

const BYTES: usize = 32;

/// A key. It has no `Debug` and is in no message.
pub struct Key([u8; BYTES]);

impl Key {
    /// The key in the file at `path`, which is made if there is none.
    ///
    /// # Errors
    /// A file that others can read, or that holds no key; a folder that cannot be written.
    pub fn of(path: &Path) -> Result<Self, HubError> {
        match File::open(path) {
            Ok(file) => Self::read(file, path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Self::make(path)?;
                // Two processes may have made one at once: the first is that of both.
                Self::read(File::open(path).map_err(HubError::io("read", path))?, path)
            }
            Err(error) => Err(HubError::io("read", path)(error)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    fn read(mut file: File, path: &Path) -> Result<Self, HubError> {
        let wrong =
            |found: String, next: String| Err(HubError::Key { path: path.to_owned(), found, next });
        let meta = file.metadata().map_err(HubError::io("read", path))?;
        let mode = meta.permissions().mode() & 0o777;
        if meta.is_file() && mode & 0o077 != 0 {
            let found = format!("others can use this key (mode {mode:03o}, expected 600)");
            let next = format!("`chmod 600 {}`, unless they have done so", path.display());
            return wrong(found, next);
        }
        if !meta.is_file() || meta.len() != BYTES as u64 {
            let found = format!("found {} bytes, expected a key of {BYTES}", meta.len());
            let next = "bring the right file back; without it, what it closed stays closed, and \
                        once it is removed a new one is made";
            return wrong(found, next.to_owned());
        }
        let mut key = [0; BYTES];
        file.read_exact(&mut key).map_err(HubError::io("read", path))?;
        Ok(Self(key))
    }

    /// Makes the file, complete from its first moment; one that is there stays.
    fn make(path: &Path) -> Result<(), HubError> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(HubError::io("make", folder))?;
        let mut random = [0; BYTES + size_of::<u64>()];
        fill_random(&mut random, path)?;
        let (key, name) = random.split_at(BYTES);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = part_of(path, &name);
        let written = write_new(&part, key).and_then(|()| std::fs::hard_link(&part, path));
        // What is left if this fails is a key that closed nothing.
        let _ = std::fs::remove_file(&part);
        match written {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(HubError::io("write", path)(error))
            }
            _ => sync_folder(folder),
        }
    }
}

#[cfg(test)]
impl From<[u8; BYTES]> for Key {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }
}

/// Writes a file that was not there and that only its owner can read.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/hearth/key");
        let first = Key::of(&path).unwrap();
        assert_eq!((mode(&path), std::fs::read(&path).unwrap().len()), (0o600, BYTES));
        assert_eq!(first.bytes(), Key::of(&path).unwrap().bytes());
        assert_eq!(first.bytes()[..], std::fs::read(&path).unwrap());
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
        let other = Key::of(&folder.path().join("other")).unwrap();
        assert_ne!(first.bytes(), other.bytes());
    }

    #[test]
    fn of_keys_made_at_once_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<[u8; BYTES]> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| *Key::of(&path).unwrap().bytes())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn t10_a_key_that_others_can_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Key::of(&path).unwrap();
        for bad in [0o640, 0o604, 0o620, 0o666, 0o601] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(bad)).unwrap();
            let error = Key::of(&path).err().unwrap().to_string();
            assert!(error.contains(&format!("{bad:o}")) && error.contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
        Key::of(&path).unwrap();
    }

    #[test]
    fn t10_a_file_that_is_no_key_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for bytes in [&[][..], &[1; BYTES - 1], &[1; BYTES + 1]] {
            write_new(&path, bytes).unwrap();
            let error = Key::of(&path).err().unwrap().to_string();
            assert!(error.contains(&format!("{} bytes", bytes.len())), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::create_dir(&path).unwrap();
        assert!(Key::of(&path).is_err());
    }
}
