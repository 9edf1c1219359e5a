//! SHA-256: a digest that can be nothing else, and hashing of streams.
//!
//! [`Sha256`] is made from 64 hexadecimal digits or by hashing; no other text ever becomes one, so
//! a digest from a catalogue, a manifest or a registry can never act as a path.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest. Shown and stored as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// A text is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("found {found} characters that are not a SHA-256; expected exactly 64 hexadecimal digits")]
pub struct NotADigest {
    found: usize,
}

impl Sha256 {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl FromStr for Sha256 {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let wrong = || NotADigest { found: text.chars().count() };
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| wrong())?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let high = char::from(pair[0]).to_digit(16).ok_or_else(wrong)?;
            let low = char::from(pair[1]).to_digit(16).ok_or_else(wrong)?;
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes a stream piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Takes the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_vector() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), expected);
        assert_eq!(expected.parse::<Sha256>().unwrap(), Sha256::of(b"abc"));
        assert_eq!(expected.to_uppercase().parse::<Sha256>().unwrap(), Sha256::of(b"abc"));
    }

    proptest! {
        /// Whatever is accepted is 64 hexadecimal digits, and nothing else is.
        #[test]
        fn only_64_hex_digits(text in ".{0,70}") {
            let is_hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<Sha256>().is_ok(), is_hex);
        }

        #[test]
        fn round_trip(text in "[0-9a-f]{64}") {
            prop_assert_eq!(text.parse::<Sha256>().unwrap().to_string(), text);
        }

        /// One foreign character at any place is refused: separators, dots, signs, line ends.
        #[test]
        fn one_wrong_character(text in "[0-9a-f]{64}", at in 0usize..64, c in "[^0-9a-fA-F]") {
            let mut chars: Vec<char> = text.chars().collect();
            chars[at] = c.chars().next().unwrap_or('/');
            prop_assert!(chars.into_iter().collect::<String>().parse::<Sha256>().is_err());
        }
    }
}
