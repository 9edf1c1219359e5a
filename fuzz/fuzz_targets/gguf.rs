//! Any bytes as a model file: an answer or an error, and everything read stays in bounds.
#![no_main]

use hearth_engine::gguf::{Gguf, Meta};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::from_vec(bytes.to_vec()) else { return };
    gguf.meta().iter().for_each(|(key, _)| read_as_everything(gguf.meta(), key));
    for tensor in gguf.tensors() {
        let row = tensor.ty().row_bytes(tensor.cols()).expect("rows are whole blocks");
        assert_eq!(gguf.bytes(tensor).len(), row * tensor.rows());
        assert_eq!(gguf.tensor(tensor.name()).map(|found| found.name()), Some(tensor.name()));
    }
});

fn read_as_everything(meta: &Meta, key: &str) {
    let _ = (meta.str(key), meta.u32(key), meta.u64(key), meta.f32(key), meta.bool(key));
    let _ = (meta.i32s(key), meta.u32s(key), meta.f32s(key), meta.bools(key));
    if let Ok(Some(strings)) = meta.strs(key) {
        let total: usize = strings.iter().map(<[u8]>::len).sum();
        let one_by_one: usize = (0..strings.len()).map(|i| strings.get(i).len()).sum();
        assert_eq!(total, one_by_one);
    }
}
