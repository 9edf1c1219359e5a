//! `hearth tokenize MODEL`: stdin to token ids.

use std::io::Write;

use clap::Args;
use hearth_engine::protocol::{Event, Job};

use super::run::read_input;
use crate::context::App;
use crate::engine::{EngineArgs, Need};

/// Print the token ids of stdin, byte for byte
#[derive(Args)]
pub(crate) struct Tokenize {
    /// Name in the store or the catalogue, or a path; a file without tensors will do
    #[arg(value_name = "MODEL")]
    model: String,
    /// Add no special token at all
    #[arg(long)]
    no_bos: bool,
    /// Read special tokens written in the text as such; otherwise they are text
    #[arg(long)]
    parse_special: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Tokenize {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let model = app.open_model(&self.model, &format!("tokenize {}", self.model))?;
        let text = read_input(std::io::stdin().lock(), "stdin")?;
        let running = self.engine.start(app, model, Need::Vocabulary)?;
        let job =
            Job::Tokenize { text, add_special: !self.no_bos, parse_special: self.parse_special };
        let mut ids = Vec::new();
        running.finish(app, job, |event| {
            if let Event::Tokens { tokens, .. } = event {
                ids.extend(tokens);
            }
            Ok(())
        })?;
        let line = if self.json {
            serde_json::to_string(&ids)?
        } else {
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        };
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    }
}
