//! How a file comes into the store: received piece by piece, hashed as it is written, resumed at
//! the last complete piece; or left in place, hashed where it is.

use super::manifest::StoredFile;
use super::partial::{Partial, Resume};
use super::{space, sync_folder};
use crate::HubError;
use crate::digest::{Hasher, Sha256};
use crate::egress::Ledger;
use crate::name::FileName;
use crate::progress::{Observer, Progress, Stage, report};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The first four bytes of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";
/// Bytes read or written between two progress reports.
pub(crate) const CHUNK: usize = 1 << 20;

/// What a received file must be.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// Its name in the store.
    pub name: FileName,
    /// Its digest, if known.
    pub sha256: Option<Sha256>,
    /// Sizes of the pieces it comes in, in order; their sum is its size.
    pub pieces: Vec<u64>,
}

/// What a source works with while it brings one model.
pub struct Intake<'a> {
    partial: Partial,
    label: String,
    observer: &'a dyn Observer,
    ledger: &'a Ledger,
    command: &'a str,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        partial: Partial,
        label: String,
        observer: &'a dyn Observer,
        ledger: &'a Ledger,
        command: &'a str,
    ) -> Self {
        Self { partial, label, observer, ledger, command }
    }

    /// The ledger to write before connecting.
    pub(crate) fn ledger(&self) -> &Ledger {
        self.ledger
    }

    /// The command the user started, for the ledger.
    pub(crate) fn command(&self) -> &str {
        self.command
    }

    /// Who is told about progress.
    pub(crate) fn observer(&self) -> &dyn Observer {
        self.observer
    }

    /// Tells the user how far a stage is.
    pub fn progress(&self, stage: Stage, done: u64, total: u64) -> Result<(), HubError> {
        report(self.observer, Progress::Bytes { stage, done, total })
    }

    /// Announces a step that changes the store.
    pub(super) fn step(&self, step: &'static str) -> Result<(), HubError> {
        report(self.observer, Progress::Step(step))
    }

    /// Refuses if the store's file system has not that much space left.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), HubError> {
        space::check(&self.partial.model(), bytes)
    }

    /// The digest of a file that a source works with.
    pub(crate) fn digest(&self, path: &Path) -> Result<Sha256, HubError> {
        let mut file = File::open(path).map_err(HubError::io("read", path))?;
        let total = file.metadata().map_err(HubError::io("read", path))?.len();
        let mut hasher = Hasher::default();
        hash(&mut file, &mut hasher, |done| self.progress(Stage::Hash, done, total))
            .map_err(|error| error.at("read", path))?;
        Ok(hasher.finish())
    }

    /// An empty folder to work in, on the store's file system.
    pub fn fresh_scratch(&self) -> Result<PathBuf, HubError> {
        self.partial.fresh_scratch()
    }

    /// Receives one file. `bring(index, out)` must put exactly piece `index` into `out`; it is
    /// called only for pieces that are not complete from an earlier run. `scratch_bytes` is the
    /// disk space that bringing one piece takes beside the file.
    ///
    /// # Errors
    /// Too little space; a piece of another size; a digest that differs, after which the file is
    /// gone; whatever `bring` answers.
    pub fn receive(
        &self,
        spec: &FileSpec,
        scratch_bytes: u64,
        mut bring: impl FnMut(usize, &mut PieceWriter<'_>) -> Result<(), HubError>,
    ) -> Result<StoredFile, HubError> {
        let total = spec.pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(*piece));
        let total = total.ok_or_else(|| self.wrong(spec, "pieces beyond 2^64 bytes", "a file"))?;
        let mut resume = self.partial.resume();
        resume.source.clone_from(&self.label);
        let path = self.partial.model().join(spec.name.as_str());
        let mut file = open_read_write(&path).map_err(HubError::io("write", &path))?;
        let length = file.metadata().map_err(HubError::io("read", &path))?.len();
        let recorded = resume.files.get(&spec.name).copied().unwrap_or(0);
        let (first, start) = complete_pieces(&spec.pieces, recorded.min(length));
        let needed = (total - start).saturating_add(scratch_bytes);
        space::check(&self.partial.model(), needed)?;

        file.set_len(start).map_err(HubError::io("write", &path))?;
        let mut hasher = Hasher::default();
        hash(&mut file, &mut hasher, |done| self.progress(Stage::Hash, done, start))
            .map_err(|error| error.at("read", &path))?;
        let mut done = start;
        for (index, bytes) in spec.pieces.iter().enumerate().skip(first) {
            let (file, hasher) = (&mut file, &mut hasher);
            let mut out = PieceWriter { file, path: &path, hasher, bytes: *bytes, done: 0 };
            bring(index, &mut out)?;
            if out.done < *bytes {
                let found = format!("piece {} of {} bytes", index + 1, out.done);
                return Err(self.wrong(spec, &found, &format!("{bytes} bytes")));
            }
            self.step("sync piece")?;
            file.sync_data().map_err(HubError::io("sync", &path))?;
            sync_folder(&self.partial.model())?;
            done += bytes;
            resume.files.insert(spec.name.clone(), done);
            self.step("record piece")?;
            self.partial.record(&resume)?;
        }
        self.accept(spec, &mut file, hasher.finish(), &mut resume)
    }

    /// Takes one file that is made here and now: `fill` must put exactly `bytes` into the writer.
    /// Half of it is no use to a later run, whose material may be another, and is not kept.
    ///
    /// # Errors
    /// Too little space; another size; no GGUF file; whatever `fill` answers.
    pub fn make(
        &self,
        name: FileName,
        bytes: u64,
        fill: impl FnOnce(&mut PieceWriter<'_>) -> Result<(), HubError>,
    ) -> Result<StoredFile, HubError> {
        let path = self.partial.model().join(name.as_str());
        space::check(&self.partial.model(), bytes)?;
        let mut file = open_read_write(&path).map_err(HubError::io("write", &path))?;
        file.set_len(0).map_err(HubError::io("write", &path))?;
        let mut hasher = Hasher::default();
        let mut out =
            PieceWriter { file: &mut file, path: &path, hasher: &mut hasher, bytes, done: 0 };
        fill(&mut out)?;
        let done = out.done;
        self.step("sync file")?;
        file.sync_data().map_err(HubError::io("sync", &path))?;
        sync_folder(&self.partial.model())?;
        let wrong = match file_magic(&mut file) {
            _ if done != bytes => Some((format!("{done} bytes"), format!("{bytes} bytes"))),
            Some(found) => Some((found, "a GGUF file".to_owned())),
            None => None,
        };
        match wrong {
            None => Ok(StoredFile::Store { name, bytes, sha256: hasher.finish() }),
            Some((found, expected)) => {
                let what = format!("{} from {}", name.as_str(), self.label);
                Err(HubError::Integrity { what, found, expected })
            }
        }
    }

    /// Checks a complete file; a wrong one is forgotten and removed.
    fn accept(
        &self,
        spec: &FileSpec,
        file: &mut File,
        sha256: Sha256,
        resume: &mut Resume,
    ) -> Result<StoredFile, HubError> {
        let path = self.partial.model().join(spec.name.as_str());
        let wrong = match spec.sha256 {
            Some(expected) if expected != sha256 => {
                Some((format!("SHA-256 {sha256}"), expected.to_string()))
            }
            _ => file_magic(file).map(|found| (found, "a GGUF file".to_owned())),
        };
        if let Some((found, expected)) = wrong {
            resume.files.remove(&spec.name);
            self.partial.record(resume)?;
            std::fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
            return Err(self.wrong(spec, &found, &expected));
        }
        let bytes = spec.pieces.iter().sum();
        Ok(StoredFile::Store { name: spec.name.clone(), bytes, sha256 })
    }

    fn wrong(&self, spec: &FileSpec, found: &str, expected: &str) -> HubError {
        let what = format!("{} from {}", spec.name.as_str(), self.label);
        HubError::Integrity { what, found: found.to_owned(), expected: expected.to_owned() }
    }

    /// Takes a file where it is: checks that it is a GGUF file, hashes it, records its state.
    ///
    /// # Errors
    /// If it is no regular file, no GGUF file, or changes while it is read.
    pub fn in_place(&self, path: &Path) -> Result<StoredFile, HubError> {
        let path = path.canonicalize().map_err(|error| no_file(path, error))?;
        if path.to_str().is_none() {
            let found = "its path is not UTF-8 and cannot be recorded".to_owned();
            return Err(HubError::NotAModel { path, found });
        }
        let mut file = open_model_file(&path)?;
        let before = state(&file).map_err(HubError::io("read", &path))?;
        let mut hasher = Hasher::default();
        hash(&mut file, &mut hasher, |done| self.progress(Stage::Hash, done, before.0))
            .map_err(|error| error.at("read", &path))?;
        if state(&file).map_err(HubError::io("read", &path))? != before {
            let found = "it changed while it was read; try again when it is complete".to_owned();
            return Err(HubError::NotAModel { path, found });
        }
        let (bytes, modified_ns) = before;
        Ok(StoredFile::InPlace { path, bytes, sha256: hasher.finish(), modified_ns })
    }
}

