//! Frames on the pipe: `u32` little-endian length (at most 16 MiB), a version byte, one message.
//!
//! The length counts the version byte and the message, which is encoded by postcard. The decoder is
//! a pure function over a slice, so that it can be fuzzed; [`FrameReader`] only feeds it. It holds
//! no more than the bytes that arrived, and a decoded message takes at most some thirty times its
//! frame (an empty string is one byte on the pipe and 24 in memory).
//!
//! Which messages there are stands in `wire.rs`.

use std::io::{self, Read, Write};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the encoding; both ends are the same program, so any other byte is damage.
pub const VERSION: u8 = 1;

/// Most bytes in a frame after its length field.
pub const MAX_FRAME: usize = 16 << 20;

const LENGTH_BYTES: usize = 4;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length field is out of range.
    #[error("a frame of {0} bytes; expected 1 to {MAX_FRAME}")]
    Length(usize),
    /// Another version.
    #[error("frame version {0}; expected {VERSION}")]
    Version(u8),
    /// The bytes are no message of this kind.
    #[error("a frame of {bytes} bytes holds no valid message: {reason}")]
    Message {
        /// Bytes in the frame.
        bytes: usize,
        /// What the codec says.
        reason: String,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame ({0} bytes of it had come)")]
    Truncated(usize),
    /// The pipe failed.
    #[error("the pipe failed: {0}")]
    Io(io::Error),
}

// Not `#[from]`: the message holds the cause already, and a chain would print it twice.
impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Decodes the frame at the start of `bytes`: the message and the bytes it took, or `None` while
/// the frame is incomplete.
///
/// # Errors
/// A length out of range, another version, or bytes that are no message (also when some are left
/// over); nothing is allocated before the length has been checked and all its bytes are there.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_FRAME {
        return Err(FrameError::Length(length));
    }
    if let Some(&version) = rest.first()
        && version != VERSION
    {
        return Err(FrameError::Version(version));
    }
    let Some(body) = rest.get(1..length) else {
        return Ok(None);
    };
    let damaged = |reason: String| FrameError::Message { bytes: length, reason };
    let (message, left) = postcard::take_from_bytes(body).map_err(|e| damaged(e.to_string()))?;
    if !left.is_empty() {
        return Err(damaged(format!("{} bytes are left over", left.len())));
    }
    Ok(Some((message, LENGTH_BYTES + length)))
}

/// Encodes one message as a frame.
///
/// # Errors
/// [`FrameError::Length`] when it is larger than [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let start = vec![0, 0, 0, 0, VERSION];
    let mut bytes = postcard::to_extend(message, start)
        .map_err(|e| FrameError::Message { bytes: 0, reason: e.to_string() })?;
    let length = bytes.len() - LENGTH_BYTES;
    match u32::try_from(length) {
        Ok(field) if length <= MAX_FRAME => {
            bytes[..LENGTH_BYTES].copy_from_slice(&field.to_le_bytes());
            Ok(bytes)
        }
        _ => Err(FrameError::Length(length)),
    }
}

/// Writes one message as a frame and flushes.
///
/// # Errors
/// As [`encode`], or the pipe's own.
pub fn write<T: Serialize>(pipe: &mut impl Write, message: &T) -> Result<(), FrameError> {
    pipe.write_all(&encode(message)?)?;
    Ok(pipe.flush()?)
}

/// Reads messages of one kind from a pipe.
pub struct FrameReader<R, T> {
    pipe: R,
    /// Bytes that arrived; the first `used` of them are already decoded.
    buffer: Vec<u8>,
    used: usize,
    kind: PhantomData<fn() -> T>,
}

/// Bytes asked from the pipe at once.
const READ_BYTES: usize = 64 << 10;

impl<R: Read, T: DeserializeOwned> FrameReader<R, T> {
    /// A reader at the start of a frame.
    pub fn new(pipe: R) -> Self {
        Self { pipe, buffer: Vec::new(), used: 0, kind: PhantomData }
    }

