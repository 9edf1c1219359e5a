//! Maps a model file read-only: the one unsafe line of this crate.
//!
//! Leaves out all meaning; see `header.rs` for the first bytes.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use hearth_kernels::bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

use super::GgufError;

/// The whole of `file`, mapped read-only. Its length is found by seeking, because the sealed child
/// may not ask for a file's metadata.
pub(super) fn map(file: &File) -> Result<Bytes, GgufError> {
    let before = length(file)?;
    if before == 0 {
        return Err(GgufError::Empty);
    }
    let map = map_pages(file, before)?;
    // A download still under way would grow or shrink here: say so now, not by a fault later.
    let after = length(file)?;
    if after != before {
        return Err(GgufError::LengthChanged { before, after });
    }
    Ok(Bytes::new(Arc::new(map)))
}

/// Bytes in the file; an error for what is none (a pipe cannot seek, a directory cannot be read).
fn length(mut file: &File) -> Result<u64, GgufError> {
    let no_file = |_| GgufError::NotAFile;
    let length = file.seek(SeekFrom::End(0)).map_err(no_file)?;
    file.rewind().map_err(no_file)?;
    match file.read(&mut [0]) {
        Err(e) if e.kind() == ErrorKind::IsADirectory => Err(GgufError::NotAFile),
        Err(e) => Err(e.into()),
        Ok(_) => Ok(length),
    }
}

#[expect(unsafe_code, reason = "a map of a file cannot be made otherwise")]
fn map_pages(file: &File, length: u64) -> std::io::Result<Mmap> {
    let length = usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?;
    // SAFETY: the map is read-only and its bytes are only ever read as `u8`, for which every value
    // is valid, so a writer elsewhere can spoil the answer but no invariant of ours: lengths and
    // offsets are copied out and checked before use. A file cut short while mapped raises SIGBUS,
    // which ends this (sealed) process; `map` checks the length, and `Gguf::open` says so.
    unsafe { MmapOptions::new().len(length).map(file) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_empty_file_is_named_as_such() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(map(&file), Err(GgufError::Empty)));
    }

    #[test]
    fn a_directory_is_not_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path()).unwrap();
        assert!(matches!(map(&file), Err(GgufError::NotAFile)));
    }

    #[test]
    fn the_map_holds_the_bytes_after_the_file_is_closed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hearth").unwrap();
        let bytes = map(&file).unwrap();
        drop(file);
        assert_eq!(&*bytes, b"hearth");
    }
}
