//! `hearth import FILE`: makes a file known to the store, where it is: no copy, bytes untouched.

use super::show;
use crate::context::App;
use crate::progress::PullProgress;
use clap::Args;
use hearth_hub::source::FileSource;
use hearth_hub::{Desk, Facts, ModelName, model_stem, open_path, readable};
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
        let facts = self.facts(app, &name)?;
        let store = app.store()?;
        let observer = PullProgress::new(app, name.as_str())?;
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

    /// What the file says about itself. A file that this engine cannot read may be for a later one:
    /// it gets its name all the same, and the user is told.
    fn facts(&self, app: &App, name: &ModelName) -> anyhow::Result<Facts> {
        let card = match show::describe(app, open_path(&self.file)?, None) {
            Ok(card) => Some(card),
            Err(error) => {
                app.note(format_args!("note: the engine cannot use this file: {error:#}"));
                None
            }
        };
        let file_name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let title = card.as_ref().and_then(|card| card.name.clone());
        Ok(Facts {
            name: name.clone(),
            about: title.map_or_else(|| format!("imported from {file_name}"), short),
            family: card.as_ref().map(|card| short(card.architecture.clone())),
            parameters: card.as_ref().map(|card| count(card.parameters)),
            quant: card.as_ref().and_then(|card| Some(short(card.tensor_types.first()?.0.clone()))),
            instruct: card.as_ref().map(|card| card.chat_template.is_some()),
            licence: card.and_then(|card| card.license).map(short),
        })
    }
}

/// A text of the file as the manifest keeps it: bounded, whatever the file says.
fn short(text: String) -> String {
    text.chars().take(200).collect()
}

/// A number of weights as people say it: `135M`, `1.2B`.
fn count(weights: u64) -> String {
    match weights {
        0..1_000_000 => weights.to_string(),
        1_000_000..1_000_000_000 => format!("{}M", (weights + 500_000) / 1_000_000),
        _ => format!("{:.1}B", weights as f64 / 1e9),
    }
}
