//! The first bytes of a GGUF file, and the cursor that reads all of its header with checks.
//!
//! Knows nothing of keys and tensors; see `meta.rs` and `tensors.rs`.

use hearth_kernels::bytes::Bytes;

use super::GgufError;

const MAGIC: &[u8; 4] = b"GGUF";

/// What stands before the first key.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) tensors: u64,
    pub(super) keys: u64,
}

impl Header {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Header, GgufError> {
        let magic = cursor.take("the magic number", 4)?;
        if magic != MAGIC {
            return Err(GgufError::Magic { found: magic.escape_ascii().to_string() });
        }
        let version = cursor.u32("the version")?;
        match version {
            1 => return Err(GgufError::Version1),
            2 | 3 => {}
            // A small number in the other byte order has its low half empty.
            found if found != 0 && found & 0xffff == 0 => {
                return Err(GgufError::BigEndian { found });
            }
            found => return Err(GgufError::Version { found }),
        }
        let tensors = cursor.u64("the tensor count")?;
        let keys = cursor.u64("the key count")?;
        Ok(Header { version, tensors, keys })
    }
}

/// Reads little-endian values from the front of a file; every read is checked against its end.
pub(super) struct Cursor<'a> {
    file: &'a Bytes,
    all: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a Bytes) -> Cursor<'a> {
        Cursor { file, all: file, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Bytes of the whole file.
    pub(super) fn file(&self) -> &'a Bytes {
        self.file
    }

    fn remaining(&self) -> u64 {
        (self.all.len() - self.at) as u64
    }

    /// The next `n` bytes; `what` names them in the error.
    pub(super) fn take(&mut self, what: &'static str, n: u64) -> Result<&'a [u8], GgufError> {
        let have = self.remaining();
        if n > have {
            return Err(GgufError::Truncated { what, at: self.at as u64, need: n, have });
        }
        // `n` fits: it is at most the length of a slice.
        let end = self.at + n as usize;
        let bytes = &self.all[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// The next `n` bytes, as a view that keeps the file alive.
    pub(super) fn take_view(&mut self, what: &'static str, n: u64) -> Result<Bytes, GgufError> {
        let start = self.at;
        self.take(what, n)?;
        Ok(self.view_from(start))
    }

    /// What was read since `start`, an earlier `position`.
    pub(super) fn view_from(&self, start: usize) -> Bytes {
        self.file.slice(start..self.at).expect("the cursor stays inside the file")
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(what, N as u64)?);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string's length and then its bytes.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], GgufError> {
        let len = self.u64(what)?;
        self.take(what, len)
    }

    /// A key or a tensor's name: 1 to `most` bytes of UTF-8.
    pub(super) fn name(&mut self, what: &'static str, most: u64) -> Result<&'a str, GgufError> {
        let at = self.at as u64;
        let found = self.u64(what)?;
        if found == 0 || found > most {
            return Err(GgufError::NameLength { what, found, most, at });
        }
        let bytes = self.take(what, found)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::NameText {
            what,
            found: String::from_utf8_lossy(bytes).into_owned(),
        })
    }

    /// Refuses a count of things that cannot fit, each of at least `least` bytes.
    pub(super) fn check_count(
        &self,
        what: &'static str,
        found: u64,
        least: u64,
    ) -> Result<(), GgufError> {
        let most = self.remaining() / least;
        if found > most {
            return Err(GgufError::Count { what, found, most, at: self.at as u64 });
        }
        Ok(())
    }
}
