//! The bytes of a sealed file.
//!
//! ```text
//! 8   magic
//! 4   number of this format, little-endian, as all numbers
//! 16  random, of this file alone
//! then for each record:
//! 4   its bytes, at most 2^20; the highest bit is set in the last record and in no other
//! n   the record, encrypted
//! 16  the tag
//! ```
//! The nonce of a record is the file's random bytes and the record's number, so no two are alike.
//! Each tag covers the 28 bytes of the beginning, the record's number, its length with the bit, and
//! the purpose of the file.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::Key;
use crate::HubError;

/// Most bytes of a record.
pub const MOST: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"HEARTH\x1a\x01";
const FORMAT: u32 = 1;
const LAST: u32 = 1 << 31;
const RANDOM: usize = 16;
const TAG: usize = 16;
const BEGINNING: usize = MAGIC.len() + size_of::<u32>() + RANDOM;

/// Why a file is refused.
#[derive(Debug)]
pub(super) enum Wrong {
    Io(io::Error),
    Found(&'static str),
}

/// What is the same for all records of a file.
struct Chunks {
    cipher: XChaCha20Poly1305,
    beginning: [u8; BEGINNING],
    purpose: Vec<u8>,
    /// Records so far.
    number: u64,
}

impl Chunks {
    fn new(key: &Key, beginning: [u8; BEGINNING], purpose: &str) -> Self {
        let cipher = XChaCha20Poly1305::new(&(*key.bytes()).into());
        Self { cipher, beginning, purpose: purpose.into(), number: 0 }
    }

    fn nonce(&self) -> XNonce {
        let mut nonce = [0; RANDOM + size_of::<u64>()];
        let (random, number) = nonce.split_at_mut(RANDOM);
        random.copy_from_slice(&self.beginning[BEGINNING - RANDOM..]);
        number.copy_from_slice(&self.number.to_le_bytes());
        nonce.into()
    }

    /// What a tag covers besides its record. All but the last has a fixed length, so that no two
    /// records have the same.
    fn around(&self, length: u32) -> Vec<u8> {
        let (number, length) = (self.number.to_le_bytes(), length.to_le_bytes());
        [&self.beginning[..], &number, &length, &self.purpose].concat()
    }
}

/// Writes records.
pub(super) struct Sealer<W> {
    out: W,
    chunks: Chunks,
}

impl<W: Write> Sealer<W> {
    /// Writes nothing yet; `path` is for an error without a system's random numbers.
    pub(super) fn new(out: W, key: &Key, purpose: &str, path: &Path) -> Result<Self, HubError> {
        let mut beginning = [0; BEGINNING];
        let (magic, rest) = beginning.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        let (format, random) = rest.split_at_mut(size_of::<u32>());
        format.copy_from_slice(&FORMAT.to_le_bytes());
        super::fill_random(random, path)?;
        Ok(Self { out, chunks: Chunks::new(key, beginning, purpose) })
    }

    /// Writes what comes before the records.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(&self.chunks.beginning)
    }

    pub(super) fn put(&mut self, record: &[u8], last: bool) -> io::Result<()> {
        let too_long = || io::Error::new(ErrorKind::InvalidInput, "a record is too long");
        let length = u32::try_from(record.len()).ok().filter(|_| record.len() <= MOST);
        let length = length.ok_or_else(too_long)? | if last { LAST } else { 0 };
        let around = self.chunks.around(length);
        let payload = Payload { msg: record, aad: &around };
        let closed = self.chunks.cipher.encrypt(&self.chunks.nonce(), payload);
        let closed = closed.map_err(|_| too_long())?;
        self.chunks.number += 1;
        self.out.write_all(&[&length.to_le_bytes()[..], &closed].concat())
    }

    pub(super) fn file(&self) -> &W {
        &self.out
    }
}

/// Reads records.
pub(super) struct Opener<R> {
    from: R,
    chunks: Chunks,
    ended: bool,
}

impl<R: Read> Opener<R> {
    pub(super) fn new(mut from: R, key: &Key, purpose: &str) -> Result<Self, Wrong> {
        let beginning: [u8; BEGINNING] = read(&mut from)?;
        if !beginning.starts_with(&MAGIC) {
            return Err(Wrong::Found("no file of this kind"));
        }
        if beginning[MAGIC.len()..BEGINNING - RANDOM] != FORMAT.to_le_bytes() {
            return Err(Wrong::Found("a format that this version does not know"));
        }
        Ok(Self { from, chunks: Chunks::new(key, beginning, purpose), ended: false })
    }

    /// The next record; `None` after the last one, which is empty.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Wrong> {
        if self.ended {
            return Ok(None);
        }
        let word = u32::from_le_bytes(read(&mut self.from)?);
        let length = usize::try_from(word & !LAST).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(CHANGED);
        }
        let mut closed = vec![0; length + TAG];
        self.from.read_exact(&mut closed).map_err(cut)?;
        let payload = Payload { msg: &closed, aad: &self.chunks.around(word) };
        let record = self.chunks.cipher.decrypt(&self.chunks.nonce(), payload);
        let record = record.map_err(|_| CHANGED)?;
        self.chunks.number += 1;
        if word & LAST == 0 {
            return Ok(Some(record));
        }
        if !record.is_empty() || self.from.read(&mut [0]).map_err(Wrong::Io)? != 0 {
            return Err(Wrong::Found("bytes behind its end"));
        }
        self.ended = true;
        Ok(None)
    }

    pub(super) fn into_inner(self) -> R {
        self.from
    }
}