    /// Waits for the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`decode`], the pipe's own, or an end inside a frame. After an error the stream has no
    /// meaning any more.
    pub fn receive(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some((message, taken)) = decode(rest)? {
                self.used += taken;
                return Ok(Some(message));
            }
            let left = rest.len();
            self.buffer.drain(..self.used);
            self.used = 0;
            self.buffer.resize(left + READ_BYTES, 0);
            let read = self.read_some(left);
            self.buffer.truncate(left + *read.as_ref().unwrap_or(&0));
            match read? {
                0 if left == 0 => return Ok(None),
                0 => return Err(FrameError::Truncated(left)),
                _ => {}
            }
        }
    }

    /// One read behind the first `from` bytes of the buffer.
    fn read_some(&mut self, from: usize) -> io::Result<usize> {
        loop {
            match self.pipe.read(self.buffer.get_mut(from..).unwrap_or_default()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Message = (u64, String, Vec<f32>, Option<Vec<u32>>);

    fn message() -> impl Strategy<Value = Message> {
        let floats = prop::collection::vec(-1e9f32..1e9, 0..40);
        let ids = prop::option::of(prop::collection::vec(any::<u32>(), 0..40));
        (any::<u64>(), ".{0,40}", floats, ids)
    }

    /// A pipe that gives its bytes in pieces of the given sizes.
    struct Pieces {
        bytes: Vec<u8>,
        sizes: Vec<usize>,
    }

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes.pop().unwrap_or(7).min(into.len()).min(self.bytes.len());
            into[..size].copy_from_slice(&self.bytes[..size]);
            self.bytes.drain(..size);
            Ok(size)
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_messages(
            messages in prop::collection::vec(message(), 0..6),
            sizes in prop::collection::vec(1usize..200, 0..30),
        ) {
            let bytes = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
            let mut reader = FrameReader::<_, Message>::new(Pieces { bytes, sizes });
            for expected in &messages {
                prop_assert_eq!(&reader.receive().unwrap().unwrap(), expected);
            }
            prop_assert!(reader.receive().unwrap().is_none());
        }

        #[test]
        fn damage_is_an_error_or_another_message_but_never_a_panic(
            message in message(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&message).unwrap();
            for (place, value) in changes {
                *place.get_mut(&mut bytes) = value;
            }
            let _ = decode::<Message>(&bytes[..cut.index(bytes.len() + 1)]);
            if let Ok(Some((_, taken))) = decode::<Message>(&bytes) {
                prop_assert!(taken <= bytes.len());
            }
        }

        #[test]
        fn random_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Message>(&bytes);
        }

        #[test]
        fn a_cut_frame_is_incomplete(message in message(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&message).unwrap();
            let cut = cut.index(bytes.len());
            prop_assert!(decode::<Message>(&bytes[..cut]).unwrap().is_none());
            let mut reader = FrameReader::<_, Message>::new(&bytes[..cut]);
            match reader.receive() {
                Ok(None) => prop_assert_eq!(cut, 0),
                Err(FrameError::Truncated(had)) => prop_assert_eq!(had, cut),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    fn refused(bytes: &[u8]) -> String {
        decode::<Vec<u8>>(bytes).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_of_damage_has_its_error() {
        assert!(refused(&[0, 0, 0, 0]).contains("a frame of 0 bytes"));
        assert!(refused(&[255, 255, 255, 255, 1]).contains("4294967295"));
        assert!(refused(&[1, 0, 0, 1]).contains("16777217"));
        assert!(refused(&[9, 0, 0, 0, 2]).contains("version 2; expected 1"));
        assert!(refused(&[2, 0, 0, 0, 1, 200]).contains("no valid message"));
        assert!(refused(&[4, 0, 0, 0, 1, 1, 7, 7]).contains("1 bytes are left over"));
    }

    #[test]
    fn a_list_longer_than_its_frame_is_refused_without_room_for_it() {
        // A list that claims 2^40 elements in a frame of seven bytes.
        let bytes = [7, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        assert!(decode::<Vec<u64>>(&bytes).is_err());
    }

    #[test]
    fn the_largest_frame_fits_and_one_more_byte_does_not() {
        // Four bytes of list length and the version byte.
        let fits = vec![7u8; MAX_FRAME - 5];
        let bytes = encode(&fits).unwrap();
        assert_eq!(bytes.len(), MAX_FRAME + 4);
        assert_eq!(decode::<Vec<u8>>(&bytes).unwrap().unwrap().0, fits);
        assert!(matches!(encode(&vec![7u8; MAX_FRAME - 4]), Err(FrameError::Length(_))));
    }
}
