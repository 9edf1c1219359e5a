//! What the writer writes, the reader reads: any keys, any values, any tensors, split or whole; and
//! no change of any byte makes the reader panic. Named malformed files are in `gguf_malformed.rs`.

use std::fs::File;
use std::io::Write;

use hearth_engine::gguf::write::Writer;
use hearth_engine::gguf::{Gguf, Value};
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e30f32..1e30).prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(any::<i8>(), 0..9).prop_map(Value::from),
        prop::collection::vec(any::<u32>(), 0..9).prop_map(Value::from),
        prop::collection::vec(-1e30f32..1e30, 0..9).prop_map(Value::from),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(Value::from),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)
            .prop_map(Value::strings),
    ]
}

type Tensor = (TensorType, Vec<usize>);

fn tensor() -> impl Strategy<Value = Tensor> {
    let ty = prop::sample::select(TensorType::all().collect::<Vec<_>>());
    (ty, 1..4usize, prop::collection::vec(1..4usize, 0..4)).prop_map(|(ty, blocks, mut dims)| {
        dims.insert(0, blocks * ty.block_len());
        (ty, dims)
    })
}

prop_compose! {
    fn contents()(
        entries in prop::collection::btree_map("[a-z.]{1,12}", value(), 0..8),
        tensors in prop::collection::vec(tensor(), 0..5),
        alignment in prop::sample::select(vec![1u32, 8, 32, 4096]),
    ) -> (Vec<(String, Value)>, Vec<Tensor>, u32) {
        (entries.into_iter().collect(), tensors, alignment)
    }
}

/// Bytes of tensor `i`, different for each tensor.
fn data(i: usize, (ty, dims): &Tensor) -> Vec<u8> {
    let len = ty.row_bytes(dims[0]).unwrap() * dims[1..].iter().product::<usize>();
    (0..len).map(|n| (n * 31 + i * 7) as u8).collect()
}

fn write(entries: &[(String, Value)], tensors: &[Tensor], alignment: u32) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.alignment", alignment);
    for (key, value) in entries {
        writer.set(key, value.clone());
    }
    for (i, (ty, dims)) in tensors.iter().enumerate() {
        writer.tensor(&format!("t.{i}"), *ty, dims).unwrap();
    }
    let data: Vec<_> = tensors.iter().enumerate().map(|(i, tensor)| data(i, tensor)).collect();
    writer.to_vec(&data.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reader_finds_what_the_writer_wrote((entries, tensors, alignment) in contents()) {
        // Four dimensions at most, row included.
        let tensors: Vec<_> = tensors.into_iter().filter(|(_, dims)| dims.len() <= 4).collect();
        let gguf = Gguf::from_vec(write(&entries, &tensors, alignment)).unwrap();
        prop_assert_eq!(gguf.version(), 3);
        prop_assert_eq!(gguf.meta().len(), entries.len() + 1);
        for (key, value) in &entries {
            prop_assert_eq!(gguf.meta().get(key), Some(value));
        }
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            let info = gguf.tensor(&format!("t.{i}")).unwrap();
            prop_assert_eq!(info.ty(), tensor.0);
            prop_assert_eq!(info.dims(), &tensor.1[..]);
            prop_assert_eq!(info.rows() * info.cols(), info.elements());
            prop_assert_eq!(&gguf.bytes(info)[..], &data(i, tensor)[..]);
        }
    }

    /// Cut, or with some bytes changed: an answer or an error, and whatever is read stays in
    /// bounds.
    #[test]
    fn a_spoiled_file_never_panics(
        (entries, tensors, alignment) in contents(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let tensors: Vec<_> = tensors.into_iter().filter(|(_, dims)| dims.len() <= 4).collect();
        let mut file = write(&entries, &tensors, alignment);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(2 * file.len()));
        if let Ok(gguf) = Gguf::from_vec(file) {
            for (key, value) in gguf.meta().iter() {
                let meta = gguf.meta();
                let _ = (meta.str(key), meta.u32(key), meta.u64(key));
                let _ = (meta.f32(key), meta.bool(key));
                let _ = (meta.i32s(key), meta.u32s(key), meta.f32s(key), meta.bools(key));
                let strings = meta.strs(key).ok().flatten();
                let _ = (strings.map(|s| s.iter().map(<[u8]>::len).sum::<usize>()), value.kind());
            }
            for tensor in gguf.tensors() {
                prop_assert_eq!(
                    tensor.bytes().len(),
                    tensor.ty().row_bytes(tensor.cols()).unwrap() * tensor.rows()
                );
            }
        }
    }
}

