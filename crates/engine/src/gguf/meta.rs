//! Key-value pairs, read with checks, and typed access to them.
//!
//! Writers disagree about integer widths for the same key, so integers widen and narrow with a
//! range check; nothing else converts, but for FLOAT64 to f32. A missing key is `None`, another
//! type an error.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::GgufError;
use super::header::Cursor;
use super::value::{Array, Strings, Value, ValueType};

/// Longest key in bytes (the format's own limit).
const KEY_MOST: u64 = 65_535;
/// A key of one byte and a value of one byte.
const LEAST: u64 = 8 + 1 + 4 + 1;
/// Alignment of tensor data where the file does not say.
const ALIGNMENT: u32 = 32;
/// Largest alignment accepted; more serves no machine and lets a header claim a file of padding.
const ALIGNMENT_MOST: u32 = 1 << 20;

/// All key-value pairs of a file.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    entries: BTreeMap<String, Value>,
}

impl Meta {
    /// Reads `count` pairs.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: u64) -> Result<Meta, GgufError> {
        cursor.check_count("keys", count, LEAST)?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.name("a key", KEY_MOST)?;
            let value = read_value(cursor, key)?;
            match entries.entry(key.to_owned()) {
                Entry::Vacant(vacant) => vacant.insert(value),
                Entry::Occupied(_) => {
                    return Err(GgufError::DuplicateKey { key: key.to_owned() });
                }
            };
        }
        Ok(Meta { entries })
    }

    /// The alignment of tensor data in bytes.
    pub(super) fn alignment(&self) -> Result<u32, GgufError> {
        let key = "general.alignment";
        let found = match self.get(key) {
            None => ALIGNMENT,
            Some(&Value::U32(found)) => found,
            Some(other) => return Err(wrong_type(key, other, "UINT32")),
        };
        if !found.is_power_of_two() || found > ALIGNMENT_MOST {
            return Err(GgufError::Alignment { found, most: ALIGNMENT_MOST });
        }
        Ok(found)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// A string, which must be UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Str(bytes)) => std::str::from_utf8(bytes).map(Some).map_err(|error| {
                GgufError::NotText { key: key.to_owned(), at: error.valid_up_to() }
            }),
            Some(other) => Err(wrong_type(key, other, "a STRING")),
        }
    }

    /// An integer of any width that fits in 32 bits and is not negative.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.get(key).map(|value| integer(key, value, "an unsigned 32-bit integer")).transpose()
    }

    /// An integer of any width that is not negative.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.get(key).map(|value| integer(key, value, "an unsigned 64-bit integer")).transpose()
    }

    /// A FLOAT32 or FLOAT64.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.get(key).map(|value| float(key, value, "a FLOAT32")).transpose()
    }

    /// A BOOL.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.get(key).map(|value| boolean(key, value, "a BOOL")).transpose()
    }

    /// An array of strings; they stay in the map.
    pub fn strs(&self, key: &str) -> Result<Option<Strings>, GgufError> {
        let expected = "an array of STRING";
        self.array(key, expected)?
            .map(|array| array.strings().ok_or_else(|| self.not_that_array(key, expected)))
            .transpose()
    }

    /// An array of integers of any width, each in the range of an i32.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        self.decode(key, "an array of signed 32-bit integers", integer)
    }

    /// An array of integers of any width, each in the range of a u32.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>, GgufError> {
        self.decode(key, "an array of unsigned 32-bit integers", integer)
    }

    /// An array of FLOAT32 or FLOAT64.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        self.decode(key, "an array of FLOAT32", float)
    }

    /// An array of BOOL.
    pub fn bools(&self, key: &str) -> Result<Option<Vec<bool>>, GgufError> {
        self.decode(key, "an array of BOOL", boolean)
    }

    fn array(&self, key: &str, expected: &'static str) -> Result<Option<&Array>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => Err(wrong_type(key, other, expected)),
        }
    }

    /// The error for an array whose elements have another type.
    fn not_that_array(&self, key: &str, expected: &'static str) -> GgufError {
        let found = self.get(key).map_or_else(String::new, Value::to_string);
        GgufError::WrongType { key: key.to_owned(), found, expected }
    }

    fn decode<T>(
        &self,
        key: &str,
        expected: &'static str,
        one: impl Fn(&str, &Value, &'static str) -> Result<T, GgufError>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        let Some(array) = self.array(key, expected)? else { return Ok(None) };
        if array.kind() == ValueType::Str {
            return Err(self.not_that_array(key, expected));
        }
        let decode = |value: Value| {
            one(key, &value, expected).map_err(|error| match error {
                GgufError::WrongType { .. } => self.not_that_array(key, expected),
                other => other,
            })
        };
        array.values().map(decode).collect::<Result<_, _>>().map(Some)
    }
}

fn wrong_type(key: &str, found: &Value, expected: &'static str) -> GgufError {
    GgufError::WrongType { key: key.to_owned(), found: found.to_string(), expected }
}

fn integer<T: TryFrom<i128>>(
    key: &str,
    value: &Value,
    expected: &'static str,
) -> Result<T, GgufError> {
    let found = value.integer().ok_or_else(|| wrong_type(key, value, expected))?;
    T::try_from(found).map_err(|_| GgufError::OutOfRange {
        key: key.to_owned(),
        found: value.to_string(),
        expected,
    })
}

fn float(key: &str, value: &Value, expected: &'static str) -> Result<f32, GgufError> {
    match *value {
        Value::F32(n) => Ok(n),
        Value::F64(n) => Ok(n as f32),
        _ => Err(wrong_type(key, value, expected)),
    }
}

fn boolean(key: &str, value: &Value, expected: &'static str) -> Result<bool, GgufError> {
    match *value {
        Value::Bool(b) => Ok(b),
        _ => Err(wrong_type(key, value, expected)),
    }
}

fn read_kind(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType, GgufError> {
    let found = cursor.u32("a value's type")?;
    ValueType::from_id(found).ok_or_else(|| GgufError::ValueType { key: key.to_owned(), found })
}

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufError> {
    match read_kind(cursor, key)? {
        ValueType::Str => {
            let len = cursor.u64("a string's length")?;
            Ok(Value::Str(cursor.take_view("a string value", len)?))
        }
        ValueType::Array => read_array(cursor, key).map(Value::Array),
        kind => {
            let bytes = cursor.take("a value", kind.least_bytes() as u64)?;
            Ok(Value::scalar(kind, bytes).expect("a scalar type, and as many bytes as it has"))
        }
    }
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, GgufError> {
    let kind = read_kind(cursor, key)?;
    if kind == ValueType::Array {
        return Err(GgufError::NestedArray { key: key.to_owned() });
    }
    let count = cursor.u64("an array's length")?;
    let least = kind.least_bytes() as u64;
    cursor.check_count("array elements", count, least)?;
    let start = cursor.position();
    if kind == ValueType::Str {
        for _ in 0..count {
            cursor.string("a string in an array")?;
        }
        let found = (cursor.position() - start) as u64;
        if found > Strings::MOST_BYTES {
            let most = Strings::MOST_BYTES;
            return Err(GgufError::ArrayBytes { key: key.to_owned(), found, most });
        }
    } else {
        // No overflow: `check_count` compared the product with the bytes left.
        cursor.take("an array", count * least)?;
    }
    Ok(Array { kind, len: count as usize, data: cursor.view_from(start) })
}
