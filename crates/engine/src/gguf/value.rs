//! Metadata values: one type for what the reader finds and what the writer writes.
//!
//! Strings and arrays are views of the map and are decoded on request. Keys are in `meta.rs`.

use hearth_kernels::bytes::Bytes;

/// The type of a metadata value, with GGUF's numeric ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// Type, name and bytes of one value (for a string: of its length; for an array: of its head).
const VALUE_TYPES: [(ValueType, &str, usize); 13] = [
    (ValueType::U8, "UINT8", 1),
    (ValueType::I8, "INT8", 1),
    (ValueType::U16, "UINT16", 2),
    (ValueType::I16, "INT16", 2),
    (ValueType::U32, "UINT32", 4),
    (ValueType::I32, "INT32", 4),
    (ValueType::F32, "FLOAT32", 4),
    (ValueType::Bool, "BOOL", 1),
    (ValueType::Str, "STRING", 8),
    (ValueType::Array, "ARRAY", 12),
    (ValueType::U64, "UINT64", 8),
    (ValueType::I64, "INT64", 8),
    (ValueType::F64, "FLOAT64", 8),
];

impl ValueType {
    /// The type with this GGUF id.
    pub fn from_id(id: u32) -> Option<ValueType> {
        VALUE_TYPES.get(id as usize).map(|row| row.0)
    }

    /// The field's name for it, as `UINT32`.
    pub fn name(self) -> &'static str {
        VALUE_TYPES[self as usize].1
    }

    /// Fewest bytes that one value takes in a file.
    pub(super) fn least_bytes(self) -> usize {
        VALUE_TYPES[self as usize].2
    }
}

/// A metadata value. Cloning copies no string or array.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// Not checked to be text: token pieces need not be.
    Str(Bytes),
    Array(Array),
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F32(_) => ValueType::F32,
            Value::F64(_) => ValueType::F64,
            Value::Bool(_) => ValueType::Bool,
            Value::Str(_) => ValueType::Str,
            Value::Array(_) => ValueType::Array,
        }
    }

    /// The value, if it is an integer of any width.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(n) => n.into(),
            Value::I8(n) => n.into(),
            Value::U16(n) => n.into(),
            Value::I16(n) => n.into(),
            Value::U32(n) => n.into(),
            Value::I32(n) => n.into(),
            Value::U64(n) => n.into(),
            Value::I64(n) => n.into(),
            _ => return None,
        })
    }

    /// A scalar from its little-endian bytes; `None` for strings, arrays and a wrong length.
    pub(super) fn scalar(kind: ValueType, bytes: &[u8]) -> Option<Value> {
        Some(match kind {
            ValueType::U8 => Value::U8(u8::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::Bool => Value::Bool(u8::from_le_bytes(bytes.try_into().ok()?) != 0),
            ValueType::Str | ValueType::Array => return None,
        })
    }

    /// Appends the bytes that a file holds for this value, after its type.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::U8(n) => out.extend(n.to_le_bytes()),
            Value::I8(n) => out.extend(n.to_le_bytes()),
            Value::U16(n) => out.extend(n.to_le_bytes()),
            Value::I16(n) => out.extend(n.to_le_bytes()),
            Value::U32(n) => out.extend(n.to_le_bytes()),
            Value::I32(n) => out.extend(n.to_le_bytes()),
            Value::U64(n) => out.extend(n.to_le_bytes()),
            Value::I64(n) => out.extend(n.to_le_bytes()),
            Value::F32(n) => out.extend(n.to_le_bytes()),
            Value::F64(n) => out.extend(n.to_le_bytes()),
            Value::Bool(b) => out.push(u8::from(*b)),
            Value::Str(bytes) => {
                out.extend((bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Value::Array(array) => {
                out.extend((array.kind as u32).to_le_bytes());
                out.extend((array.len as u64).to_le_bytes());
                out.extend_from_slice(&array.data);
            }
        }
    }

    /// An array of strings.
    pub fn strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Value {
        let mut data = Vec::new();
        let mut len = 0;
        for string in strings {
            let bytes = string.as_ref();
            data.extend((bytes.len() as u64).to_le_bytes());
            data.extend_from_slice(bytes);
            len += 1;
        }
        Value::Array(Array { kind: ValueType::Str, len, data: data.into() })
    }
}

/// What was found, for an error message: `UINT32 7`, `a STRING`, `an array of 3 INT8`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind().name();
        match self {
            Value::F32(n) => write!(f, "{kind} {n}"),
            Value::F64(n) => write!(f, "{kind} {n}"),
            Value::Bool(b) => write!(f, "{kind} {b}"),
            Value::Str(_) => write!(f, "a {kind}"),
            Value::Array(array) => write!(f, "an array of {} {}", array.len, array.kind.name()),
            integer => write!(f, "{kind} {}", integer.integer().unwrap_or_default()),
        }
    }
}

