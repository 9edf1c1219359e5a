//! A malformed GGUF file of every kind known to have broken a reader: a clear error, no panic, and
//! no allocation beyond a small multiple of the file.
//!
//! The kinds are those of llama.cpp's `test-gguf` and of the advisories against GGUF readers
//! (offsets past the end, counts near 2^63, zero dimensions, zero and huge alignments, products
//! that overflow, arrays of another type than their reader's). Random damage is in
//! `gguf_roundtrip.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hearth_engine::gguf::Gguf;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// One test at a time, or they would count each other's allocations.
static COUNTING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads `file` and returns the error's text, if any. Fails if all allocations made for it
/// together, freed or not, pass 24 bytes for each byte of the file and 8 KiB for the message.
fn read(name: &str, file: &[u8]) -> Result<Gguf, String> {
    let bytes = file.to_vec();
    let region = Region::new(ALLOCATOR);
    let result = Gguf::from_vec(bytes).map_err(|error| error.to_string());
    let allocated = region.change().bytes_allocated;
    let limit = 24 * file.len() + 8192;
    assert!(allocated <= limit, "{name}: {allocated} bytes allocated for a file of {}", file.len());
    result
}

const U8: u32 = 0;
const I8: u32 = 1;
const U32: u32 = 4;
const I32: u32 = 5;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

const F32: u32 = 0;
const Q8_0: u32 = 8;

