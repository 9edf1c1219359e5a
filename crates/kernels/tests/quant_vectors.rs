//! Every tensor type against the `gguf` package: bit-exact values, and equal bytes where that
//! package writes the type. The vectors come from `xtask/oracle/quant_vectors.py`.

use hearth_kernels::quant::{TensorType, dequantize, dot, quantize};

struct Record {
    ty: TensorType,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

/// The records of a file in `testdata`, whose layout the script states.
fn records(name: &str) -> Vec<Record> {
    let path = format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut data = Vec::new();
    lzma_rs::xz_decompress(&mut file.as_slice(), &mut data).expect("an xz file");
    let mut rest = data.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let ty = TensorType::from_id(word(0)).expect("a type of the list");
        let blocks = word(4) as usize;
        let (bytes, after) = rest[8..].split_at(blocks * ty.block_bytes());
        let (values, after) = after.split_at(blocks * ty.block_len() * 4);
        let values = values.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        records.push(Record { ty, bytes: bytes.to_vec(), values });
        rest = after;
    }
    records
}

/// Equal bits, except that any NaN equals any other: processors differ in what they leave in one.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn every_type_reads_the_reference_values() {
    let records = records("quant.decode.xz");
    let covered: Vec<_> = records.iter().map(|record| record.ty).collect();
    for ty in TensorType::all() {
        assert!(covered.contains(&ty), "no vectors of {ty}");
    }
    for Record { ty, bytes, values } in records {
        let mut out = vec![0.0; values.len()];
        dequantize(ty, &bytes, &mut out);
        for (i, (&ours, &theirs)) in out.iter().zip(&values).enumerate() {
            let (block, at) = (i / ty.block_len(), i % ty.block_len());
            assert!(same(ours, theirs), "{ty} block {block} value {at}: {ours:e} for {theirs:e}");
        }
    }
}

#[test]
fn the_reference_bytes_are_written() {
    let records = records("quant.encode.xz");
    assert_eq!(records.len(), 10, "the types that the gguf package writes, without F32");
    for Record { ty, bytes, values } in records {
        let mut out = vec![0xa5; bytes.len()];
        quantize(ty, &values, &mut out).expect("finite values");
        let (ours, theirs) = (out.chunks(ty.block_bytes()), bytes.chunks(ty.block_bytes()));
        for (i, (ours, theirs)) in ours.zip(theirs).enumerate() {
            let x = &values[i * ty.block_len()..][..ty.block_len()];
            assert_eq!(ours, theirs, "{ty} block {i}: {x:?}");
        }
    }
}

#[test]
fn dot_agrees_with_a_sum_in_double_precision() {
    for Record { ty, bytes, values } in records("quant.decode.xz") {
        let (len, size) = (ty.block_len(), ty.block_bytes());
        // Rows of every number of blocks up to 24, from blocks of finite values of ordinary size.
        let usable = |i: &usize| values[i * len..][..len].iter().all(|v| v.abs() < 1e6);
        let blocks: Vec<usize> = (0..bytes.len() / size).filter(usable).collect();
        assert!(blocks.len() >= 24, "{ty}: {} blocks", blocks.len());
        for count in 0..=24 {
            let take = |i: &usize| &bytes[i * size..][..size];
            let row: Vec<u8> = blocks[..count].iter().flat_map(take).copied().collect();
            let w = blocks[..count].iter().flat_map(|i| &values[i * len..][..len]);
            let x: Vec<f32> =
                (0..count * len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
            let terms = w.zip(&x).map(|(&w, &x)| f64::from(w) * f64::from(x));
            let (sum, size) = terms.fold((0.0, 0.0), |(s, m): (f64, f64), t| (s + t, m + t.abs()));
            let ours = f64::from(dot(ty, &row, &x));
            // 16 sums of at most count * len / 16 + 1 terms, each step rounded to 24 bits, or to
            // the smallest denormal.
            let steps = (count * len / 16 + 18) as f64;
            let bound = steps * (size * 2f64.powi(-24) + f64::from(f32::from_bits(1)) * 16.0);
            assert!((ours - sum).abs() <= bound, "{ty} {count} blocks: {ours}, not {sum}");
        }
    }
}
