//! `hearth logits MODEL`: the raw logits after every token of a given list, for comparisons.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use hearth_engine::protocol::{Event, Job};

use crate::context::App;
use crate::engine::{EngineArgs, Need};
use crate::exit::{Code, Failure};

/// Write the logits after each of these tokens, as little-endian f32 rows [tokens, vocabulary]
///
/// The KV cache is f32 unless --kv says otherwise. No special token is added.
#[derive(Args)]
pub(crate) struct Logits {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Logits {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let model = app.open_model(&self.model, &format!("logits {}", self.model))?;
        let ctx = Some(self.tokens.len());
        let running = self.engine.start(app, model, Need::Exact { ctx })?;
        let unwritable = || format!("cannot write {}", self.out.display());
        let mut file = BufWriter::new(File::create(&self.out).with_context(unwritable)?);
        let count = self.tokens.len();
        let mut rows = 0;
        let stats = running.finish(app, Job::Logits { tokens: self.tokens }, |event| {
            if let Event::Logits { width, values, .. } = event {
                rows += values.len() / width.max(1);
                for value in values {
                    file.write_all(&value.to_le_bytes()).with_context(unwritable)?;
                }
            }
            Ok(())
        })?;
        file.flush().with_context(unwritable)?;
        if rows != count {
            let text = format!("{rows} rows came for {count} tokens ({:?})", stats.finish);
            return Err(Failure::new(Code::Engine, text));
        }
        Ok(())
    }
}
