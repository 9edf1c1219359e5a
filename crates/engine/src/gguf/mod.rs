//! GGUF v2 and v3: a reader over a read-only map, typed metadata, split files, and a writer.
//!
//! A file is hostile until checked: every count, length, offset and size is compared with the bytes
//! that are there before it is used, and nothing is allocated beyond a small multiple of the
//! header's bytes. Tensor data and long strings stay in the map. Big-endian files and version 1 are
//! refused.
//!
//! `header.rs` reads primitives, `meta.rs` key-value pairs, `tensors.rs` the tensor list,
//! `split.rs` joins the parts of a split file, `value.rs` holds values, `map.rs` maps, `write.rs`
//! writes. What the keys mean is the matter of the architectures and the tokenizer.

use std::collections::HashMap;
use std::fs::File;

use hearth_kernels::bytes::Bytes;

mod error;
mod header;
mod map;
mod meta;
mod split;
mod tensors;
mod value;
pub mod write;

pub use error::GgufError;
pub use meta::Meta;
pub use split::part_names;
pub use tensors::TensorInfo;
pub use value::{Array, Strings, Value, ValueType};

/// A model file, or all parts of a split one: metadata of the first part, tensors of all.
#[derive(Debug)]
pub struct Gguf {
    version: u32,
    meta: Meta,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    file_bytes: u64,
}

impl Gguf {
    /// Maps and reads `parts`: one file, or every part of a split file in order.
    ///
    /// Takes descriptors, never paths, because the sealed process cannot open files. The files must
    /// not be shortened while the result lives: reading a page that is gone ends the process.
    pub fn open(parts: Vec<File>) -> Result<Gguf, GgufError> {
        let maps = parts.iter().map(map::map).collect::<Result<Vec<_>, _>>()?;
        Gguf::from_parts(maps)
    }

    /// Reads a file that lies in memory.
    pub fn from_vec(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
        Gguf::from_parts(vec![bytes.into()])
    }

    /// Reads parts that lie in memory or in maps, in order.
    pub fn from_parts(parts: Vec<Bytes>) -> Result<Gguf, GgufError> {
        let count = parts.len();
        let mut read = Vec::with_capacity(count);
        for (number, bytes) in parts.iter().enumerate() {
            let part = Part::read(bytes).map_err(|error| error.in_part(number, count))?;
            split::check(&part.meta, number, count)?;
            read.push(part);
        }
        let mut read = read.into_iter();
        let first = read.next().ok_or(GgufError::NoParts)?;
        let expected = split::tensor_count(&first.meta, count)?;
        let mut tensors = first.tensors;
        tensors.extend(read.flat_map(|part| part.tensors));
        if let Some(expected) = expected.filter(|&n| n != tensors.len() as u64) {
            return Err(GgufError::SplitTensorCount { found: tensors.len(), expected });
        }
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name().to_owned(), i).is_some() {
                return Err(GgufError::DuplicateTensor { name: tensor.name().to_owned() });
            }
        }
        let file_bytes = parts.iter().map(|part| part.len() as u64).sum();
        Ok(Gguf { version: first.version, meta: first.meta, tensors, by_name, file_bytes })
    }

    /// The format's version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of all parts together.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The key-value pairs (of the first part, where a file is split).
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// A tensor's data, as a view that keeps the map alive.
    pub fn bytes(&self, tensor: &TensorInfo) -> Bytes {
        tensor.bytes().clone()
    }
}

/// One file, before the parts are joined.
struct Part {
    version: u32,
    meta: Meta,
    tensors: Vec<TensorInfo>,
}

impl Part {
    fn read(bytes: &Bytes) -> Result<Part, GgufError> {
        let mut cursor = header::Cursor::new(bytes);
        let header = header::Header::read(&mut cursor)?;
        let meta = Meta::read(&mut cursor, header.keys)?;
        let alignment = meta.alignment()?;
        let tensors = tensors::read(&mut cursor, header.tensors, alignment)?;
        Ok(Part { version: header.version, meta, tensors })
    }
}
