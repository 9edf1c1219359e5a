//! `hearth list [--all]`: the models of the store, and those of the catalogue that are not in it.

use super::show;
use crate::context::App;
use crate::terminal::plain;
use clap::Args;
use hearth_hub::{Damage, Entry, Manifest, Store, readable};
use serde_json::json;
use std::io::Write;

/// List the models in the store
#[derive(Args)]
pub(crate) struct List {
    /// Also list what can be pulled
    #[arg(long, short)]
    all: bool,
    /// Print JSON: {"stored": […], "available": […]}
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 7] = ["NAME", "SIZE", "PARAMS", "QUANT", "CHECKSUM", "LICENCE", "SOURCE"];

impl List {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let store = app.store()?;
        let mut stored = Vec::new();
        for (folder, manifest) in store.list()? {
            match manifest {
                Ok(manifest) => stored.push(manifest),
                Err(error) => app.note(format_args!("{folder}: {error}")),
            }
        }
        let missing = |entry: &&Entry| !stored.iter().any(|m| m.facts.name == entry.name);
        let available: Vec<&Entry> =
            app.catalogue.entries.iter().filter(|_| self.all).filter(missing).collect();
        if self.json {
            let stored: Vec<_> = stored.iter().map(|m| show::json_of(m, &store)).collect();
            let available: Vec<_> = available.into_iter().map(show::json_of_entry).collect();
            return show::print_json(&json!({ "stored": stored, "available": available }));
        }
        let mut out = std::io::stdout().lock();
        if stored.is_empty() && !self.all {
            app.note("no model in the store yet; `hearth list --all` shows what can be pulled");
        }
        if !stored.is_empty() {
            write!(out, "{}", table(stored.iter().map(|manifest| stored_row(manifest, &store))))?;
        }
        if !available.is_empty() {
            let gap = if stored.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}Can be pulled:")?;
            write!(
                out,
                "{}",
                table(available.into_iter().map(|entry| available_row(entry, &store)))
            )?;
        }
        Ok(())
    }
}

fn stored_row(manifest: &Manifest, store: &Store) -> [String; 7] {
    let facts = &manifest.facts;
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    // The licence's address is for `show`.
    let licence = known(&facts.licence);
    let checksum = match (store.damage(manifest), manifest.verified) {
        (Some(Damage::Gone), _) => Damage::Gone.to_string(),
        (Some(damage), _) if manifest.in_place() => format!("{damage}; import again"),
        (Some(damage), _) => format!("{damage}; pull again"),
        (None, true) => "verified".into(),
        (None, false) => "recorded".into(),
    };
    let licence = licence.split(" (").next().unwrap_or_default().to_owned();
    [
        facts.name.to_string(),
        readable(manifest.bytes()),
        known(&facts.parameters),
        known(&facts.quant),
        checksum,
        licence,
        shortened(if manifest.in_place() {
            format!("in place: {}", manifest.source)
        } else {
            manifest.source.clone()
        }),
    ]
}

/// The whole text is for `show` and `--json`.
fn shortened(text: String) -> String {
    const WIDTH: usize = 60;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn available_row(entry: &Entry, store: &Store) -> [String; 7] {
    let packages = entry.pins().count();
    let size = match store.begun(&entry.name) {
        0 => readable(entry.bytes),
        begun => format!("{} ({} here)", readable(entry.bytes), readable(begun)),
    };
    [
        entry.name.to_string(),
        size,
        entry.parameters.clone(),
        entry.quant.clone(),
        if entry.is_pinned() { "known" } else { "none" }.into(),
        entry.licence.clone(),
        format!("{packages} Python package{}", if packages == 1 { "" } else { "s" }),
    ]
}

/// Columns as wide as their widest cell; the last is not padded.
fn table(rows: impl Iterator<Item = [String; 7]>) -> String {
    let mut rows: Vec<[String; 7]> = rows.map(|row| row.map(|cell| plain(&cell))).collect();
    rows.insert(0, HEAD.map(String::from));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let line: String =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
