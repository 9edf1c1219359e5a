//! `hearth rerank MODEL QUERY [DOCUMENT]...`: documents, best first.

use std::io::Write;

use clap::Args;
use hearth_engine::protocol::EmbedInput;
use serde_json::json;

use super::embed::{rows, texts_or_lines};
use crate::context::App;
use crate::engine::{EngineArgs, Need};

/// Sort documents by how well they fit a query, best first
///
/// Takes an encoder that scores pairs. A line of output for each document: its score, its number
/// from 1, and its text.
#[derive(Args)]
pub(crate) struct Rerank {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// What the documents are to fit
    #[arg(value_name = "QUERY")]
    query: String,
    /// Documents; without any, the lines of stdin
    #[arg(value_name = "DOCUMENT")]
    documents: Vec<String>,
    /// Cut pairs that are longer than the model reads; otherwise they are an error
    #[arg(long)]
    truncate: bool,
    /// Print one JSON object, with all scores of each document and its tokens
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Rerank {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let model = app.open_model(&self.model, &format!("rerank {}", self.model))?;
        let documents = texts_or_lines(self.documents)?;
        let pair =
            |text: &String| EmbedInput { text: self.query.clone(), second: Some(text.clone()) };
        let running = self.engine.start(app, model, Need::Exact { ctx: None })?;
        let rows = rows(&running, app, documents.iter().map(pair).collect(), self.truncate)?;
        // Of several scores the first is that of a fit.
        let score = |index: usize| rows[index].values.first().copied().unwrap_or(f32::NAN);
        let mut order: Vec<usize> = (0..documents.len()).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let mut out = std::io::stdout().lock();
        if self.json {
            let one = |&index: &usize| {
                let row = &rows[index];
                json!({
                    "index": index, "score": score(index), "scores": row.values,
                    "tokens": row.tokens, "cut": row.cut,
                })
            };
            let all: Vec<_> = order.iter().map(one).collect();
            let all = json!({"model": self.model, "results": all});
            writeln!(out, "{}", serde_json::to_string(&all)?)?;
            return Ok(());
        }
        for index in order {
            writeln!(out, "{:9.4}  {}  {}", score(index), index + 1, documents[index])?;
        }
        Ok(())
    }
}
