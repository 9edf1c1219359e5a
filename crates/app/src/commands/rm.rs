//! `hearth rm MODEL`: removes a model from the store; imported files stay where they are.

use crate::context::App;
use crate::exit::{Code, Failure};
use crate::terminal::plain;
use clap::Args;
use hearth_hub::{HubError, ModelName, Store, StoredFile, Target, readable, resolve};
use std::io::Write;

/// Remove a model from the store
#[derive(Args)]
pub(crate) struct Rm {
    /// Name in the store
    #[arg(value_name = "MODEL")]
    model: String,
}

impl Rm {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let store = app.store()?;
        // The plain name first: a model whose manifest is broken can still be removed by it.
        let direct =
            self.model.parse::<ModelName>().and_then(|name| Ok((remove(&store, &name)?, name)));
        let (said, name) = match direct {
            Ok(removed) => removed,
            Err(HubError::NotFound { .. } | HubError::Name { .. }) => {
                let name = match resolve(&self.model, &store, &app.catalogue)? {
                    Target::Stored(manifest) => manifest.facts.name,
                    Target::Catalogue(entry) => {
                        let text = format!("`{}` is not in the store", entry.name);
                        return Err(Failure::new(Code::NotFound, text));
                    }
                    Target::Remote(remote) => {
                        let text = format!("`{remote}` is not in the store");
                        return Err(Failure::new(Code::NotFound, text));
                    }
                    Target::File(path) => {
                        let text = format!(
                            "{} is a path, and `rm` removes models of the store by name",
                            path.display()
                        );
                        return Err(Failure::new(Code::Usage, text));
                    }
                };
                (remove(&store, &name)?, name)
            }
            Err(error) => return Err(error.into()),
        };
        writeln!(std::io::stdout(), "removed {name} {said}")?;
        Ok(())
    }
}

/// Removes a model and says what that did: freed space, or left the user's own file alone.
fn remove(store: &Store, name: &ModelName) -> Result<String, HubError> {
    // A manifest that cannot be read does not keep its model from being removed.
    let manifest = store.manifest(name).ok().flatten();
    let freed = store.remove(name)?;
    let mut kept =
        manifest.iter().flat_map(|manifest| &manifest.files).filter_map(|file| match file {
            StoredFile::InPlace { path, .. } => Some(plain(&path.display().to_string())),
            StoredFile::Store { .. } => None,
        });
    Ok(match (kept.next(), kept.count()) {
        (None, _) => format!("({} freed)", readable(freed)),
        (Some(path), 0) => format!("from the list; the file {path} is untouched"),
        (Some(path), more) => {
            format!("from the list; the file {path} and its {more} other parts are untouched")
        }
    })
}