/// Opens a file that should be a model: regular, and with the magic of GGUF.
pub(super) fn open_model_file(path: &Path) -> Result<File, HubError> {
    let not = |found: String| HubError::NotAModel { path: path.to_owned(), found };
    // Asked before opening: opening a FIFO would wait for a writer.
    let meta = std::fs::metadata(path).map_err(|error| no_file(path, error))?;
    if !meta.is_file() {
        return Err(not("it is not a regular file".to_owned()));
    }
    let mut file = File::open(path).map_err(|error| not(error.to_string()))?;
    match file_magic(&mut file) {
        Some(found) => Err(not(found)),
        None => Ok(file),
    }
}

fn no_file(path: &Path, error: io::Error) -> HubError {
    match error.kind() {
        io::ErrorKind::NotFound => HubError::NoFile { path: path.to_owned() },
        _ => HubError::NotAModel { path: path.to_owned(), found: error.to_string() },
    }
}

/// What stands in place of the magic, or `None` if it is there. Leaves the file at its start.
fn file_magic(file: &mut File) -> Option<String> {
    let mut start = [0; 4];
    let read = file.rewind().and_then(|()| file.read_exact(&mut start));
    let read = read.and_then(|()| file.rewind());
    match read {
        Ok(()) if start == MAGIC => None,
        Ok(()) => Some(format!("it starts with \"{}\"", start.escape_ascii())),
        Err(error) => Some(format!("its first bytes cannot be read ({error})")),
    }
}

