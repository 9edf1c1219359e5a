//! What the store knows of a model: a small TOML file beside the model, written last.

use super::partial::write_synced;
use super::sync_folder;
use crate::HubError;
use crate::digest::Sha256;
use crate::name::{FileName, ModelName};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the manifest in a model's folder.
pub(crate) const FILE: &str = "manifest.toml";
/// The layout of this file; a store written by a later layout is refused, not guessed at.
const VERSION: u32 = 1;
/// Largest manifest that is read, in bytes.
const CAP: u64 = 1 << 20;

/// What is known of a model apart from its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its name.
    pub name: ModelName,
    /// What it is, in one line.
    pub about: String,
    /// The family as its makers write it, if known.
    pub family: Option<String>,
    /// Number of parameters as people say it, if known.
    pub parameters: Option<String>,
    /// Quantisation, if known.
    pub quant: Option<String>,
    /// True for a model that chats, false for a base model, if known.
    pub instruct: Option<bool>,
    /// The licence, if known.
    pub licence: Option<String>,
}

/// A model in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// What it is.
    #[serde(flatten)]
    pub facts: Facts,
    /// Where it came from.
    pub source: String,
    /// What the user named to have it from there, if that was no name of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When, in UTC.
    pub installed: String,
    /// True if the digest of every file equals the one that the catalogue, the server's list or the
    /// user said beforehand.
    pub verified: bool,
    /// Damage that was found and is not repaired yet, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// The files, in the order of their parts.
    pub files: Vec<StoredFile>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "kebab-case")]
pub enum StoredFile {
    /// The store holds the bytes.
    Store {
        /// Its name in the model's folder.
        name: FileName,
        /// Its size.
        bytes: u64,
        /// Its digest, taken here.
        sha256: Sha256,
    },
    /// The bytes stay where the user has them.
    InPlace {
        /// Where.
        path: PathBuf,
        /// Its size at import.
        bytes: u64,
        /// Its digest at import.
        sha256: Sha256,
        /// Its time of last change at import, in nanoseconds since 1970.
        modified_ns: i64,
    },
}

impl StoredFile {
    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Store { bytes, .. } | Self::InPlace { bytes, .. } => *bytes,
        }
    }

    /// Digest.
    pub fn sha256(&self) -> Sha256 {
        match self {
            Self::Store { sha256, .. } | Self::InPlace { sha256, .. } => *sha256,
        }
    }

    /// Where the bytes are, given the model's folder.
    pub fn path(&self, folder: &Path) -> PathBuf {
        match self {
            Self::Store { name, .. } => folder.join(name.as_str()),
            Self::InPlace { path, .. } => path.clone(),
        }
    }
}

impl Manifest {
    /// A manifest dated now.
    pub(crate) fn new(
        facts: Facts,
        source: String,
        verified: bool,
        files: Vec<StoredFile>,
    ) -> Self {
        let installed = crate::clock::now_rfc3339();
        let (version, reference, damaged) = (VERSION, None, None);
        Self { version, facts, source, reference, installed, verified, damaged, files }
    }

    /// Size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes()))
    }

    /// True if the bytes stay where the user has them.
    pub fn in_place(&self) -> bool {
        self.files.iter().any(|file| matches!(file, StoredFile::InPlace { .. }))
    }

    /// Writes the manifest into a model's folder: the whole of it or nothing, even if the power
    /// goes right after.
    pub(super) fn write(&self, folder: &Path) -> Result<(), HubError> {
        let (path, new) = (folder.join(FILE), folder.join("manifest.tmp"));
        let text = toml::to_string(self)
            .map_err(|e| HubError::Manifest { path: path.clone(), found: e.to_string() })?;
        write_synced(&new, text.as_bytes())?;
        std::fs::rename(&new, &path).map_err(HubError::io("write", &path))?;
        sync_folder(folder)
    }

    /// Reads the manifest of a model's folder; `None` if there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, HubError> {
        let path = folder.join(FILE);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HubError::io("read", &path)(error)),
            Ok(meta) if !meta.is_file() || meta.len() > CAP => {
                let found = "found something that is not a small regular file".to_owned();
                return Err(HubError::Manifest { path, found });
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(HubError::io("read", &path))?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|error| HubError::Manifest { path: path.clone(), found: error.to_string() })?;
        if manifest.version != VERSION || manifest.files.is_empty() {
            let found = format!(
                "found version {} with {} files, expected version {VERSION} with at least one",
                manifest.version,
                manifest.files.len()
            );
            return Err(HubError::Manifest { path, found });
        }
        Ok(Some(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let facts = Facts {
            name: "a:b".parse().unwrap(),
            about: "a model".into(),
            family: None,
            parameters: None,
            quant: Some("Q4_1".into()),
            instruct: Some(true),
            licence: None,
        };
        let sha256 = Sha256::of(b"x");
        let name = FileName::try_from("a.gguf".to_owned()).unwrap();
        let file = StoredFile::Store { name, bytes: 1, sha256 };
        let path = "/m/b.gguf".into();
        let other = StoredFile::InPlace { path, bytes: 2, sha256, modified_ns: 5 };
        Manifest::new(facts, "a test".into(), false, vec![file, other])
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        let manifest = manifest();
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest));
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let good = toml::to_string(&manifest()).unwrap();
        let digest = Sha256::of(b"x").to_string();
        for bad in [
            good.replace("\"a.gguf\"", "\"../a.gguf\""),
            good.replace("\"a.gguf\"", "\"/etc/passwd\""),
            good.replace(&digest, "../../x"),
            good.replace("\"a:b\"", "\"../b\""),
            good.replace("version = 1", "version = 2"),
            good.replace("bytes = 1", "bytes = -1"),
            String::new(),
        ] {
            assert_ne!(bad, good);
            std::fs::write(folder.path().join(FILE), &bad).unwrap();
            let error = Manifest::read(folder.path()).unwrap_err();
            assert!(matches!(error, HubError::Manifest { .. }), "{error}");
        }
    }
}