#[test]
fn every_getter_reads_every_width_and_names_what_does_not_fit() {
    let mut writer = Writer::new();
    writer.set("u8", 7u8).set("i64", 7i64).set("negative", -1i32).set("big", 1u64 << 40);
    writer.set("f64", 0.5f64).set("text", "café").set("yes", true);
    writer.set("bytes", Value::Str((&[b'a', 0xff][..]).into()));
    writer.set("i8s", vec![1i8, -2]).set("f32s", vec![0.25f32]).set("bools", vec![true, false]);
    writer.set("strs", Value::strings(["a", "bc"]));
    let gguf = Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap();
    let meta = gguf.meta();
    assert_eq!(meta.u32("u8").unwrap(), Some(7));
    assert_eq!(meta.u32("i64").unwrap(), Some(7));
    assert_eq!(meta.u64("big").unwrap(), Some(1 << 40));
    assert_eq!(meta.f32("f64").unwrap(), Some(0.5));
    assert_eq!(meta.str("text").unwrap(), Some("café"));
    assert_eq!(meta.bool("yes").unwrap(), Some(true));
    assert_eq!(meta.i32s("i8s").unwrap(), Some(vec![1, -2]));
    assert_eq!(meta.f32s("f32s").unwrap(), Some(vec![0.25]));
    assert_eq!(meta.bools("bools").unwrap(), Some(vec![true, false]));
    assert_eq!(meta.strs("strs").unwrap().unwrap().get(1), b"bc");
    assert_eq!(meta.u32("absent").unwrap(), None);
    assert_eq!(meta.strs("absent").unwrap().map(|s| s.len()), None);

    let says = |error: String, words: &[&str]| {
        for word in words {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
    };
    says(meta.u32("negative").unwrap_err().to_string(), &["negative", "INT32 -1", "unsigned 32"]);
    says(meta.u32("big").unwrap_err().to_string(), &["big", "1099511627776", "unsigned 32"]);
    says(meta.u32s("i8s").unwrap_err().to_string(), &["i8s", "INT8 -2", "unsigned 32"]);
    says(meta.u32("f64").unwrap_err().to_string(), &["f64", "FLOAT64 0.5", "unsigned 32"]);
    says(meta.u32("i8s").unwrap_err().to_string(), &["i8s", "an array of 2 INT8"]);
    says(meta.f32("u8").unwrap_err().to_string(), &["u8", "UINT8 7", "FLOAT32"]);
    says(meta.str("u8").unwrap_err().to_string(), &["u8", "UINT8 7", "STRING"]);
    says(meta.str("bytes").unwrap_err().to_string(), &["bytes", "UTF-8", "at 1"]);
    says(meta.bool("u8").unwrap_err().to_string(), &["u8", "UINT8 7", "BOOL"]);
    says(meta.strs("i8s").unwrap_err().to_string(), &["i8s", "an array of 2 INT8", "STRING"]);
    says(meta.f32s("strs").unwrap_err().to_string(), &["strs", "an array of 2 STRING", "FLOAT32"]);
    says(meta.f32s("text").unwrap_err().to_string(), &["text", "a STRING", "array of FLOAT32"]);
}

/// One part of a split file that holds the tensor `name`.
fn part(number: u16, count: u16, tensors: i32, name: &str) -> File {
    let mut writer = Writer::new();
    writer.set("split.no", number).set("split.count", count).set("split.tensors.count", tensors);
    writer.set("part", u32::from(number));
    writer.tensor(name, TensorType::F32, &[2]).unwrap();
    let data = [f32::from(number).to_le_bytes(), 1f32.to_le_bytes()].concat();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&writer.to_vec(&[&data]).unwrap()).unwrap();
    file
}

#[test]
fn the_parts_of_a_split_file_are_one_model() {
    let parts = (0..3).map(|n| part(n, 3, 3, &format!("t{n}"))).collect();
    let gguf = Gguf::open(parts).unwrap();
    assert_eq!(gguf.meta().u32("part").unwrap(), Some(0));
    assert_eq!(gguf.tensors().len(), 3);
    assert_eq!(gguf.tensor("t2").unwrap().bytes()[..4], 2f32.to_le_bytes());
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    let refused = |parts: Vec<File>, words: &[&str]| {
        let error = Gguf::open(parts).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
    };
    refused(vec![part(0, 2, 2, "a")], &["part 1", "split.count = 2", "expected 1"]);
    let swapped = vec![part(1, 2, 2, "b"), part(0, 2, 2, "a")];
    refused(swapped, &["part 1", "split.no = 1", "expected 0"]);
    let twice = vec![part(0, 2, 2, "a"), part(1, 2, 2, "a")];
    refused(twice, &["\"a\" stands twice"]);
    let short = vec![part(0, 2, 3, "a"), part(1, 2, 3, "b")];
    refused(short, &["2 tensors", "says 3"]);
    refused(vec![], &["no model file"]);
    let mut plain = tempfile::tempfile().unwrap();
    plain.write_all(&Writer::new().to_vec(&[]).unwrap()).unwrap();
    refused(vec![part(0, 2, 2, "a"), plain], &["part 2", "split.count = nothing"]);
    let broken = tempfile::tempfile().unwrap();
    broken.set_len(10).unwrap();
    refused(vec![part(0, 2, 2, "a"), broken], &["part 2 of 2", "not a GGUF file"]);
}

#[test]
fn a_merged_file_says_zero_parts() {
    let mut writer = Writer::new();
    writer.set("split.count", 0u16);
    assert!(Gguf::from_vec(writer.to_vec(&[]).unwrap()).is_ok());
}

#[test]
fn the_writer_refuses_data_that_is_not_the_plan() {
    let planned = || {
        let mut writer = Writer::new();
        writer.tensor("t", TensorType::F32, &[2]).unwrap();
        writer
    };
    assert!(planned().to_vec(&[]).is_err());
    assert!(planned().to_vec(&[&[0; 7]]).is_err());
    assert!(planned().to_vec(&[&[0; 9]]).is_err());
    assert!(planned().to_vec(&[&[0; 8], &[0; 8]]).is_err());
    assert!(planned().to_vec(&[&[0; 8]]).is_ok());
    assert!(Writer::new().tensor("t", TensorType::Q4_K, &[128]).is_err());
    assert!(Writer::new().tensor("t", TensorType::F32, &[]).is_err());
    assert!(Writer::new().tensor("t", TensorType::F32, &[usize::MAX, 8]).is_err());
}
