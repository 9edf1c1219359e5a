//! `hearth logits MODEL`: the raw logits after every token of a given list, for comparisons.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use hearth_engine::protocol::{Event, Job};

use crate::adapters::AdapterArgs;
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
    adapters: AdapterArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Logits {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let adapters = self.adapters.open()?;
        let model = app.open_model(&self.model, &format!("logits {}", self.model))?;
        let ctx = Some(self.tokens.len());
        let mut running = self.engine.start(app, model, Need::Exact { ctx })?;
        running.adapters = adapters;
        running.adapters.give(app, &running)?;
        let unwritable = || format!("cannot write {}", self.out.display());
        let mut file = Output::create(&self.out).with_context(unwritable)?;
        let count = self.tokens.len();
        let mut rows = 0;
        let job = Job::Logits { tokens: self.tokens, adapters: running.adapters.uses() };
        let stats = running.finish(app, job, |event| {
            if let Event::Logits { width, values, .. } = event {
                rows += values.len() / width.max(1);
                for value in values {
                    file.bytes.write_all(&value.to_le_bytes()).with_context(unwritable)?;
                }
            }
            Ok(())
        })?;
        if rows != count {
            let text = format!("{rows} rows came for {count} tokens ({:?})", stats.finish);
            return Err(Failure::new(Code::Engine, text));
        }
        file.keep().with_context(unwritable)
    }
}

/// A file that takes its name when it is complete: until then what had the name stays as it is.
struct Output {
    path: PathBuf,
    /// Where the bytes go for now; `None` for what is no file (a pipe, a device).
    part: Option<PathBuf>,
    bytes: BufWriter<File>,
}

impl Output {
    fn create(path: &Path) -> io::Result<Self> {
        // A link stays a link, and what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (part, file) = if path.metadata().is_ok_and(|meta| !meta.is_file()) {
            (None, File::create(&path)?)
        } else {
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{}.part", std::process::id()));
            let part = path.with_file_name(name);
            let file = File::create(&part)?;
            (Some(part), file)
        };
        Ok(Self { path, part, bytes: BufWriter::new(file) })
    }

    fn keep(mut self) -> io::Result<()> {
        self.bytes.flush()?;
        if let Some(part) = &self.part {
            fs::rename(part, &self.path)?;
        }
        self.part = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // The error that brought us here is the one to report.
            let _ = fs::remove_file(part);
        }
    }
}
