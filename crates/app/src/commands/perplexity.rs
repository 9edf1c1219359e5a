//! `hearth perplexity MODEL`: how well a model foresees a text, by llama-perplexity's method.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use hearth_engine::protocol::{Event, Job};
use serde_json::json;

use super::run::read_input;
use crate::context::App;
use crate::engine::{EngineArgs, Need};
use crate::exit::{Code, Failure};

/// Measure the perplexity of a text: chunks of --ctx tokens, the second half of each is scored
///
/// The KV cache is f32 unless --kv says otherwise.
#[derive(Args)]
pub(crate) struct Perplexity {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// The text
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Tokens in a chunk
    #[arg(long, value_name = "N", default_value_t = 512)]
    ctx: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Perplexity {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = self.file.display().to_string();
        let file = File::open(&self.file).with_context(|| format!("cannot read {name}"))?;
        let text = read_input(file, &name)?;
        let model = app.open_model(&self.model, &format!("perplexity {}", self.model))?;
        let running = self.engine.start(app, model, Need::Exact { ctx: Some(self.ctx) })?;
        let mut scored = None;
        let stats = running.finish(app, Job::Perplexity { text, ctx: self.ctx }, |event| {
            if let Event::Perplexity { ppl, tokens, .. } = event {
                scored = Some((ppl, tokens));
            }
            Ok(())
        })?;
        let Some((ppl, tokens)) = scored else {
            let text = format!("the engine gave no perplexity ({:?})", stats.finish);
            return Err(Failure::new(Code::Engine, text));
        };
        let line = match self.json {
            true => json!({ "ppl": ppl, "tokens": tokens }).to_string(),
            false => format!("perplexity {ppl:.4} over {tokens} tokens"),
        };
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    }
}
