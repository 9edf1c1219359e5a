//! Models split over several files: `name-00001-of-00003.gguf` and so on.

use crate::HubError;
use std::path::{Path, PathBuf};

/// Most parts that are opened.
const PARTS_CAP: u32 = 512;

/// All parts of the model that `path` belongs to, in order; just `path` if its name is not that of
/// a part. Whichever part is named, all are meant.
///
/// # Errors
/// If the file is not there, the number in its name is out of range or another part is missing.
pub(crate) fn parts(path: &Path) -> Result<Vec<PathBuf>, HubError> {
    let wrong = |found, next| HubError::Part { path: path.to_owned(), found, next };
    let Some((stem, number, count)) = path.file_name().and_then(|n| n.to_str()).and_then(parse)
    else {
        return Ok(vec![path.to_owned()]);
    };
    if !path.exists() {
        return Err(HubError::NoFile { path: path.to_owned() });
    }
    let found = format!("its name says part {number} of {count}");
    let named = |part: u32| format!("{stem}-{part:05}-of-{count:05}.gguf");
    if count > PARTS_CAP {
        let next = format!("at most {PARTS_CAP} parts are opened: join them into fewer files");
        return Err(wrong(found, next));
    }
    if count == 0 || number == 0 || number > count {
        let first = if count == 0 { format!("{stem}.gguf") } else { named(1) };
        let next =
            format!("there is no such part: give {first}, or rename the file if it is whole");
        return Err(wrong(found, next));
    }
    let paths: Vec<PathBuf> = (1..=count).map(|part| path.with_file_name(named(part))).collect();
    let missing: Vec<String> =
        (1..=count).zip(&paths).filter(|(_, path)| !path.exists()).map(|(n, _)| named(n)).collect();
    match missing.first() {
        None => Ok(paths),
        Some(first) => {
            let others = match missing.len() {
                1 => first.clone(),
                more => format!("{first} and {} more", more - 1),
            };
            let found = format!("{found}, and {others} is missing beside it");
            let next = format!("put all {count} parts into one folder and give {}", named(1));
            Err(wrong(found, next))
        }
    }
}

/// The name without the ending of a part; the whole stem where there is none.
pub fn stem(file_name: &str) -> &str {
    match parse(file_name) {
        Some((stem, _, _)) => stem,
        None => file_name.strip_suffix(".gguf").unwrap_or(file_name),
    }
}

/// Is this the name of one part of a split model?
pub(crate) fn is_part(file_name: &str) -> bool {
    parse(file_name).is_some()
}

/// Stem, number and count of `stem-00001-of-00003.gguf`.
pub(crate) fn parse(file_name: &str) -> Option<(&str, u32, u32)> {
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
        let words = "says part 3 of 3, and m-00002-of-00003.gguf is missing beside it; put all";
        assert!(error.contains(words), "{error}");
        assert!(error.ends_with("give m-00001-of-00003.gguf"), "{error}");
        std::fs::write(path(2), "").unwrap();
        assert_eq!(parts(&path(2)).unwrap(), vec![path(1), path(2), path(3)]);
        for (name, words) in [
            ("m-00000-of-00003.gguf", "no such part: give m-00001-of-00003.gguf"),
            ("m-00005-of-00003.gguf", "says part 5 of 3; there is no such part: give m-00001-"),
            ("m-00001-of-00000.gguf", "give m.gguf"),
            ("m-00001-of-99999.gguf", "at most 512 parts"),
        ] {
            let path = folder.path().join(name);
            assert!(matches!(parts(&path), Err(HubError::NoFile { .. })), "{name}");
            std::fs::write(&path, "").unwrap();
            let error = parts(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
