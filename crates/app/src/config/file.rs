//! The configuration file: flat TOML, one line per setting. Keys are checked by the caller.

use crate::exit::{Code, Failure};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Largest configuration file that is read, in bytes.
const CAP: u64 = 1 << 20;

/// Key and value pairs of the file. A missing file is empty unless the user `named` it.
pub(crate) fn read(path: &Path, named: bool) -> anyhow::Result<Vec<(String, String)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !named => return Ok(Vec::new()),
        opened => opened.map_err(|error| unreadable(path, &error.to_string()))?,
    };
    let text = read_text(file, CAP).map_err(|error| unreadable(path, &error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // By its number and not quoted: a token may stand on it.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        unreadable(path, &format!("line {line}: {}", error.message()))
    })?;
    table
        .into_iter()
        .map(|(key, value)| match value {
            toml::Value::String(value) => Ok((key, value)),
            toml::Value::Integer(value) => Ok((key, value.to_string())),
            toml::Value::Boolean(value) => Ok((key, value.to_string())),
            other => {
                let found = format!(
                    "`{key}` is of type {}; expected a string, an integer or a boolean",
                    other.type_str()
                );
                Err(unreadable(path, &found))
            }
        })
        .collect()
}

/// Reads to the end, which must come within `cap` bytes: a device or a pipe may have none, and
/// neither says how long it is.
pub(crate) fn read_capped(from: impl Read, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(cap.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > cap {
        let text = format!("it has more than {cap} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// The same for a text.
pub(crate) fn read_text(from: impl Read, cap: u64) -> io::Result<String> {
    String::from_utf8(read_capped(from, cap)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(ErrorKind::InvalidData, format!("it is not UTF-8 text (at byte {at})"))
    })
}

fn unreadable(path: &Path, found: &str) -> anyhow::Error {
    let text = format!("cannot use the configuration file {}: {found}", path.display());
    Failure::new(Code::Usage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_empty_unless_named_and_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(read(&path, false).unwrap().is_empty());
        assert!(read(&path, true).is_err());
        std::fs::write(&path, "[store]\npath = 1\n").unwrap();
        let error = read(&path, false).unwrap_err().to_string();
        assert!(error.contains("`store` is of type table"), "{error}");
        std::fs::write(&path, "store = \n").unwrap();
        assert!(read(&path, false).is_err());
        std::fs::write(&path, "threads = 1\nhub_token = s3cret\n").unwrap();
        let error = read(&path, false).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let error = read_capped(io::repeat(0), 10).unwrap_err().to_string();
        assert!(error.contains("more than 10 bytes"), "{error}");
        assert_eq!(read_capped(&[7; 10][..], 10).unwrap(), [7; 10]);
        assert!(read_text(&[b'a', 0xff][..], 10).unwrap_err().to_string().contains("byte 1"));
        assert!(read(Path::new("/dev/zero"), true).is_err());
    }
}
