//! The character map that SentencePiece compiles into a model: replacements for parts of the text.
//!
//! A double array (Kanda 2018, XOR-compressed): each 32-bit entry holds a base in bits 10 to 30,
//! shifted by eight more if bit 9 is set, a leaf flag in bit 8, and in bits 0 to 7 (and 31) the
//! byte that leads to it; a leaf's base points at an entry that is the offset of a replacement,
//! which ends in a zero.

/// The map as the file has it; the default one replaces nothing.
#[derive(Default)]
pub(super) struct Charsmap {
    entries: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    /// Reads `tokenizer.ggml.precompiled_charsmap`: the double array's length in bytes, the array,
    /// the replacements. `None` if the lengths do not fit.
    pub(super) fn new(bytes: &[u8]) -> Option<Charsmap> {
        let (len, rest) = bytes.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        if !len.is_multiple_of(4) {
            return None;
        }
        let (array, replacements) = rest.split_at_checked(len)?;
        let entries = array.as_chunks().0.iter().map(|&entry| u32::from_le_bytes(entry)).collect();
        Some(Charsmap { entries, replacements: replacements.to_vec() })
    }

    /// The longest replaced prefix of `text`: its length and what replaces it. An entry that points
    /// outside the map replaces nothing.
    pub(super) fn replace(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let base = |entry: u32| (entry >> 10) << ((entry & (1 << 9)) >> 6);
        let mut at = base(*self.entries.first()?);
        let mut longest = None;
        for (i, &byte) in text.iter().enumerate().take_while(|&(_, &byte)| byte != 0) {
            at ^= u32::from(byte);
            let Some(&entry) = self.entries.get(at as usize) else { break };
            if entry & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            at ^= base(entry);
            if entry & 1 << 8 != 0 {
                longest = self.entries.get(at as usize).map(|value| (i + 1, value & !(1 << 31)));
            }
        }
        let (len, offset) = longest?;
        let tail = self.replacements.get(offset as usize..)?;
        let end = tail.iter().position(|&byte| byte == 0)?;
        Some((len, &tail[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map that replaces "a" by "xy" and "ab" by nothing.
    fn map() -> Vec<u8> {
        let mut entries = vec![0u32; 1024];
        // Root at 0 with base 256. 'a' leads to 256^97, base 512; its leaf is entry 256^97^512.
        entries[0] = 256 << 10;
        let a = 256 ^ 97;
        entries[a] = 512 << 10 | 1 << 8 | 97;
        entries[a ^ 512] = 0;
        // 'b' leads on to a^512^98, base 128, a leaf too.
        let ab = a ^ 512 ^ 98;
        entries[ab] = 128 << 10 | 1 << 8 | 98;
        entries[ab ^ 128] = 3;
        let mut bytes = (entries.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
        bytes.extend(b"xy\0\0");
        bytes
    }

    #[test]
    fn the_longest_prefix_is_replaced() {
        let map = Charsmap::new(&map()).unwrap();
        assert_eq!(map.replace(b"ac"), Some((1, &b"xy"[..])));
        assert_eq!(map.replace(b"abc"), Some((2, &b""[..])));
        assert_eq!(map.replace(b"b"), None);
        assert_eq!(map.replace(b""), None);
        assert_eq!(map.replace(b"\0"), None);
        assert_eq!(Charsmap::default().replace(b"a"), None);
    }

    #[test]
    fn a_spoiled_map_replaces_nothing_and_does_not_panic() {
        assert!(Charsmap::new(&[0, 0, 0]).is_none());
        assert!(Charsmap::new(&[8, 0, 0, 0, 1]).is_none());
        assert!(Charsmap::new(&[3, 0, 0, 0, 1, 2, 3]).is_none());
        let whole = map();
        for cut in [4, 2, 1] {
            let end = whole.len() - cut;
            let map = Charsmap::new(&whole[..end]).unwrap();
            assert_eq!(map.replace(b"abc").is_none(), cut > 0, "{cut}");
        }
        for byte in 0..=255u8 {
            let mut bytes = whole.clone();
            bytes[4..4 + 4096].iter_mut().for_each(|b| *b ^= byte);
            if let Some(map) = Charsmap::new(&bytes) {
                (0..=255).for_each(|first| _ = map.replace(&[first, 98, 97]));
            }
        }
    }
}
