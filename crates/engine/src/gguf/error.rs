//! What can be wrong with a GGUF file. Each message says what was found, what was expected and
//! where.
//!
//! Names from the file are printed escaped (`{:?}`): they may hold terminal control sequences.

use thiserror::Error;

/// A file that cannot be read as GGUF, or a metadata value that is not what its reader needs.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the message beside each variant is its documentation
pub enum GgufError {
    #[error("cannot read the model file: {0}")]
    Io(std::io::Error),
    #[error("no model file was given")]
    NoParts,
    #[error("the model file is empty (0 bytes): the download did not finish; pull it again")]
    Empty,
    #[error("the model is not a regular file, which is what can be mapped")]
    NotAFile,
    #[error(
        "the model file changed from {before} to {after} bytes while it was opened: \
             wait until it is complete"
    )]
    LengthChanged { before: u64, after: u64 },
    #[error("part {part} of {count}: {error}")]
    InPart { part: usize, count: usize, error: Box<GgufError> },

    #[error("not a GGUF file: it begins with {found:?}, expected \"GGUF\"")]
    Magic { found: String },
    #[error(
        "a big-endian GGUF file (version bytes {found:#010x}), expected little-endian: \
             convert it with gguf-py's gguf_convert_endian"
    )]
    BigEndian { found: u32 },
    #[error("GGUF version 1, expected 2 or 3: convert the model again with current tools")]
    Version1,
    #[error("GGUF version {found}, expected 2 or 3: the file is damaged or of a newer kind")]
    Version { found: u32 },
    #[error(
        "the file ends inside {what} at byte {at}: {need} bytes needed, {have} left; \
             it is damaged or was not downloaded whole"
    )]
    Truncated { what: &'static str, at: u64, need: u64, have: u64 },
    #[error("the file says {found} {what} at byte {at}, but the rest of it has room for {most}")]
    Count { what: &'static str, found: u64, most: u64, at: u64 },

    #[error("{what} at byte {at} has {found} bytes, expected 1 to {most}")]
    NameLength { what: &'static str, found: u64, most: u64, at: u64 },
    #[error("{what} {found:?} is not UTF-8 text")]
    NameText { what: &'static str, found: String },
    #[error("the key {key:?} stands twice")]
    DuplicateKey { key: String },
    #[error("the key {key:?} has value type {found}, expected 0 to 12")]
    ValueType { key: String, found: u32 },
    #[error("the key {key:?} is an array of arrays, expected an array of plain values")]
    NestedArray { key: String },
    #[error("the key {key:?} is an array of strings of {found} bytes, expected at most {most}")]
    ArrayBytes { key: String, found: u64, most: u64 },
    #[error("general.alignment is {found}, expected a power of two from 1 to {most}")]
    Alignment { found: u32, most: u32 },

    #[error("the key {key:?} is {found}, expected {expected}")]
    WrongType { key: String, found: String, expected: &'static str },
    #[error("the key {key:?} is {found}, out of the range of {expected}")]
    OutOfRange { key: String, found: String, expected: &'static str },
    #[error("the key {key:?} is not UTF-8 text (first bad byte at {at})")]
    NotText { key: String, at: usize },

    #[error("the tensor {tensor:?} has {found} dimensions, expected 1 to 4")]
    DimensionCount { tensor: String, found: u32 },
    #[error(
        "the tensor {tensor:?} has the shape {shape:?}: a dimension of zero, expected 1 or more"
    )]
    ZeroDimension { tensor: String, shape: Vec<u64> },
    #[error("the tensor {tensor:?} has the shape {shape:?}: its size overflows 63 bits")]
    TooLarge { tensor: String, shape: Vec<u64> },
    #[error(
        "the tensor {tensor:?} has the element type {id}{name}, which is not supported; \
             quantise the model again in one of: {supported}"
    )]
    TensorType { tensor: String, id: u32, name: &'static str, supported: String },
    #[error(
        "the tensor {tensor:?} of type {ty} has rows of {cols} elements, \
             expected a multiple of {block}"
    )]
    RowLength { tensor: String, ty: &'static str, cols: u64, block: usize },
    #[error("the tensor {tensor:?} begins at offset {offset}, expected a multiple of {alignment}")]
    Misaligned { tensor: String, offset: u64, alignment: u32 },
    #[error(
        "the tensor {tensor:?} needs {len} bytes at offset {offset}, \
             but the file has {have} bytes of tensor data: it was not downloaded whole"
    )]
    OutsideFile { tensor: String, offset: u64, len: u64, have: u64 },
    #[error("the tensors {first:?} and {second:?} overlap")]
    Overlap { first: String, second: String },
    #[error("the tensor {name:?} stands twice")]
    DuplicateTensor { name: String },

    #[error(
        "part {part} of a split file has {key} = {found}, expected {expected}: \
             give all parts in order, the one that ends in -00001-of-… first"
    )]
    Split { part: usize, key: &'static str, found: String, expected: u64 },
    #[error("the parts hold {found} tensors together, but split.tensors.count says {expected}")]
    SplitTensorCount { found: usize, expected: u64 },
    #[error("{found:?} is not the first part of a split file: open {first:?}")]
    NotFirstPart { found: String, first: String },
    #[error("{found:?} names part {part} of {count}")]
    PartName { found: String, part: usize, count: usize },
}

// Not `#[from]`: the message holds the cause already, and a chain would print it twice.
impl From<std::io::Error> for GgufError {
    fn from(error: std::io::Error) -> GgufError {
        GgufError::Io(error)
    }
}

/// Kind numbers and versions up to this may be given out one day; larger ones are noise.
const GIVEN_OUT_ONE_DAY: u32 = 255;

impl GgufError {
    /// True if the file may be whole and only of a kind that this version does not read; false if
    /// it is damaged.
    pub(crate) fn is_unsupported(&self) -> bool {
        match self {
            GgufError::BigEndian { .. }
            | GgufError::Version1
            | GgufError::NestedArray { .. }
            | GgufError::ArrayBytes { .. } => true,
            GgufError::Version { found } => (1..=GIVEN_OUT_ONE_DAY).contains(found),
            GgufError::ValueType { found, .. } => *found <= GIVEN_OUT_ONE_DAY,
            GgufError::TensorType { id, .. } => *id <= GIVEN_OUT_ONE_DAY,
            GgufError::InPart { error, .. } => error.is_unsupported(),
            _ => false,
        }
    }

    /// Names the part (counted from 0) where there is more than one.
    pub(super) fn in_part(self, number: usize, count: usize) -> GgufError {
        if count == 1 {
            return self;
        }
        GgufError::InPart { part: number + 1, count, error: Box::new(self) }
    }
}
