//! What MODEL means on a command line: a model on a server, a path to a file, a model of the store,
//! or a model of the catalogue, in this order.

use crate::catalogue::{Catalogue, Entry};
use crate::name::ModelName;
use crate::source::Remote;
use crate::store::{Manifest, Store};
use crate::{HubError, suggest};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

/// What a word turned out to be.
#[derive(Debug)]
pub enum Target<'a> {
    /// A file of the user.
    File(PathBuf),
    /// A model that is in the store.
    Stored(Box<Manifest>),
    /// A model that can be pulled.
    Catalogue(&'a Entry),
    /// A model on a server, which is not in the store.
    Remote(Box<dyn Remote>),
}

/// Finds what `text` means. A word that begins like a place on a server is that; a word with a path
/// separator or the ending `.gguf` is a path; any other is a name, and a path only if no model has
/// that name and the file exists.
///
/// # Errors
/// [`HubError::NotFound`] with the nearest name there is; a place on a server that cannot be read;
/// a broken store.
pub fn resolve<'a>(
    text: &str,
    store: &Store,
    catalogue: &'a Catalogue,
) -> Result<Target<'a>, HubError> {
    if let Some(remote) = <dyn Remote>::parse(text) {
        let remote = remote?;
        return Ok(match store.by_reference(&remote.to_string())? {
            Some(manifest) => Target::Stored(Box::new(manifest)),
            None => Target::Remote(remote),
        });
    }
    let path = Path::new(text);
    let ends = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    if ends || text.contains(['/', MAIN_SEPARATOR]) {
        return Ok(Target::File(path.to_owned()));
    }
    let name = text.parse::<ModelName>();
    if let Ok(name) = &name {
        if let Some(manifest) = store.manifest(name)? {
            return Ok(Target::Stored(Box::new(manifest)));
        }
        if let Some(entry) = catalogue.find(name) {
            return Ok(match store.manifest(&entry.name)? {
                Some(manifest) => Target::Stored(Box::new(manifest)),
                None => Target::Catalogue(entry),
            });
        }
    }
    if path.is_file() {
        return Ok(Target::File(path.to_owned()));
    }
    Err(not_found(&name?, store, catalogue))
}

/// The error for a name that nothing has, with the nearest one there is.
fn not_found(name: &ModelName, store: &Store, catalogue: &Catalogue) -> HubError {
    let listed = store.list().unwrap_or_default();
    let stored = listed.iter().filter_map(|(_, manifest)| manifest.as_ref().ok());
    let names: Vec<&str> = stored
        .map(|manifest| manifest.facts.name.as_str())
        .chain(catalogue.entries.iter().map(|entry| entry.name.as_str()))
        .collect();
    // A word without a tag is compared with the families too.
    let family = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
    let families: Vec<String> = names.iter().map(|name| family(name)).collect();
    let near = suggest::nearest(name.as_str(), names.iter().copied()).or_else(|| {
        let near = suggest::nearest(name.as_str(), families.iter().map(String::as_str))?;
        names.iter().copied().find(|name| family(name) == near)
    });
    let hint = match near {
        Some(near) => format!(" (did you mean `{near}`?)"),
        None => String::new(),
    };
    HubError::NotFound { name: name.to_string(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_before_paths() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("models")).unwrap();
        let catalogue = Catalogue::builtin();
        let find = |text: &str| resolve(text, &store, &catalogue);
        assert!(matches!(find("smollm2:135m"), Ok(Target::Catalogue(_))));
        assert!(matches!(find("SmolLM2"), Ok(Target::Catalogue(_))));
        assert!(matches!(find("./smollm2"), Ok(Target::File(_))));
        assert!(matches!(find("x.GGUF"), Ok(Target::File(_))));
        let error = find("smolm2:135m").unwrap_err().to_string();
        assert!(error.contains("did you mean `smollm2:135m`?"), "{error}");
        let error = find("smolm2").unwrap_err().to_string();
        assert!(error.contains("did you mean `smollm2:135m`?"), "{error}");
        assert!(matches!(find("a:b:c"), Err(HubError::Name { .. })));
        assert!(!folder.path().join("models").exists(), "looking makes nothing");
    }
}