const CHANGED: Wrong =
    Wrong::Found("a record that was not written so, or not with this installation's key");

fn read<const N: usize>(from: &mut impl Read) -> Result<[u8; N], Wrong> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

fn cut(error: io::Error) -> Wrong {
    match error.kind() {
        ErrorKind::UnexpectedEof => Wrong::Found("an end before its last record"),
        _ => Wrong::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const RECORDS: [&[u8]; 4] = [b"Bob lives in Ulm", b"", b"abc", b"xyz"];

    fn sealed(records: &[&[u8]]) -> Vec<u8> {
        let mut sealer =
            Sealer::new(Vec::new(), &Key::from(KEY), "test", Path::new("memory")).unwrap();
        sealer.begin().unwrap();
        records.iter().for_each(|record| sealer.put(record, false).unwrap());
        sealer.put(&[], true).unwrap();
        sealer.out
    }

    /// All records, or why the file is refused; what was read before that is not told.
    fn opened(bytes: &[u8], key: [u8; 32], purpose: &str) -> Result<Vec<Vec<u8>>, Wrong> {
        let mut opener = Opener::new(bytes, &Key::from(key), purpose)?;
        let mut records = Vec::new();
        while let Some(record) = opener.next()? {
            records.push(record);
        }
        assert!(opener.next()?.is_none());
        Ok(records)
    }

    fn refused(bytes: &[u8]) -> bool {
        matches!(opened(bytes, KEY, "test"), Err(Wrong::Found(_)))
    }

    /// Where each record begins, and where the file ends.
    fn borders(bytes: &[u8]) -> Vec<usize> {
        let mut borders = vec![BEGINNING];
        while let Some(word) = bytes[borders[borders.len() - 1]..].first_chunk() {
            let length = u32::from_le_bytes(*word) & !LAST;
            borders.push(borders[borders.len() - 1] + 4 + length as usize + TAG);
        }
        borders
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sealed(&RECORDS);
        assert_eq!(opened(&bytes, KEY, "test").unwrap(), RECORDS);
        assert!(opened(&sealed(&[]), KEY, "test").unwrap().is_empty());
        assert!(!bytes.windows(9).any(|part| part == b"Bob lives"));
        assert_ne!(bytes, sealed(&RECORDS), "other random bytes each time");
        let most = vec![1; MOST];
        let records = opened(&sealed(&[&most[..]]), KEY, "test").unwrap();
        assert!(records.len() == 1 && records[0] == most);
        let mut sealer =
            Sealer::new(Vec::new(), &Key::from(KEY), "test", Path::new("memory")).unwrap();
        assert!(sealer.put(&[&most[..], &[1]].concat(), false).is_err());
    }

    #[test]
    fn t10_another_key_or_purpose_opens_nothing() {
        let bytes = sealed(&RECORDS);
        let mut other = KEY;
        other[31] ^= 1;
        assert!(opened(&bytes, other, "test").is_err());
        assert!(opened(&bytes, KEY, "tests").is_err());
        assert!(opened(&bytes, KEY, "").is_err());
    }

    #[test]
    fn t10_every_flipped_bit_is_refused() {
        let mut bytes = sealed(&RECORDS);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(refused(&bytes), "bit {bit} of byte {at}");
                bytes[at] ^= 1 << bit;
            }
        }
        assert!(!refused(&bytes));
    }

    #[test]
    fn t10_every_cut_and_every_addition_is_refused() {
        let bytes = sealed(&RECORDS);
        assert!((0..bytes.len()).all(|end| refused(&bytes[..end])));
        for more in [&[0][..], &bytes, &bytes[BEGINNING..]] {
            assert!(refused(&[&bytes, more].concat()));
        }
    }

    #[test]
    fn t10_records_stay_in_their_place_and_file() {
        let (bytes, other) = (sealed(&RECORDS), sealed(&RECORDS));
        let borders = borders(&bytes);
        assert_eq!(borders.len(), RECORDS.len() + 2, "and the last, empty one");
        let record = |of: &[u8], i: usize| of[borders[i]..borders[i + 1]].to_vec();
        let all: Vec<Vec<u8>> = (0..=RECORDS.len()).map(|i| record(&bytes, i)).collect();
        let file = |records: &[Vec<u8>]| [bytes[..BEGINNING].to_vec(), records.concat()].concat();
        assert!(!refused(&file(&all)));
        for i in 0..all.len() {
            let mut dropped = all.clone();
            dropped.remove(i);
            assert!(refused(&file(&dropped)), "{i} left out");
            let mut spliced = all.clone();
            spliced[i] = record(&other, i);
            assert!(refused(&file(&spliced)), "{i} from another file");
            for j in 0..all.len() {
                let mut repeated = all.clone();
                repeated.insert(j, all[i].clone());
                assert!(refused(&file(&repeated)), "{i} again before {j}");
                let mut swapped = all.clone();
                swapped.swap(i, j);
                assert_eq!(refused(&file(&swapped)), i != j, "{i} and {j} swapped");
            }
        }
        let beginning = [&other[..BEGINNING], &bytes[BEGINNING..]].concat();
        assert!(refused(&beginning), "the beginning of another file");
    }

    #[test]
    fn t10_a_length_beyond_the_bound_takes_no_memory() {
        let mut bytes = sealed(&RECORDS);
        bytes[BEGINNING..BEGINNING + 4].copy_from_slice(&(LAST - 1).to_le_bytes());
        assert!(refused(&bytes));
    }
}
