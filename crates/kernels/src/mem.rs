//! Large zeroed buffers outside the heap: page-aligned, on huge pages where the system has them.
//!
//! The pages are touched by whoever writes them first, so packing threads place them.

use memmap2::{MmapMut, MmapOptions};
use std::io;

/// Alignment that lets a huge page back the buffer.
const HUGE: usize = 2 << 20;

/// A zeroed buffer aligned to 64 bytes or more.
#[derive(Debug)]
pub struct Pages {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl Pages {
    /// A buffer of `len` bytes.
    ///
    /// # Errors
    /// If the system has no room.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let too_long = || io::Error::new(io::ErrorKind::OutOfMemory, "size overflows");
        let slack = if len >= HUGE { HUGE } else { 0 };
        let total = len.max(1).checked_add(slack).ok_or_else(too_long)?;
        let map = MmapOptions::new().len(total).map_anon()?;
        // Only advice: a system without huge pages serves small ones.
        #[cfg(target_os = "linux")]
        if slack > 0 {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let start = if slack > 0 { map.as_ptr().align_offset(HUGE).min(slack) } else { 0 };
        Ok(Self { map, start, len })
    }

    /// Bytes in the buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.map[self.start..self.start + self.len]
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.map[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_whole() {
        for len in [0, 1, 4096, HUGE - 1, HUGE, 3 * HUGE + 5] {
            let mut pages = Pages::zeroed(len).unwrap();
            assert_eq!((pages.len(), pages.is_empty()), (len, len == 0));
            let align = if len >= HUGE { HUGE } else { 64 };
            assert_eq!(pages.as_slice().as_ptr() as usize % align, 0);
            assert!(pages.as_slice().iter().all(|&byte| byte == 0));
            pages.as_mut_slice().fill(7);
            assert_eq!(
                pages.as_slice().iter().map(|&byte| usize::from(byte)).sum::<usize>(),
                7 * len
            );
        }
        assert!(Pages::zeroed(usize::MAX).is_err());
    }
}
