//! The configuration file: flat TOML, one line per setting. Keys are checked by the caller.

use crate::exit::{Code, Failure};
use std::path::Path;

/// Largest configuration file that is read, in bytes.
const CAP: u64 = 1 << 20;

/// Key and value pairs of the file. A missing file is empty unless the user `named` it.
pub(crate) fn read(path: &Path, named: bool) -> anyhow::Result<Vec<(String, String)>> {
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(path, &error.to_string())),
        Ok(meta) if meta.len() > CAP => {
            let found = format!("{} bytes; a configuration file has at most {CAP}", meta.len());
            return Err(unreadable(path, &found));
        }
        Ok(_) => std::fs::read_to_string(path).map_err(|e| unreadable(path, &e.to_string()))?,
    };
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| unreadable(path, &error.to_string()))?;
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
    }
}
