//! A slice of shared read-only bytes that keeps its owner (a file map, a vector) alive.
//!
//! Knows nothing of where the bytes come from; see `hearth_engine::gguf` for the map.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes `range` of `owner`.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// The bytes `range` of `owner`; `None` if they do not lie inside it.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        (*owner).as_ref().get(range.clone())?;
        Some(Self { owner, range })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:?})", self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_outside_the_owner_is_refused() {
        let owner: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(vec![1u8, 2, 3]);
        assert_eq!(&*Bytes::new(owner.clone(), 1..3).unwrap(), &[2, 3]);
        assert!(Bytes::new(owner.clone(), 1..4).is_none());
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = Bytes::new(owner, 3..1);
        assert!(reversed.is_none());
    }
}
