//! `hearth show MODEL`: what the store knows of a model.

use crate::context::App;
use crate::exit::{Code, Failure};
use crate::terminal::plain;
use clap::Args;
use hearth_hub::{Entry, Manifest, Store, StoredFile, Target, open_path, readable, resolve};
use serde_json::{Value, json};
use std::io::Write;

/// Show what is known of a model
#[derive(Args)]
pub(crate) struct Show {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let store = app.store()?;
        let value = match resolve(&self.model, &store, &app.catalogue)? {
            Target::Stored(manifest) => json_of(&manifest, &store),
            Target::Catalogue(entry) => json_of_entry(entry),
            Target::File(path) => {
                let model = open_path(&path)?;
                let mut files = Vec::new();
                for (file, path) in model.files.iter().zip(&model.paths) {
                    files.push(json!({ "path": path, "bytes": file.metadata()?.len() }));
                }
                json!({ "files": files })
            }
        };
        if self.json {
            return print_json(&value);
        }
        let Value::Object(fields) = value else {
            return Err(Failure::new(Code::Failed, "a model's facts are not a list of fields"));
        };
        let mut out = std::io::stdout().lock();
        for (key, value) in fields {
            match value {
                Value::Null => {}
                Value::Array(files) => {
                    writeln!(out, "{key}:")?;
                    for file in files {
                        writeln!(out, "  {}", file_line(&file))?;
                    }
                }
                Value::String(text) => writeln!(out, "{key:<11} {}", plain(&text))?,
                other => writeln!(out, "{key:<11} {other}")?,
            }
        }
        Ok(())
    }
}

fn file_line(file: &Value) -> String {
    let path = file["path"].as_str().or(file["package"].as_str()).unwrap_or("?");
    let size = readable(file["bytes"].as_u64().unwrap_or(0));
    match file["sha256"].as_str() {
        Some(sha256) => format!("{} ({size})\n    sha256 {sha256}", plain(path)),
        None => format!("{} ({size})", plain(path)),
    }
}

/// A model of the store, as `--json` prints it. Field names are stable.
pub(crate) fn json_of(manifest: &Manifest, store: &Store) -> Value {
    let facts = &manifest.facts;
    let folder = store.root().join(facts.name.folder());
    let files: Vec<Value> = manifest
        .files
        .iter()
        .map(|file| {
            json!({
                "path": file.path(&folder),
                "bytes": file.bytes(),
                "sha256": file.sha256(),
                "in_place": matches!(file, StoredFile::InPlace { .. }),
            })
        })
        .collect();
    json!({
        "name": facts.name,
        "about": facts.about,
        "family": facts.family,
        "parameters": facts.parameters,
        "quant": facts.quant,
        "instruct": facts.instruct,
        "licence": facts.licence,
        "source": manifest.source,
        "installed": manifest.installed,
        "bytes": manifest.bytes(),
        "verified": manifest.verified,
        "in_place": manifest.in_place(),
        "present": store.is_present(manifest),
        "files": files,
    })
}

/// A model that can be pulled, as `--json` prints it; `verified` where its checksum is known.
pub(crate) fn json_of_entry(entry: &Entry) -> Value {
    let files: Vec<Value> = entry
        .packages
        .iter()
        .map(|package| json!({ "package": package.pin.as_str(), "bytes": package.bytes }))
        .collect();
    json!({
        "name": entry.name,
        "about": entry.about,
        "family": entry.family,
        "parameters": entry.parameters,
        "quant": entry.quant,
        "instruct": entry.instruct,
        "licence": format!("{} ({})", entry.licence, entry.licence_url),
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "verified": entry.sha256.is_some(),
        "files": files,
    })
}

/// Prints a JSON value for a machine to read.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}
