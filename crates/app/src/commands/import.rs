//! `hearth import FILE`: makes a file known to the store, where it is: no copy, bytes untouched.

use super::show;
use crate::context::App;
use crate::progress::PullProgress;
use clap::Args;
use hearth_hub::source::FileSource;
use hearth_hub::{Desk, Facts, ModelName, model_stem, readable};
use std::io::Write;
use std::path::PathBuf;

/// Give a GGUF file a name in the store, without copying it
#[derive(Args)]
pub(crate) struct Import {
    /// A GGUF file; of a split model, any part
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name to give it; made from the file's name if absent
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print what is now in the store as JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let file_name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let name: ModelName = match &self.name {
            Some(name) => name.parse()?,
            None => ModelName::from_file_name(model_stem(&file_name))?,
        };
        let facts = Facts {
            name: name.clone(),
            about: format!("imported from {file_name}"),
            family: None,
            parameters: None,
            quant: None,
            instruct: None,
            licence: None,
        };
        let store = app.store()?;
        let observer = PullProgress::new(app.quiet, name.as_str());
        let ledger = app.ledger();
        let desk = Desk { observer: &observer, ledger: &ledger, command: "import" };
        // Absolute, so that the manifest's source means the same from any folder.
        let path = std::path::absolute(&self.file)?;
        let installed = store.install(&facts, &FileSource::new(path), desk)?;
        let manifest = &installed.manifest;
        if self.json {
            return show::print_json(&show::json_of(manifest, &store));
        }
        let size = readable(manifest.bytes());
        let state = if installed.fresh { "is now" } else { "was already" };
        writeln!(std::io::stdout(), "{name} ({size}, in place) {state} in the store")?;
        Ok(())
    }
}
