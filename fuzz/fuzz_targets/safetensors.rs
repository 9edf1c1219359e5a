//! Any bytes as the header of a safetensors file: an error, or tensors that fill the data exactly.
#![no_main]

use hearth_engine::import::safetensors::parse_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let start = 8 + bytes.len() as u64;
    for data in [0, 28] {
        let Ok(tensors) = parse_header("x", bytes, start, data) else { continue };
        let mut ends: Vec<u64> = tensors.iter().map(|tensor| tensor.at + tensor.bytes).collect();
        ends.sort_unstable();
        assert_eq!(tensors.iter().map(|tensor| tensor.bytes).sum::<u64>(), data);
        assert_eq!(ends.last().copied().unwrap_or(start), start + data);
        assert!(tensors.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
});