/// An array as it lies in the file. Its length and its strings' lengths were checked when read.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub(super) kind: ValueType,
    pub(super) len: usize,
    pub(super) data: Bytes,
}

impl Array {
    /// Type of the elements; never `Array`.
    pub fn kind(&self) -> ValueType {
        self.kind
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements one by one; empty for an array of strings, which `strings` reads.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.data
            .chunks_exact(self.kind.least_bytes())
            .filter_map(|bytes| Value::scalar(self.kind, bytes))
    }

    /// The strings, if it is an array of strings.
    pub fn strings(&self) -> Option<Strings> {
        (self.kind == ValueType::Str).then(|| Strings::index(self))
    }
}

/// An array of strings that stays in the map: four bytes of memory for each.
#[derive(Clone, Debug)]
pub struct Strings {
    data: Bytes,
    /// Where each string's length stands in `data`.
    starts: Vec<u32>,
}

impl Strings {
    /// Longest data that 32-bit starts can address.
    pub(super) const MOST_BYTES: u64 = u32::MAX as u64;

    fn index(array: &Array) -> Strings {
        let mut starts = Vec::with_capacity(array.len);
        let mut at = 0usize;
        for _ in 0..array.len {
            starts.push(at as u32);
            at += 8 + string_at(&array.data, at).len();
        }
        Strings { data: array.data.clone(), starts }
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// String `i`; empty if there is no such string.
    pub fn get(&self, i: usize) -> &[u8] {
        self.starts.get(i).map_or(&[], |&start| string_at(&self.data, start as usize))
    }

    /// All strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        let data: &[u8] = &self.data;
        self.starts.iter().map(move |&start| string_at(data, start as usize))
    }
}

/// The string whose length stands at `at`. It was checked when the file was read; should the file
/// have been changed since, the string is empty rather than out of bounds.
fn string_at(data: &[u8], at: usize) -> &[u8] {
    let read = || {
        let (len, rest) = data.get(at..)?.split_first_chunk()?;
        rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)
    };
    read().unwrap_or_default()
}

/// `From` for scalars and arrays of them.
macro_rules! from_number {
    ($($native:ty => $kind:ident),*) => {$(
        impl From<$native> for Value {
            fn from(value: $native) -> Value {
                Value::$kind(value)
            }
        }

        impl From<Vec<$native>> for Value {
            fn from(values: Vec<$native>) -> Value {
                let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                let (kind, len) = (ValueType::$kind, values.len());
                Value::Array(Array { kind, len, data: data.into() })
            }
        }
    )*};
}

from_number!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64,
    i64 => I64, f32 => F32, f64 => F64);

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<Vec<bool>> for Value {
    fn from(values: Vec<bool>) -> Value {
        let data: Vec<u8> = values.iter().map(|&b| u8::from(b)).collect();
        Value::Array(Array { kind: ValueType::Bool, len: data.len(), data: data.into() })
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Str(value.as_bytes().into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Str(value.into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_positions_in_the_list() {
        for (id, row) in VALUE_TYPES.iter().enumerate() {
            assert_eq!(row.0 as usize, id);
            assert_eq!(ValueType::from_id(id as u32), Some(row.0));
        }
        assert_eq!(ValueType::from_id(13), None);
    }

    #[test]
    fn strings_come_back_in_order() {
        let Value::Array(array) = Value::strings(["a", "", "déjà"]) else { unreachable!() };
        let strings = array.strings().unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["a".as_bytes(), b"", "déjà".as_bytes()]);
        assert_eq!(strings.get(2), "déjà".as_bytes());
        assert_eq!(strings.get(3), b"");
        assert_eq!(array.values().count(), 0);
    }

    #[test]
    fn an_array_spoiled_after_the_check_reads_as_empty() {
        let Value::Array(mut array) = Value::strings(["abc", "def"]) else { unreachable!() };
        let mut data = array.data.to_vec();
        data[0] = 200;
        array.data = data.into();
        assert!(array.strings().unwrap().iter().all(<[u8]>::is_empty));
    }
}
