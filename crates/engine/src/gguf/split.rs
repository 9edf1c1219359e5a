//! Split files: which names belong together, and that the parts given are the parts meant.
//!
//! `Gguf::from_parts` joins them.

use super::{GgufError, Meta};

/// Key for the part's number, counted from 0.
const NO: &str = "split.no";
/// Key for the number of parts.
const COUNT: &str = "split.count";
/// Key for the number of tensors in all parts.
const TENSORS: &str = "split.tensors.count";

/// The names of all parts, from the name of the first: `m-00001-of-00003.gguf` gives three names,
/// any name without that ending itself alone. A later part's name is an error that names the first.
pub fn part_names(name: &str) -> Result<Vec<String>, GgufError> {
    let Some((prefix, part, count)) = parse(name) else {
        return Ok(vec![name.to_owned()]);
    };
    let named = |part: usize| format!("{prefix}-{part:05}-of-{count:05}.gguf");
    if part == 0 || part > count {
        return Err(GgufError::PartName { found: name.to_owned(), part, count });
    }
    if part != 1 {
        return Err(GgufError::NotFirstPart { found: name.to_owned(), first: named(1) });
    }
    Ok((1..=count).map(named).collect())
}

/// Prefix, part and count of a name that ends in `-00001-of-00003.gguf`.
fn parse(name: &str) -> Option<(&str, usize, usize)> {
    let five_digits = |text: &str| -> Option<usize> {
        (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, part) = rest.rsplit_once('-')?;
    Some((prefix, five_digits(part)?, five_digits(count)?))
}

/// Checks that the file with this metadata is part `number` (from 0) of `count`.
pub(super) fn check(meta: &Meta, number: usize, count: usize) -> Result<(), GgufError> {
    let expect = |key: &'static str, expected: u64, also: Option<u64>| {
        let found = meta.u64(key)?;
        // A file that is no part of anything leaves the keys out, or was merged from parts and says
        // 0.
        if found == Some(expected) || (count == 1 && (found.is_none() || found == also)) {
            return Ok(());
        }
        let found = found.map_or("nothing".to_owned(), |n| n.to_string());
        Err(GgufError::Split { part: number + 1, key, found, expected })
    };
    expect(COUNT, count as u64, Some(0))?;
    expect(NO, number as u64, None)
}

/// How many tensors all parts should hold, where the first part says so.
pub(super) fn tensor_count(meta: &Meta, count: usize) -> Result<Option<u64>, GgufError> {
    let found = meta.u64(TENSORS)?;
    Ok(found.filter(|_| count > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_names_the_others() {
        let names = part_names("a-00001-of-3-00001-of-00003.gguf").unwrap();
        assert_eq!(names[0], "a-00001-of-3-00001-of-00003.gguf");
        assert_eq!(names[2], "a-00001-of-3-00003-of-00003.gguf");
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn other_names_stand_alone() {
        for name in ["model.gguf", "x-0001-of-0003.gguf", "x-00001-of-00003", "-of-.gguf", "é"] {
            assert_eq!(part_names(name).unwrap(), [name]);
        }
    }

    #[test]
    fn a_later_part_names_the_first() {
        let error = part_names("m-00002-of-00003.gguf").unwrap_err().to_string();
        assert!(error.contains("m-00001-of-00003.gguf"), "{error}");
        assert!(part_names("m-00000-of-00003.gguf").is_err());
        assert!(part_names("m-00004-of-00003.gguf").is_err());
    }
}