/// A file written field by field, so that every field can be wrong.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn header(version: u32, tensors: u64, keys: u64) -> Raw {
        Raw(b"GGUF".to_vec()).u32(version).u64(tensors).u64(keys)
    }

    fn u32(self, n: u32) -> Raw {
        self.bytes(&n.to_le_bytes())
    }

    fn u64(self, n: u64) -> Raw {
        self.bytes(&n.to_le_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Raw {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    fn key(self, key: &str, kind: u32, value: &[u8]) -> Raw {
        self.text(key).u32(kind).bytes(value)
    }

    fn alignment(self, n: u32) -> Raw {
        self.key("general.alignment", U32, &n.to_le_bytes())
    }

    fn tensor(self, name: &str, shape: &[u64], ty: u32, offset: u64) -> Raw {
        let raw = self.text(name).u32(shape.len() as u32);
        shape.iter().fold(raw, |raw, &n| raw.u64(n)).u32(ty).u64(offset)
    }

    /// Pads to `alignment` and appends `len` bytes of tensor data.
    fn data(mut self, alignment: usize, len: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(alignment) + len, 0);
        self.0
    }

    /// Appends so many zeros that no count is refused for want of room alone.
    fn room(self) -> Vec<u8> {
        self.data(1, 4096)
    }
}

fn header(tensors: u64, keys: u64) -> Raw {
    Raw::header(3, tensors, keys)
}

/// A file with one tensor.
fn one(shape: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    header(1, 0).tensor("t", shape, ty, offset).data(32, 256)
}

/// A file, its name here, and what the error's text must contain.
type Case = (&'static str, Vec<u8>, &'static [&'static str]);

fn header_cases() -> Vec<Case> {
    let mut big_endian = b"GGUF".to_vec();
    big_endian.extend(3u32.to_be_bytes());
    big_endian.resize(64, 0);
    vec![
        ("nothing", vec![], &["magic number", "4 bytes needed", "0 left"]),
        ("other magic", b"FUGG\x03\0\0\0".to_vec(), &["FUGG", "expected \"GGUF\""]),
        ("control characters as magic", b"\x1b[2J".to_vec(), &["\\\\x1b[2J"]),
        ("version 0", Raw::header(0, 0, 0).room(), &["version 0", "expected 2 or 3"]),
        ("version 1", Raw::header(1, 0, 0).room(), &["version 1", "convert"]),
        ("version 4", Raw::header(4, 0, 0).room(), &["version 4", "expected 2 or 3"]),
        ("big-endian", big_endian, &["big-endian", "0x03000000", "convert"]),
        ("2^64-1 tensors", header(u64::MAX, 0).room(), &["18446744073709551615 tensors", "room"]),
        ("2^63 tensors", header(1 << 63, 0).room(), &["9223372036854775808 tensors", "room"]),
        ("2^64-1 keys", header(0, u64::MAX).room(), &["18446744073709551615 keys", "room"]),
        ("more keys than bytes", header(0, 400).room(), &["400 keys", "room for 292"]),
        ("a key count cut short", header(0, 0).0[..20].to_vec(), &["key count", "4 left"]),
    ]
}

fn key_cases() -> Vec<Case> {
    let key = |kind, value: &[u8]| header(0, 1).key("k", kind, value).room();
    let array =
        |kind: u32, len: u64| key(ARRAY, &[&kind.to_le_bytes()[..], &len.to_le_bytes()].concat());
    let aligned = |n| header(0, 1).alignment(n).room();
    let signed = header(0, 1).key("general.alignment", I32, &32i32.to_le_bytes()).room();
    let twice = header(0, 2).key("k", U8, &[1]).key("k", U8, &[1]).room();
    vec![
        (
            "key of 2^64-1 bytes",
            header(0, 1).u64(u64::MAX).room(),
            &["a key", "18446744073709551615"],
        ),
        ("key of 65536 bytes", header(0, 1).u64(65_536).room(), &["65536", "expected 1 to 65535"]),
        ("key past the end", header(0, 1).u64(5000).room(), &["inside a key", "5000 bytes needed"]),
        ("empty key", header(0, 1).key("", U8, &[1]).room(), &["a key", "0 bytes", "expected 1"]),
        ("key not text", header(0, 1).u64(1).bytes(b"\xff").room(), &["a key", "not UTF-8"]),
        ("value type 13", key(13, &[0]), &["\"k\"", "value type 13", "expected 0 to 12"]),
        ("value type -1", key(u32::MAX, &[0]), &["\"k\"", "value type 4294967295"]),
        ("key twice", twice, &["\"k\"", "twice"]),
        (
            "string of 2^64-1 bytes",
            key(STRING, &[0xff; 8]),
            &["string value", "18446744073709551615"],
        ),
        ("string of 1 GiB", key(STRING, &(1u64 << 30).to_le_bytes()), &["1073741824 bytes needed"]),
        ("array type 13", array(13, 1), &["\"k\"", "value type 13"]),
        ("array of arrays", array(ARRAY, 1), &["\"k\"", "array of arrays", "plain values"]),
        ("array of 2^63", array(U8, 1 << 63), &["9223372036854775808 array elements", "room"]),
        (
            "array whose bytes overflow",
            array(U32, 1 << 62),
            &["4611686018427387904", "room for 1024"],
        ),
        ("array past the end", array(U32, 2000), &["2000 array elements", "room for 1024"]),
        ("2^63 strings", array(STRING, 1 << 63), &["9223372036854775808", "room for 512"]),
        (
            "string in an array past the end",
            header(0, 1).key("k", ARRAY, &STRING.to_le_bytes()).u64(1).u64(9999).room(),
            &["string in an array", "9999 bytes needed"],
        ),
        ("alignment 0", aligned(0), &["general.alignment is 0", "power of two"]),
        ("alignment 13", aligned(13), &["general.alignment is 13", "power of two"]),
        ("alignment 2^31", aligned(1 << 31), &["2147483648", "to 1048576"]),
        ("alignment of another type", signed, &["general.alignment", "INT32 32", "UINT32"]),
        ("key missing", header(0, 1).0, &["1 keys", "room for 0"]),
    ]
}

fn tensor_cases() -> Vec<Case> {
    let long = "a_name_longer_than_any_tensor_of_any_model_has_ever_had_or_ever_will_have";
    let dims = |n: u32| header(1, 0).text("t").u32(n).room();
    let huge = i64::MAX as u64 - 63;
    let overlap = header(2, 0).tensor("a", &[16], F32, 0).tensor("b", &[8], F32, 32);
    let packed = header(2, 0).tensor("a", &[1], F32, 0).tensor("b", &[1], F32, 4).data(1, 64);
    let odd = header(1, 1).alignment(13).tensor("t", &[8], F32, 0).data(13, 64);
    vec![
        (
            "long name",
            header(1, 0).tensor(long, &[8], F32, 0).data(32, 32),
            &["tensor name", "73 bytes", "expected 1 to 64"],
        ),
        ("no name", header(1, 0).tensor("", &[8], F32, 0).room(), &["tensor name", "0 bytes"]),
        ("name not text", header(1, 0).u64(2).bytes(b"\xc3(").room(), &["tensor name", "UTF-8"]),
        ("no dimensions", dims(0), &["\"t\"", "0 dimensions", "expected 1 to 4"]),
        ("5 dimensions", dims(5), &["\"t\"", "5 dimensions", "expected 1 to 4"]),
        ("9 dimensions", dims(9), &["9 dimensions"]),
        ("2^32-1 dimensions", dims(u32::MAX), &["4294967295 dimensions"]),
        ("dimension of -1", one(&[u64::MAX], F32, 0), &["\"t\"", "overflows 63 bits"]),
        ("dimension of 0", one(&[32, 0], F32, 0), &["\"t\"", "[32, 0]", "zero"]),
        ("row of 0", one(&[0, u64::MAX], F32, 0), &["zero"]),
        ("elements overflow", one(&[1 << 33, 1 << 33], F32, 0), &["\"t\"", "overflows 63 bits"]),
        ("elements wrap to 0", one(&[1 << 32, 1 << 32], F32, 0), &["overflows 63 bits"]),
        ("bytes wrap to 0", one(&[1 << 31, 1 << 31], F32, 0), &["\"t\"", "overflows 63 bits"]),
        ("2^63 bytes", one(&[1 << 61], F32, 0), &["9223372036854775808 bytes", "has 256"]),
        (
            "bytes wrap when padded",
            one(&[4, (1 << 30) - 1, (1 << 30) + 1], F32, 0),
            &["18446744073709551600 bytes at offset 0", "has 256"],
        ),
        ("type 43", one(&[32], 43, 0), &["\"t\"", "type 43", "not supported", "Q4_K"]),
        ("type of another program", one(&[32], 15, 0), &["type 15 (Q8_K)", "quantise"]),
        ("type -1", one(&[32], u32::MAX, 0), &["type 4294967295"]),
        ("row of half a block", one(&[48], Q8_0, 0), &["Q8_0", "48", "multiple of 32"]),
        ("offset of 2^64-1", one(&[8], F32, u64::MAX), &["18446744073709551615", "multiple of 32"]),
        ("offset at the edge of 2^64", one(&[8], F32, u64::MAX - 31), &["32 bytes", "has 256"]),
        ("offset past the end", one(&[8], F32, 4096), &["32 bytes at offset 4096", "has 256"]),
        ("offset misaligned", one(&[8], F32, 8), &["offset 8", "multiple of 32"]),
        ("tensors packed without padding", packed, &["\"b\"", "offset 4", "multiple of 32"]),
        ("alignment 13 with tensors", odd, &["general.alignment is 13"]),
        ("one byte short", one(&[65], F32, 0), &["260 bytes at offset 0", "has 256"]),
        ("tensors overlap", overlap.data(32, 64), &["\"a\"", "\"b\"", "overlap"]),
        (
            "tensor twice",
            header(2, 0).tensor("t", &[8], F32, 0).tensor("t", &[8], F32, 32).data(32, 64),
            &["\"t\" stands twice"],
        ),
        (
            "sizes that overflow together",
            header(2, 0).tensor("a", &[huge], F32, 0).tensor("b", &[huge], F32, 0).data(32, 32),
            &["\"a\""],
        ),
        ("no tensor data", header(1, 0).tensor("t", &[8], F32, 0).0, &["has 0 bytes"]),
        ("tensor missing", header(1, 0).bytes(&[0; 32]).0, &["1 tensors", "room for 0"]),
    ]
}

#[test]
fn t6_every_kind_of_malformed_file_is_refused_and_named() {
    let _alone = alone();
    let mut wrong = Vec::new();
    for (name, file, words) in header_cases().into_iter().chain(key_cases()).chain(tensor_cases()) {
        match read(name, &file) {
            Ok(_) => wrong.push(format!("{name}: read without an error")),
            Err(error) if error.contains(char::is_control) => {
                wrong.push(format!("{name}: control characters in {error:?}"));
            }
            Err(error) => {
                let missing = words.iter().filter(|&&word| !error.contains(word));
                wrong.extend(missing.map(|word| format!("{name}: {error:?} lacks {word:?}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same builder makes files that are read, or the cases above would prove nothing.
#[test]
fn sound_files_of_the_same_make_are_read() {
    let _alone = alone();
    let sound = [
        ("empty", header(0, 0).0),
        ("version 2", Raw::header(2, 0, 0).0),
        ("one key", header(0, 1).key("k", U8, &[1]).0),
        ("one tensor", one(&[64], F32, 0)),
        ("four dimensions", one(&[32, 1, 2, 1], Q8_0, 0)),
        ("alignment 1", header(1, 1).alignment(1).tensor("t", &[8], F32, 0).data(1, 32)),
        ("a gap", one(&[8], F32, 64)),
        (
            "tensors out of order",
            header(2, 0).tensor("a", &[8], F32, 32).tensor("b", &[8], F32, 0).data(32, 64),
        ),
    ];
    for (name, file) in sound {
        assert_eq!(read(name, &file).map(|_| ()), Ok(()), "{name}");
    }
}

/// A file with every kind of field.
fn complete() -> Vec<u8> {
    header(2, 4)
        .key("text", STRING, &[5u64.to_le_bytes().as_slice(), b"hello"].concat())
        .key("strings", ARRAY, &STRING.to_le_bytes())
        .u64(2)
        .text("ab")
        .text("")
        .key("numbers", ARRAY, &I8.to_le_bytes())
        .u64(3)
        .bytes(&[1, 2, 3])
        .key("number", U32, &7u32.to_le_bytes())
        .tensor("a", &[32, 2], Q8_0, 0)
        .tensor("b", &[2, 1, 1, 1], F32, 96)
        .data(32, 104)
}

#[test]
fn t6_a_file_cut_at_any_byte_is_refused() {
    let _alone = alone();
    let file = complete();
    assert!(read("whole", &file).is_ok());
    for len in 0..file.len() {
        let error = read("cut", &file[..len]).expect_err("a cut file was read");
        let told = ["left", "room for", "but the file has"].iter().any(|word| error.contains(word));
        assert!(told, "cut at {len}: {error:?}");
    }
}

/// Every byte in turn replaced by each of a few values that are edges of something.
#[test]
fn t6_a_file_with_any_byte_changed_neither_panics_nor_allocates_much() {
    let _alone = alone();
    let file = complete();
    let mut refused = 0;
    for at in 0..file.len() {
        for byte in [0, 1, 9, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] = byte;
            refused += usize::from(read("changed", &changed).is_err());
        }
    }
    assert!(refused > 500, "only {refused} changes were noticed");
}

/// The densest header there is: the smallest keys and tensors, so the most memory for a byte.
#[test]
fn t6_a_file_of_the_smallest_entries_takes_memory_in_proportion() {
    let _alone = alone();
    let name = |i: u64| format!("{i:x}");
    let keys = (0..20_000).fold(header(0, 20_000), |raw, i| raw.key(&name(i), U8, &[1]));
    assert!(read("keys", &keys.0).is_ok());
    let tensors = (0..20_000)
        .fold(header(20_000, 1).alignment(1), |raw, i| raw.tensor(&name(i), &[1], F32, 4 * i));
    assert!(read("tensors", &tensors.data(1, 80_000)).is_ok());
    let strings = header(0, 1).key("k", ARRAY, &STRING.to_le_bytes()).u64(100_000);
    let gguf = read("strings", &strings.bytes(&[0; 800_000]).0).unwrap();
    let region = Region::new(ALLOCATOR);
    let list = gguf.meta().strs("k").unwrap().unwrap();
    assert_eq!(list.len(), 100_000);
    assert!(region.change().bytes_allocated <= 400_000 + 4096);
}

/// What an advisory calls type confusion: an array declared as bytes, read as floats.
#[test]
fn t6_an_array_of_another_type_is_an_error_of_its_getter() {
    let _alone = alone();
    let file = header(0, 1)
        .key("tokenizer.ggml.scores", ARRAY, &I8.to_le_bytes())
        .u64(3)
        .bytes(&[1, 2, 3])
        .0;
    let gguf = read("scores", &file).unwrap();
    let error = gguf.meta().f32s("tokenizer.ggml.scores").unwrap_err().to_string();
    for word in ["tokenizer.ggml.scores", "an array of 3 INT8", "an array of FLOAT32"] {
        assert!(error.contains(word), "{error:?} lacks {word:?}");
    }
    let error = gguf.meta().strs("tokenizer.ggml.scores").unwrap_err().to_string();
    assert!(error.contains("an array of STRING"), "{error:?}");
}
