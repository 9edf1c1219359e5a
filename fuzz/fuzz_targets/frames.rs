//! Any bytes on the pipe, in either direction: a message or an error, and what decodes encodes to
//! the same message again.
#![no_main]

use hearth_cell::frame::{FrameReader, decode, encode};
use hearth_cell::wire::{Down, Up};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|bytes: &[u8]| {
    one_direction::<Down>(bytes);
    one_direction::<Up>(bytes);
});

fn one_direction<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(Some((message, taken))) = decode::<T>(bytes) {
        assert!(taken <= bytes.len());
        let again = encode(&message).expect("it came from a frame");
        let (second, _) = decode::<T>(&again).expect("sound").expect("whole");
        assert_eq!(encode(&second).expect("it came from a frame"), again);
    }
    let mut reader = FrameReader::<_, T>::new(bytes);
    while let Ok(Some(_)) = reader.receive() {}
}
