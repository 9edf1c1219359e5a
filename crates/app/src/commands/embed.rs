//! `hearth embed MODEL [TEXT]...`: the embedding of each text.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use hearth_engine::protocol::{self, EmbedInput, Embedded, Event, Job};
use serde_json::json;

use super::run::read_input;
use crate::context::App;
use crate::engine::{EngineArgs, Need, Running};
use crate::exit::{self, Code, Failure};

/// Bytes of text in one request: far below what a frame holds, and cut anywhere between texts.
const REQUEST_BYTES: usize = 4 << 20;

/// Print the embedding of each text: numbers that are close for texts of like meaning
///
/// Takes an encoder (BERT and its kin). A line of output for each text: a JSON array of length 1,
/// so that the product of two is the cosine of their angle.
#[derive(Args)]
pub(crate) struct Embed {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// Texts; without any, the lines of stdin
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Cut texts that are longer than the model reads; otherwise they are an error
    #[arg(long)]
    truncate: bool,
    /// Print one JSON object, with the tokens of each text and how many of them were cut off
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Embed {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let model = app.open_model(&self.model, &format!("embed {}", self.model))?;
        let texts = texts_or_lines(self.texts)?;
        let inputs = texts.into_iter().map(|text| EmbedInput { text, second: None }).collect();
        let running = self.engine.start(app, model, Need::Exact { ctx: None })?;
        let rows = rows(&running, app, inputs, self.truncate)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let width = rows.first().map_or(0, |row| row.values.len());
            let all: Vec<_> = rows
                .iter()
                .map(|row| json!({"tokens": row.tokens, "cut": row.cut, "embedding": row.values}))
                .collect();
            let all = json!({"model": self.model, "dimensions": width, "embeddings": all});
            writeln!(out, "{}", serde_json::to_string(&all)?)?;
            return Ok(());
        }
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(&row.values)?)?;
        }
        Ok(())
    }
}

/// The texts given, or the lines of stdin that are not empty.
pub(super) fn texts_or_lines(given: Vec<String>) -> anyhow::Result<Vec<String>> {
    if !given.is_empty() {
        return Ok(given);
    }
    if std::io::stdin().is_terminal() {
        let text = "no text: give some after the model, or lines on stdin";
        return Err(Failure::new(Code::Usage, text));
    }
    let bytes = read_input(std::io::stdin().lock(), "stdin")?;
    let text = String::from_utf8(bytes).context("stdin is not UTF-8")?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Failure::new(Code::Usage, "stdin holds no text"));
    }
    Ok(lines)
}

/// A row for each input, in their order; says how many texts were cut.
pub(super) fn rows(
    running: &Running,
    app: &App,
    inputs: Vec<EmbedInput>,
    truncate: bool,
) -> anyhow::Result<Vec<Embedded>> {
    let count = inputs.len();
    let mut rows = Vec::with_capacity(count);
    let mut rest = inputs.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut inputs, mut bytes) = (Vec::new(), 0);
        while let Some(input) = rest.next_if(|_| bytes < REQUEST_BYTES) {
            bytes += input.text.len() + input.second.as_ref().map_or(0, String::len);
            inputs.push(input);
        }
        let job = Job::Embed(protocol::Embed { inputs, truncate });
        running.finish(app, job, |event| {
            if let Event::Embedded { row, .. } = event {
                rows.push(row);
            }
            Ok(())
        })?;
    }
    if rows.len() != count {
        let text = format!("{} rows came for {count} texts", rows.len());
        return Err(Failure::new(Code::Engine, text));
    }
    let cut = rows.iter().filter(|row| row.cut > 0).count();
    if cut > 0 {
        exit::say(format_args!("{cut} of {count} texts were cut to what the model reads"));
    }
    Ok(rows)
}
