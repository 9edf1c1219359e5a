//! Models split over several files: `name-00001-of-00003.gguf` and so on.

use crate::HubError;
use std::path::{Path, PathBuf};

/// Most parts that are opened.
const PARTS_CAP: u32 = 512;

/// All parts of the model that `path` belongs to, in order; just `path` if its name is not that of
/// a part. Whichever part is named, all are meant.
///
/// # Errors
/// If the number in the name is out of range or a part is missing.
pub(crate) fn parts(path: &Path) -> Result<Vec<PathBuf>, HubError> {
    let not = |found: String| HubError::NotAModel { path: path.to_owned(), found };
    let Some((stem, number, count)) = path.file_name().and_then(|n| n.to_str()).and_then(parse)
    else {
        return Ok(vec![path.to_owned()]);
    };
    if count > PARTS_CAP || number == 0 || number > count {
        return Err(not(format!(
            "its name says part {number} of {count}; at most {PARTS_CAP} parts are opened"
        )));
    }
    let paths: Vec<PathBuf> = (1..=count)
        .map(|part| path.with_file_name(format!("{stem}-{part:05}-of-{count:05}.gguf")))
        .collect();
    match paths.iter().find(|part| !part.exists()) {
        Some(missing) => {
            Err(not(format!("it is one of {count} parts, and {} is missing", missing.display())))
        }
        None => Ok(paths),
    }
}

/// The name without the ending of a part; the whole stem where there is none.
pub fn stem(file_name: &str) -> &str {
    match parse(file_name) {
        Some((stem, _, _)) => stem,
        None => file_name.strip_suffix(".gguf").unwrap_or(file_name),
    }
}

/// Stem, number and count of `stem-00001-of-00003.gguf`.
fn parse(file_name: &str) -> Option<(&str, u32, u32)> {
    let digits = |text: &str| {
        let five = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        five.then(|| text.parse().ok()).flatten()
    };
    let (rest, count) = file_name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    Some((stem, digits(number)?, digits(count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse("a-b-00002-of-00003.gguf"), Some(("a-b", 2, 3)));
        assert_eq!(stem("a-b-00002-of-00003.gguf"), "a-b");
        assert_eq!(stem("a-b.Q4_1.gguf"), "a-b.Q4_1");
        for name in
            ["a-0002-of-00003.gguf", "a-00002-of-00003.bin", "a-+0002-of-00003.gguf", "a.gguf"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn all_parts_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n: u32| folder.path().join(format!("m-{n:05}-of-00003.gguf"));
        std::fs::write(path(1), "").unwrap();
        std::fs::write(path(3), "").unwrap();
        let error = parts(&path(3)).unwrap_err().to_string();
        assert!(error.contains("m-00002-of-00003.gguf is missing"), "{error}");
        std::fs::write(path(2), "").unwrap();
        assert_eq!(parts(&path(2)).unwrap(), vec![path(1), path(2), path(3)]);
        assert!(parts(&folder.path().join("m-00000-of-00003.gguf")).is_err());
        assert!(parts(&folder.path().join("m-00001-of-99999.gguf")).is_err());
    }
}
