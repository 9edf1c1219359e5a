//! A slice of bytes that keeps its owner alive: a weight's view of the map it lies in.
//!
//! Holds no file and no map itself; `hearth_engine::gguf` makes them, matmul keeps them.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Whatever holds the bytes: a map of a file, or a vector.
pub trait Owner: Send + Sync {
    /// All bytes: the same slice each time.
    fn bytes(&self) -> &[u8];

    /// Hears that the bytes in `range` will not be read soon. A map can give their memory back and
    /// read them from the file again when it must.
    fn release(&self, range: Range<usize>) {
        let _ = range;
    }
}

impl Owner for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A range of an owner's bytes. Cloning copies no data.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`.
    pub fn new(owner: Arc<dyn Owner>) -> Bytes {
        let range = 0..owner.bytes().len();
        Bytes { owner, range }
    }

    /// The part `range` of these bytes (counted from their start); `None` if it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        self.get(range.clone())?;
        let start = self.range.start + range.start;
        let end = self.range.start + range.end;
        Some(Bytes { owner: Arc::clone(&self.owner), range: start..end })
    }

    /// Tells the owner that these bytes were read for the last time, or nearly: they stay readable.
    pub fn release(&self) {
        self.owner.release(self.range.clone());
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(vec: Vec<u8>) -> Bytes {
        Bytes::new(Arc::new(vec))
    }
}

impl From<&[u8]> for Bytes {
    fn from(slice: &[u8]) -> Bytes {
        slice.to_vec().into()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

/// Shows the length only: the content may be gigabytes, or a user's.
impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_counted_from_the_slice_and_stay_inside_it() {
        let all = Bytes::from((0u8..100).collect::<Vec<_>>());
        let part = all.slice(10..20).unwrap();
        assert_eq!(&*part.slice(2..5).unwrap(), &[12, 13, 14]);
        assert_eq!(part.slice(10..10).unwrap().len(), 0);
        assert!(part.slice(5..11).is_none());
        assert!(part.slice(11..11).is_none());
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 5..4;
        assert!(part.slice(reversed).is_none());
    }

    #[test]
    fn a_slice_keeps_its_owner_alive() {
        let owner: Arc<dyn Owner> = Arc::new(vec![7u8; 8]);
        let part = Bytes::new(Arc::clone(&owner)).slice(4..8).unwrap();
        part.release();
        let weak = Arc::downgrade(&owner);
        drop(owner);
        assert_eq!(&*part, &[7; 4]);
        drop(part);
        assert!(weak.upgrade().is_none());
    }
}
