//! Files that only this installation can read, and that nobody can change unnoticed: records,
//! encrypted and authenticated one by one (XChaCha20-Poly1305) with a key that lies in a file of
//! the user's.
//!
//! What is read is what was written with this key, for this purpose, from its first record to its
//! last, in this order: records that were changed, swapped, repeated, left out or taken from
//! another file are refused, and so is a file that was cut. What stays visible is how long each
//! record is. `chunks.rs` has the format, `key.rs` the key; here is how a file is opened, and how a
//! new one takes its place: complete, or not at all.

mod chunks;
mod key;

pub use key::Key;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::HubError;
use crate::store::sync_folder;
use chunks::{Opener, Sealer, Wrong};

pub use chunks::MOST as MOST_RECORD;

/// A file in use: no other process opens it meanwhile.
pub struct Hold(#[expect(dead_code, reason = "its lock goes with it")] File);

/// A sealed file that is read.
pub struct SealedReader {
    path: PathBuf,
    chunks: Opener<BufReader<File>>,
}

impl SealedReader {
    /// Opens the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// No sealed file, one of another format, or one that another process has open.
    pub fn open(path: &Path, key: &Key, purpose: &str) -> Result<Option<Self>, HubError> {
        let file = match open_alone(path) {
            Ok(file) => file,
            Err(HubError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let chunks = Opener::new(BufReader::new(file), key, purpose);
        Ok(Some(Self { path: path.to_owned(), chunks: chunks.map_err(|wrong| at(path, wrong))? }))
    }

    /// The next record, or `None` after the last one. Only then is it sure that none was cut off.
    ///
    /// # Errors
    /// Bytes that are not what was written.
    pub fn record(&mut self) -> Result<Option<Vec<u8>>, HubError> {
        self.chunks.next().map_err(|wrong| at(&self.path, wrong))
    }

    /// What [`SealedWriter::put_text`] wrote, if it has at most `cap` bytes.
    ///
    /// # Errors
    /// As [`SealedReader::record`], and for records that are no such text.
    pub fn text(&mut self, cap: usize) -> Result<Vec<u8>, HubError> {
        let wrong = || at(&self.path, Wrong::Found("records that are not in their place"));
        let record = self.chunks.next().map_err(|wrong| at(&self.path, wrong))?;
        let length = record.and_then(|record| Some(u64::from_le_bytes(*record.as_array()?)));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|&length| length <= cap).ok_or_else(wrong)?;
        let mut text = Vec::new();
        while text.len() < length {
            let record = self.chunks.next().map_err(|wrong| at(&self.path, wrong))?;
            let fits = |record: &Vec<u8>| (1..=length - text.len()).contains(&record.len());
            text.extend(record.filter(fits).ok_or_else(wrong)?);
        }
        Ok(text)
    }

    /// Goes on holding the file.
    pub fn hold(self) -> Hold {
        Hold(self.chunks.into_inner().into_inner())
    }
}

/// A sealed file that is written: beside the one whose place it takes in the end. If it is dropped
/// before, all is as it was.
pub struct SealedWriter {
    path: PathBuf,
    /// Where the bytes go for now; `None` once they are in their place.
    part: Option<PathBuf>,
    chunks: Sealer<File>,
}

impl SealedWriter {
    /// Begins a file that will be at `path`; only its owner can read it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(path: &Path, key: &Key, purpose: &str) -> Result<Self, HubError> {
        // A link stays a link, and what it leads to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        tidy(&path);
        let mut random = [0; 8];
        fill_random(&mut random, &path)?;
        let part = part_of(&path, &format!("{:016x}", u64::from_le_bytes(random)));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(HubError::io("write", &path))?;
        // Held as long as it is open, so that nobody takes it for a leftover.
        let _ = file.try_lock();
        let mut writer =
            Self { part: Some(part), chunks: Sealer::new(file, key, purpose, &path)?, path };
        writer.chunks.begin().map_err(HubError::io("write", &writer.path))?;
        Ok(writer)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// The disk is full, or the record is longer than [`MOST_RECORD`].
    pub fn put(&mut self, record: &[u8]) -> Result<(), HubError> {
        self.chunks.put(record, false).map_err(HubError::io("write", &self.path))
    }

    /// Writes a text of any length, as several records if need be.
    ///
    /// # Errors
    /// As [`SealedWriter::put`].
    pub fn put_text(&mut self, text: &[u8]) -> Result<(), HubError> {
        self.put(&(text.len() as u64).to_le_bytes())?;
        text.chunks(MOST_RECORD).try_for_each(|record| self.put(record))
    }

    /// Ends the file and lets it take its place, so that it survives a power cut right after.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written; the old file is there then.
    pub fn finish(mut self) -> Result<Hold, HubError> {
        let written = self.chunks.put(&[], true).and_then(|()| self.chunks.file().sync_all());
        written.map_err(HubError::io("write", &self.path))?;
        if let Some(part) = &self.part {
            std::fs::rename(part, &self.path).map_err(HubError::io("write", &self.path))?;
        }
        self.part = None;
        sync_folder(folder_of(&self.path))?;
        let file = self.chunks.file().try_clone();
        Ok(Hold(file.map_err(HubError::io("hold", &self.path))?))
    }
}

impl Drop for SealedWriter {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // The error that brought us here is the one to report.
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Opens a file that no other process has open in this way.
fn open_alone(path: &Path) -> Result<File, HubError> {
    loop {
        let meta = std::fs::metadata(path).map_err(HubError::io("read", path))?;
        if !meta.is_file() {
            return Err(at(path, Wrong::Found("no regular file")));
        }
        let file = File::open(path).map_err(HubError::io("read", path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let (name, holder) = (path.display().to_string(), "another process".to_owned());
                return Err(HubError::Busy { name, holder });
            }
            // Without locks (some network folders have none) the last one to write wins.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let opened = file.metadata().map_err(HubError::io("read", path))?;
        let now = std::fs::metadata(path).map_err(HubError::io("read", path))?;
        if (opened.dev(), opened.ino()) == (now.dev(), now.ino()) {
            return Ok(file);
        }
        // Another process put a new file in its place just now.
    }
}

/// Removes what killed processes left of files that were to take the place of `path`.
fn tidy(path: &Path) {
    let (Some(name), Ok(entries)) = (path.file_name(), folder_of(path).read_dir()) else {
        return;
    };
    let start = format!(".{}.", name.to_string_lossy());
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let middle = found.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".part"));
        let ours = middle.is_some_and(|digits| {
            digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if ours && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // If it cannot be removed it takes space and does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The name of an unfinished file that will be at `path`.
fn part_of(path: &Path, random: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{random}.part"));
    path.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Random bytes of the system's; `path` is what they are for.
fn fill_random(bytes: &mut [u8], path: &Path) -> Result<(), HubError> {
    getrandom::fill(bytes).map_err(|error| {
        let action = "get random numbers for";
        HubError::io(action, path)(io::Error::other(error.to_string()))
    })
}

fn at(path: &Path, wrong: Wrong) -> HubError {
    match wrong {
        Wrong::Io(error) => HubError::io("read", path)(error),
        Wrong::Found(found) => HubError::Sealed { path: path.to_owned(), found },
    }
}

#[cfg(test)]
mod tests;
