//! Maps a model file read-only, and gives pages back: the unsafe lines of this crate.
//!
//! Leaves out all meaning; see `header.rs` for the first bytes.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use hearth_kernels::bytes::{Bytes, Owner};
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
    Ok(Bytes::new(Arc::new(FileMap(map))))
}

/// A file's pages.
struct FileMap(Mmap);

impl Owner for FileMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Drops whole pages of `range` from this process; the system may keep them cached.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "pages of a map cannot be given back otherwise")]
    fn release(&self, range: Range<usize>) {
        // As long as the largest page that a file is mapped by here; a shorter one divides it.
        const PAGE: usize = 64 << 10;
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if start < end {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: these are pages of a file that this process never writes: the next read
            // brings the same bytes from the file.
            let given = unsafe { self.0.unchecked_advise_range(advice, start, end - start) };
            // Only advice: what stays mapped costs memory and nothing else.
            drop(given);
        }
    }
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

    #[test]
    fn pages_given_back_read_the_same_again() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let bytes = map(&file).unwrap();
        bytes.slice(70_000..290_000).unwrap().release();
        bytes.slice(10..20).unwrap().release();
        bytes.release();
        assert!(*bytes == *content);
    }
}
