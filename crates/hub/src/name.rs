//! Names that are safe to use as parts of a path: of a model and of a file.
//!
//! Both types are checked when made and when read back from a manifest; code that builds paths
//! takes these types and never a plain string from outside.

use crate::HubError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest family or tag, in characters.
const WORD_CAP: usize = 64;
/// Longest file name, in characters.
const FILE_CAP: usize = 200;

/// A model's name, `family` or `family:tag`: lower-case letters, digits, `.`, `_` and `-`, each
/// part starting with a letter or digit. Upper case is lowered, so that names never differ by case
/// only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// `family:tag`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon.
    pub fn family(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }

    /// The name of the model's folder in the store: one path component, never hidden, no `..`.
    /// Two names may share it (`a-b:c`, `a:b-c`); the manifest inside tells whose it is.
    pub fn folder(&self) -> String {
        self.0.replace(':', "-")
    }

    /// A name made from a file's name: foreign characters become `-`.
    ///
    /// # Errors
    /// If no letter or digit is left.
    pub fn from_file_name(stem: &str) -> Result<Self, HubError> {
        let word: String = stem
            .chars()
            .take(WORD_CAP)
            .map(|c| if is_word_char(c.to_ascii_lowercase()) { c } else { '-' })
            .collect();
        word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).replace("..", "-").parse()
    }
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

fn check_word(word: &str) -> Result<(), &'static str> {
    if word.is_empty() {
        return Err("a part is empty");
    }
    if word.len() > WORD_CAP {
        return Err("a part is longer than 64 characters");
    }
    if !word.chars().all(is_word_char) {
        return Err("it has a character that names do not have");
    }
    if !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("a part does not start with a letter or digit");
    }
    if word.contains("..") {
        return Err("it has two dots in a row");
    }
    Ok(())
}

impl FromStr for ModelName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let name = text.to_ascii_lowercase();
        let checked = match name.split_once(':') {
            Some((family, tag)) => check_word(family).and_then(|()| check_word(tag)),
            None => check_word(&name),
        };
        match checked {
            Ok(()) => Ok(Self(name)),
            Err(why) => {
                let found: String = text.chars().take(80).flat_map(char::escape_debug).collect();
                Err(HubError::Name { found, why })
            }
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = HubError;

    fn try_from(text: String) -> Result<Self, HubError> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a model file inside the store: one visible path component that ends in `.gguf`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FileName {
    type Error = HubError;

    fn try_from(text: String) -> Result<Self, HubError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        let fine = text.len() <= FILE_CAP
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed)
            && text.ends_with(".gguf");
        if fine {
            return Ok(Self(text));
        }
        let found: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        Err(HubError::Name { found, why: "a model file is one visible name ending in `.gguf`" })
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    fn is_one_plain_component(text: &str) -> bool {
        let mut parts = Path::new(text).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
            && !text.starts_with('.')
            && !text.contains(['/', '\\', '\0', ':'])
            && !text.chars().any(char::is_control)
    }

    /// Shapes that reached a path in other programs.
    const HOSTILE: [&str; 16] = [
        "../x",
        "..",
        ".",
        "a/../b",
        "/etc/passwd",
        "a\\b",
        "a:..",
        "a:../../b",
        "a\0b",
        "a\nb",
        "-rf",
        "a:b:c",
        "",
        "a:",
        "x..y",
        "C:\\x",
    ];

    #[test]
    fn hostile_names_are_refused() {
        for text in HOSTILE {
            assert!(text.parse::<ModelName>().is_err(), "{text:?}");
            assert!(FileName::try_from(text.to_owned()).is_err(), "{text:?}");
            assert!(FileName::try_from(format!("{text}/../y.gguf")).is_err(), "{text:?}");
        }
    }

    #[test]
    fn good_names() {
        let name: ModelName = "SmolLM2:135M".parse().unwrap();
        assert_eq!((name.as_str(), name.family()), ("smollm2:135m", "smollm2"));
        assert_eq!(name.folder(), "smollm2-135m");
        let name = ModelName::from_file_name("My Model (v1.2)..Q4_K_M").unwrap();
        assert_eq!(name.as_str(), "my-model--v1.2--q4_k_m");
        assert!(ModelName::from_file_name("???").is_err());
        assert!(FileName::try_from("SmolLM2-135M-Instruct.Q4_1.gguf".to_owned()).is_ok());
    }

    proptest! {
        #[test]
        fn accepted_names_are_one_component(text in r"[a-zA-Z0-9._:/\\\-\x00-\x20~é]{0,20}") {
            if let Ok(name) = text.parse::<ModelName>() {
                prop_assert!(is_one_plain_component(&name.folder()), "{}", name.folder());
            }
            if let Ok(name) = FileName::try_from(format!("{text}.gguf")) {
                prop_assert!(is_one_plain_component(name.as_str()));
            }
            if let Ok(name) = ModelName::from_file_name(&text) {
                prop_assert!(is_one_plain_component(&name.folder()), "{}", name.folder());
            }
        }
    }
}
