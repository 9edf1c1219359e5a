//! `hearth rm MODEL`: removes a model from the store; imported files stay where they are.

use crate::context::App;
use crate::exit::{Code, Failure};
use clap::Args;
use hearth_hub::{HubError, ModelName, Target, readable, resolve};
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
        let direct = self.model.parse::<ModelName>().and_then(|name| {
            let freed = store.remove(&name)?;
            Ok((name, freed))
        });
        let (name, freed) = match direct {
            Ok(removed) => removed,
            Err(HubError::NotFound { .. } | HubError::Name { .. }) => {
                let name = match resolve(&self.model, &store, &app.catalogue)? {
                    Target::Stored(manifest) => manifest.facts.name,
                    Target::Catalogue(entry) => {
                        let text = format!("`{}` is not in the store", entry.name);
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
                let freed = store.remove(&name)?;
                (name, freed)
            }
            Err(error) => return Err(error.into()),
        };
        writeln!(std::io::stdout(), "removed {name} ({} freed)", readable(freed))?;
        Ok(())
    }
}