/// Size and time of last change (nanoseconds since 1970) of an open file.
pub(super) fn state(file: &File) -> io::Result<(u64, i64)> {
    let meta = file.metadata()?;
    let modified = match meta.modified()?.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    };
    Ok((meta.len(), modified))
}

fn open_read_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// How many leading pieces `bytes` covers, and their size.
fn complete_pieces(pieces: &[u64], bytes: u64) -> (usize, u64) {
    let mut end = 0_u64;
    for (index, piece) in pieces.iter().enumerate() {
        match end.checked_add(*piece) {
            Some(next) if next <= bytes => end = next,
            _ => return (index, end),
        }
    }
    (pieces.len(), end)
}

/// An error of reading, or the caller's wish to stop.
pub(super) enum HashError {
    Io(io::Error),
    Hub(HubError),
}

impl HashError {
    /// The error, with what was attempted on which path.
    pub(super) fn at(self, action: &'static str, path: &Path) -> HubError {
        match self {
            Self::Io(error) => HubError::io(action, path)(error),
            Self::Hub(error) => error,
        }
    }
}

/// Hashes the rest of a file, telling the bytes done.
pub(super) fn hash(
    file: &mut File,
    hasher: &mut Hasher,
    mut told: impl FnMut(u64) -> Result<(), HubError>,
) -> Result<(), HashError> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0_u64;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                done += count as u64;
                told(done).map_err(HashError::Hub)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(HashError::Io(error)),
        }
    }
}

/// Takes exactly one piece of a file: writes and hashes it.
pub struct PieceWriter<'a> {
    file: &'a mut File,
    path: &'a Path,
    hasher: &'a mut Hasher,
    bytes: u64,
    done: u64,
}

impl PieceWriter<'_> {
    /// Takes the next bytes of the piece.
    ///
    /// # Errors
    /// If there are more than the piece has, or they cannot be written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let done = self.done.saturating_add(bytes.len() as u64);
        if done > self.bytes {
            return Err(HubError::Integrity {
                what: self.path.display().to_string(),
                found: format!("a piece of {done} bytes or more"),
                expected: format!("{} bytes", self.bytes),
            });
        }
        self.file.write_all(bytes).map_err(HubError::io("write", self.path))?;
        self.hasher.update(bytes);
        self.done = done;
        Ok(())
    }

    /// Bytes taken so far.
    pub fn done(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn complete_pieces_never_exceed(
            pieces in proptest::collection::vec(1u64..9, 0..6), bytes in 0u64..60,
        ) {
            let (count, end) = complete_pieces(&pieces, bytes);
            prop_assert_eq!(end, pieces[..count].iter().sum::<u64>());
            prop_assert!(end <= bytes);
            prop_assert!(count == pieces.len() || end + pieces[count] > bytes);
        }
    }

    #[test]
    fn a_fifo_or_device_is_not_opened() {
        let error = open_model_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
