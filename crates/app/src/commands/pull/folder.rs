//! A model of the catalogue whose file is made here: a package brings its folder, the sealed child
//! makes the file of it.

use clap::ValueEnum;
use hearth_hub::source::{PackageFolder, Source, Supplied};
use hearth_hub::{Entry, HubError, Intake};

use crate::commands::import::Matrices;
use crate::context::App;
use crate::converter::Converter;

/// The file that the child makes of a package's folder.
pub(super) struct MadeOfPackage<'a> {
    pub(super) app: &'a App,
    pub(super) entry: &'a Entry,
    pub(super) folder: PackageFolder,
}

impl MadeOfPackage<'_> {
    fn broken(&self, error: impl std::fmt::Display) -> HubError {
        HubError::Source { source_name: self.label(), found: format!("{error:#}") }
    }
}

impl Source for MadeOfPackage<'_> {
    fn label(&self) -> String {
        format!("{} as {}", self.folder.label(), self.entry.quant)
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let Entry { name, quant, file, .. } = self.entry;
        let matrices = Matrices::from_str(quant, true).map_err(|error| self.broken(error))?;
        let files = self.folder.open(intake)?;
        let (app, from) = (self.app, self.folder.label());
        let converter = Converter::start(app, from, files, name.as_str(), matrices.into());
        let converter = converter.map_err(|error| self.broken(error))?;
        let file = converter.make(intake, file.clone())?;
        Ok(Supplied { files: vec![file], verified: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_hub::Catalogue;

    #[test]
    fn every_file_that_is_made_has_a_type_that_can_be_made() {
        let entries = Catalogue::builtin().entries;
        let made: Vec<&Entry> = entries.iter().filter(|entry| entry.folder.is_some()).collect();
        assert!(!made.is_empty());
        for entry in made {
            let matrices = Matrices::from_str(&entry.quant, true);
            assert!(matrices.is_ok_and(|one| one != Matrices::Auto), "{}", entry.name);
        }
    }
}
