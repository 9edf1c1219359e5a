//! A file that the `gguf` Python package wrote: every value type, an alignment of its own, three
//! tensor types. `testdata/gguf/python.gguf.xz` was made with gguf 0.19's `GGUFWriter`.

use hearth_engine::gguf::{Gguf, Value};
use hearth_kernels::quant::TensorType;

fn read() -> Gguf {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/gguf/python.gguf.xz");
    let packed = std::fs::read(path).unwrap();
    let mut file = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut file).unwrap();
    Gguf::from_vec(file).unwrap()
}

#[test]
fn every_value_is_the_one_written() {
    let gguf = read();
    let meta = gguf.meta();
    let scalars: [(&str, Value); 12] = [
        ("u8", 200u8.into()),
        ("i8", (-100i8).into()),
        ("u16", 60_000u16.into()),
        ("i16", (-30_000i16).into()),
        ("u32", 4_000_000_000u32.into()),
        ("i32", (-2_000_000_000i32).into()),
        ("u64", ((1u64 << 63) + 1).into()),
        ("i64", (-(1i64 << 62)).into()),
        ("f32", 0.1f32.into()),
        ("f64", 0.1f64.into()),
        ("bool", true.into()),
        ("string", "café 🔥".into()),
    ];
    for (key, value) in scalars {
        assert_eq!(meta.get(key), Some(&value), "{key}");
    }
    assert_eq!(meta.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(meta.i32s("ints").unwrap(), Some(vec![1, -2, 3]));
    assert_eq!(meta.f32s("floats").unwrap(), Some(vec![0.5, -1.5]));
    assert_eq!(meta.bools("bools").unwrap(), Some(vec![true, false, true]));
    let strings = meta.strs("strings").unwrap().unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), [b"a".as_slice(), b"", "Ġthe".as_bytes()]);
}

#[test]
fn every_tensor_is_where_it_was_written() {
    let gguf = read();
    let one = gguf.tensor("one").unwrap();
    assert_eq!((one.ty(), one.dims(), one.rows()), (TensorType::F32, &[3, 2][..], 2));
    let floats = one.bytes().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    assert_eq!(floats.collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let half = gguf.tensor("half").unwrap();
    assert_eq!((half.ty(), half.dims()), (TensorType::F16, &[8][..]));
    assert_eq!(half.bytes()[14..], half::f16::from_f32(7.0).to_le_bytes());
    let blocks = gguf.tensor("blocks").unwrap();
    assert_eq!((blocks.ty(), blocks.dims()), (TensorType::Q8_0, &[64, 2][..]));
    assert_eq!(blocks.bytes()[..], (0u8..136).collect::<Vec<_>>()[..]);
}
