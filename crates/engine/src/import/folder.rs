//! The files of a folder: open descriptors with the names that the gateway read, and JSON from
//! them.
//!
//! Nothing is mapped: a file is read in pieces where they are needed, so that memory stays small
//! and a file that is cut short meanwhile is an error and no fault.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use serde::de::DeserializeOwned;

use super::ImportError;

/// Most bytes of a file that is read as a whole. The longest tokenizers known have 35 MB.
const MOST_BYTES: u64 = 128 << 20;

/// The files of one folder.
pub struct Folder {
    files: Vec<NamedFile>,
}

/// One open file.
pub(super) struct NamedFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    file: File,
}

impl Folder {
    /// Takes open files over, each with its name.
    ///
    /// # Errors
    /// If one of them has no length.
    pub fn new(files: impl IntoIterator<Item = (String, File)>) -> Result<Folder, ImportError> {
        let named = |(name, mut file): (String, File)| match file.seek(SeekFrom::End(0)) {
            Ok(bytes) => Ok(NamedFile { name, bytes, file }),
            Err(error) => Err(ImportError::Read { file: name, error }),
        };
        Ok(Folder { files: files.into_iter().map(named).collect::<Result<_, _>>()? })
    }

    /// The file of that name.
    pub(super) fn find(&self, name: &str) -> Option<&NamedFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Every file.
    pub(super) fn files(&self) -> &[NamedFile] {
        &self.files
    }

    /// What a JSON file holds, if there is one of that name.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ImportError> {
        self.find(name).map(|file| file.json()).transpose()
    }

    /// The text of a file, if there is one of that name.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ImportError> {
        let Some(file) = self.find(name) else { return Ok(None) };
        let text = String::from_utf8(file.all()?);
        let text = text.map_err(|_| ImportError::damaged(name, "bytes that are no text", "UTF-8"));
        text.map(Some)
    }
}

impl NamedFile {
    /// Fills `out` from the byte `at` on.
    pub(super) fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), ImportError> {
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(out));
        read.map_err(|error| ImportError::Read { file: self.name.clone(), error })
    }

    /// The whole file.
    pub(super) fn all(&self) -> Result<Vec<u8>, ImportError> {
        if self.bytes > MOST_BYTES {
            let found = format!("{} bytes", self.bytes);
            return Err(ImportError::damaged(
                &self.name,
                found,
                format!("at most {MOST_BYTES} bytes"),
            ));
        }
        let mut bytes = vec![0; self.bytes as usize];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, ImportError> {
        parse(&self.name, &self.all()?)
    }
}

/// Reads JSON; nested deeper than 128 levels it is refused.
pub(super) fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(bytes).map_err(|error| ImportError::damaged(file, error, "JSON"))
}

/// The first name, in alphabetical order, that comes more than once.
pub(super) fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
        .windows(2)
        .find_map(|pair| (pair.first() == pair.get(1)).then(|| pair.first().copied())?)
}
