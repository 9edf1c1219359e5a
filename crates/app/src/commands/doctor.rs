//! `hearth doctor`: what this machine gives, where things lie, and what has left the machine.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use hearth_cell::{Isolation, SealReport};
use serde_json::{Value, json};

use super::show::print_json;
use crate::context::App;
use crate::exit::{Code, Failure};
use crate::terminal::plain;
use crate::threads;

/// Lines of the ledger of connections that are shown.
const LEDGER_LINES: usize = 10;

/// Show the isolation reached, the machine, the folders in use and the last connections
///
/// Starts a sealed process without a model to see what the seal reaches. Ends with an error if
/// that is less than required.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The level to compare with: full, syscall or none [setting: require_isolation]
    #[arg(long, value_name = "LEVEL")]
    require_isolation: Option<Isolation>,
}

impl Doctor {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let required = match self.require_isolation {
            Some(level) => level,
            None => app.settings.get("require_isolation")?,
        };
        let report = hearth_cell::probe()?;
        let lines = match app.settings.egress_log {
            Some(_) => app.ledger().last_lines(LEDGER_LINES)?,
            None => Vec::new(),
        };
        let facts = Facts { app, report: &report, required, connections: &lines };
        if self.json {
            print_json(&facts.json())?;
        } else {
            facts.write(&mut std::io::stdout().lock())?;
        }
        if report.level < required {
            let text = format!(
                "the engine reaches isolation level `{}`, but `{required}` is required; \
                 missing: {}. Every command that runs a model refuses; \
                 `--require-isolation {}` accepts less",
                report.level,
                report.missing(),
                report.level
            );
            return Err(Failure::new(Code::Isolation, text));
        }
        Ok(())
    }
}

struct Facts<'a> {
    app: &'a App,
    report: &'a SealReport,
    required: Isolation,
    connections: &'a [String],
}

impl Facts<'_> {
    /// Field names are stable.
    fn json(&self) -> Value {
        let settings = &self.app.settings;
        let layers: Vec<Value> = self
            .report
            .layers
            .iter()
            .map(|layer| json!({ "name": layer.name, "active": layer.active, "note": layer.note }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "isolation": self.report.level.name(),
            "require_isolation": self.required.name(),
            "layers": layers,
            "system": system(),
            "threads": threads::usable(),
            "store": settings.store,
            "config": settings.file,
            "egress_log": settings.egress_log,
            "connections": self.connections,
        })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let settings = &self.app.settings;
        writeln!(out, "hearth      {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "isolation   {} (required: {})", self.report.level, self.required)?;
        for layer in &self.report.layers {
            let state = if layer.active { "yes" } else { "NO" };
            writeln!(out, "  {state:<3} {}: {}", layer.name, plain(&layer.note))?;
        }
        writeln!(out, "system      {}", system())?;
        writeln!(out, "threads     {} by default", threads::usable())?;
        writeln!(out, "store       {}", place(&settings.store))?;
        writeln!(out, "config      {}", place(&settings.file))?;
        writeln!(out, "connections {}", place(&settings.egress_log))?;
        if self.connections.is_empty() {
            writeln!(out, "  none yet")?;
        }
        for line in self.connections {
            writeln!(out, "  {}", plain(line))?;
        }
        Ok(())
    }
}

fn place(path: &Option<PathBuf>) -> String {
    match path {
        Some(path) => path.display().to_string(),
        None => "nowhere: HOME is not set".to_owned(),
    }
}

/// Operating system and processor family, as this program was built for them.
fn system() -> String {
    format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH)
}
