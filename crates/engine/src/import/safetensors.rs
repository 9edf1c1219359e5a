//! The header of a safetensors file: which tensors there are and where their bytes lie.
//!
//! Eight bytes of length, that much JSON, then the data. What the format asks for is checked in
//! full, because two readers of one file must see the same model: names come once, a tensor has as
//! many bytes as its shape says, and the tensors fill the data from its first byte to its last with
//! nothing between them and nothing twice.
//! Source: the format's description, <https://github.com/huggingface/safetensors>.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::ImportError;
use super::folder::{NamedFile, parse, twice};

/// Most bytes of a header. Those of the largest models known have 5 MB.
pub(super) const MOST_HEADER_BYTES: u64 = 16 << 20;

/// Bytes of the length before the header.
const LENGTH_BYTES: u64 = 8;

/// The entry of a header that is no tensor.
const METADATA: &str = "__metadata__";

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Of this name; its elements cannot be read as numbers here.
    Other(&'static str),
}

/// Names and bits of the element types.
const DTYPES: [(&str, Dtype, u64); 18] = [
    ("F32", Dtype::F32, 32),
    ("F16", Dtype::F16, 16),
    ("BF16", Dtype::Bf16, 16),
    ("F64", Dtype::Other("F64"), 64),
    ("C64", Dtype::Other("C64"), 64),
    ("I64", Dtype::Other("I64"), 64),
    ("U64", Dtype::Other("U64"), 64),
    ("I32", Dtype::Other("I32"), 32),
    ("U32", Dtype::Other("U32"), 32),
    ("I16", Dtype::Other("I16"), 16),
    ("U16", Dtype::Other("U16"), 16),
    ("I8", Dtype::Other("I8"), 8),
    ("U8", Dtype::Other("U8"), 8),
    ("BOOL", Dtype::Other("BOOL"), 8),
    ("F8_E4M3", Dtype::Other("F8_E4M3"), 8),
    ("F8_E5M2", Dtype::Other("F8_E5M2"), 8),
    ("F8_E8M0", Dtype::Other("F8_E8M0"), 8),
    ("F4", Dtype::Other("F4"), 4),
];

impl Dtype {
    /// The format's name for it.
    pub fn name(self) -> &'static str {
        DTYPES.iter().find(|(_, dtype, _)| *dtype == self).map_or("", |(name, ..)| name)
    }

    /// Bytes of an element that can be read; 0 of others.
    pub(super) fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::Other(_) => 0,
        }
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its shape, the row's length last.
    pub shape: Vec<u64>,
    /// Where its bytes begin in the file.
    pub at: u64,
    /// How many there are.
    pub bytes: u64,
}

/// An entry of the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The entries of a header but for the metadata.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut entries, mut metadata) = (Vec::new(), 0);
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                metadata += 1;
            } else {
                let entry = map.next_value();
                let entry =
                    entry.map_err(|error| A::Error::custom(format!("`{}`: {error}", shown(&name))));
                entries.push((name, entry?));
            }
        }
        match twice(entries.iter().map(|(name, _)| name.as_str())) {
            Some(name) => Err(A::Error::custom(format!("`{}` comes twice", shown(name)))),
            None if metadata > 1 => Err(A::Error::custom(format!("`{METADATA}` comes twice"))),
            None => Ok(Header(entries)),
        }
    }
}

/// A foreign text in a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(96).flat_map(char::escape_debug).collect()
}

/// The tensors of a file, by name.
pub(super) fn read(file: &NamedFile) -> Result<Vec<Tensor>, ImportError> {
    let mut length = [0; LENGTH_BYTES as usize];
    if file.bytes < LENGTH_BYTES {
        let found = format!("{} bytes", file.bytes);
        return Err(ImportError::damaged(&file.name, found, "at least the 8 of a header's length"));
    }
    file.read_at(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    let most = MOST_HEADER_BYTES.min(file.bytes - LENGTH_BYTES);
    if length > most {
        let found = format!("a header of {length} bytes in a file of {}", file.bytes);
        return Err(ImportError::damaged(&file.name, found, format!("at most {most}")));
    }
    let mut header = vec![0; length as usize];
    file.read_at(LENGTH_BYTES, &mut header)?;
    let start = LENGTH_BYTES + length;
    parse_header(&file.name, &header, start, file.bytes - start)
}

/// The tensors of a header, by name; the `bytes` of data begin at `start` in the file called
/// `file`.
///
/// # Errors
/// If anything in it is not as the format asks.
pub fn parse_header(
    file: &str,
    header: &[u8],
    start: u64,
    bytes: u64,
) -> Result<Vec<Tensor>, ImportError> {
    if header.first() != Some(&b'{') {
        let found = match header.first() {
            Some(byte) => format!("a header that begins with \"{}\"", byte.escape_ascii()),
            None => "an empty header".to_owned(),
        };
        return Err(ImportError::damaged(file, found, "a header that begins with \"{\""));
    }
    let Header(entries) = parse(file, header)?;
    let tensor = |(name, entry)| tensor(file, name, entry, start, bytes);
    let mut tensors = entries.into_iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by_key(|tensor| (tensor.at, tensor.bytes));
    check_cover(file, &tensors, start, bytes)?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// One entry, checked by itself.
fn tensor(
    file: &str,
    name: String,
    entry: Entry,
    start: u64,
    bytes: u64,
) -> Result<Tensor, ImportError> {
    let wrong = |found: String, expected: String| {
        ImportError::damaged(file, format!("tensor `{}` with {found}", shown(&name)), expected)
    };
    let Entry { dtype, shape, data_offsets: (begin, end) } = entry;
    let Some((_, dtype, bits)) = DTYPES.iter().find(|(known, ..)| *known == dtype) else {
        return Err(ImportError::Unsupported(format!(
            "{file}: tensor `{}` is of type \"{}\", which is not known here; expected F32, F16 \
             or BF16: import the weights as their makers published them",
            shown(&name),
            shown(&dtype)
        )));
    };
    if begin > end || end > bytes {
        let found = format!("data from byte {begin} to {end}");
        return Err(wrong(found, format!("a range within the {bytes} bytes of data")));
    }
    let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let size = elements.and_then(|n| n.checked_mul(*bits)).filter(|bits| bits % 8 == 0);
    if size.map(|bits| bits / 8) != Some(end - begin) {
        let found = format!("{} bytes of data", end - begin);
        return Err(wrong(found, format!("what {} of shape {shape:?} takes", dtype.name())));
    }
    Ok(Tensor { name, dtype: *dtype, shape, at: start + begin, bytes: end - begin })
}

/// The tensors, in the order of their data, fill it without a gap or an overlap.
fn check_cover(file: &str, tensors: &[Tensor], start: u64, bytes: u64) -> Result<(), ImportError> {
    let mut end = start;
    for tensor in tensors {
        if tensor.at != end {
            let found = format!("data of tensor `{}` at byte {}", tensor.name, tensor.at - start);
            let expected = format!("at byte {}, where the tensor before it ends", end - start);
            return Err(ImportError::damaged(file, found, expected));
        }
        end = tensor.at + tensor.bytes;
    }
    if end - start != bytes {
        let found = format!("{bytes} bytes of data");
        let expected = format!("{}, the sum of all tensors", end - start);
        return Err(ImportError::damaged(file, found, expected));
    }
    Ok(())
}
