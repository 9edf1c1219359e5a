//! `hearth show MODEL`: what the store knows of a model, and what its file says about itself (read
//! by the sealed engine).

use crate::context::App;
use crate::engine::{EngineArgs, Need};
use crate::exit::{Code, Failure};
use crate::terminal::plain;
use clap::Args;
use hearth_cell::Isolation;
use hearth_engine::protocol::{Event, Job, ModelCard};
use hearth_hub::{Damage, Entry, Manifest, OpenModel, Store, StoredFile, Target};
use hearth_hub::{open_path, readable, resolve};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Show what is known of a model
#[derive(Args)]
pub(crate) struct Show {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// Print the chat template and nothing else
    #[arg(long, conflicts_with_all = ["json", "metadata"])]
    template: bool,
    /// Also print all metadata of the file
    #[arg(long)]
    metadata: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Refuse to run the engine below this level: full, syscall or none
    #[arg(long, value_name = "LEVEL")]
    require_isolation: Option<Isolation>,
}

impl Show {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let store = app.store()?;
        let (facts, model) = match resolve(&self.model, &store, &app.catalogue)? {
            Target::Stored(manifest) => {
                (json_of(&manifest, &store), Some(store.open_model(&manifest.facts.name)?))
            }
            Target::Catalogue(entry) => (json_of_entry(entry), None),
            Target::File(path) => {
                let model = open_path(&path)?;
                (json_of_paths(&model)?, Some(model))
            }
        };
        let card = match model {
            Some(model) => Some(describe(app, model, self.require_isolation)?),
            None => None,
        };
        if self.template {
            return print_template(&self.model, card);
        }
        let mut fields = match facts {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        if let Some(card) = card {
            fields.extend(json_of_card(card, self.metadata));
        }
        match self.json {
            true => print_json(&Value::Object(fields)),
            false => print_fields(fields),
        }
    }
}

/// What the model's file says about itself: its metadata, read by a sealed engine.
pub(super) fn describe(
    app: &App,
    model: OpenModel,
    require_isolation: Option<Isolation>,
) -> anyhow::Result<ModelCard> {
    let engine = EngineArgs { threads: Some(1), kv: None, require_isolation };
    let running = engine.start(app, model, Need::Vocabulary)?;
    let mut found = None;
    running.finish(app, Job::Describe, |event| {
        if let Event::Described { card, .. } = event {
            found = Some(*card);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Failure::new(Code::Engine, "the engine gave no description"))
}

fn print_template(model: &str, card: Option<ModelCard>) -> anyhow::Result<()> {
    match card.and_then(|card| card.chat_template) {
        Some(template) => Ok(writeln!(std::io::stdout(), "{template}")?),
        None => {
            let text = format!(
                "`{model}` has no chat template in the store; it is a base model, \
                 or not pulled yet"
            );
            Err(Failure::new(Code::NotFound, text))
        }
    }
}

/// One line per field; files and metadata are indented below theirs.
fn print_fields(fields: Map<String, Value>) -> anyhow::Result<()> {
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
            Value::Object(entries) => {
                writeln!(out, "{key}:")?;
                for (name, value) in entries {
                    writeln!(out, "  {} = {}", plain(&name), text_of(&value))?;
                }
            }
            // Its digest stands on the next line; `--template` prints it.
            Value::String(_) if key == "chat_template" => {}
            other => writeln!(out, "{key:<21} {}", text_of(&other))?,
        }
    }
    Ok(())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        other => other.to_string(),
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
pub(super) fn json_of(manifest: &Manifest, store: &Store) -> Value {
    let facts = &manifest.facts;
    let folder = store.root().join(facts.name.folder());
    let damage = store.damage(manifest);
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
        "present": damage != Some(Damage::Gone),
        "damage": damage.map(|damage| damage.to_string()),
        "files": files,
    })
}

/// A model that can be pulled, as `--json` prints it; `verified` where its checksum is known.
pub(super) fn json_of_entry(entry: &Entry) -> Value {
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

fn json_of_paths(model: &OpenModel) -> anyhow::Result<Value> {
    let mut files = Vec::new();
    for (file, path) in model.files.iter().zip(&model.paths) {
        files.push(json!({ "path": path, "bytes": file.metadata()?.len() }));
    }
    Ok(json!({ "files": files }))
}

/// What the file says, under names that are the same for every model.
fn json_of_card(card: ModelCard, metadata: bool) -> Map<String, Value> {
    let types: Vec<String> = card.tensor_types.iter().map(|(name, _)| name.clone()).collect();
    let fields = json!({
        "file_name": card.name,
        "file_licence": card.license,
        "architecture": card.architecture,
        "weights": card.parameters,
        "tensor_types": types.join(", "),
        "context_length": card.context_length,
        "embedding_length": card.embedding_length,
        "block_count": card.block_count,
        "vocab_size": card.vocab_size,
        "tokenizer": card.tokenizer,
        "chat_template": card.chat_template,
        "chat_template_sha256": card.chat_template_sha256,
    });
    let mut fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if metadata {
        let entries = card.metadata.into_iter().map(|(key, value)| (key, Value::String(value)));
        fields.insert("metadata".into(), Value::Object(entries.collect()));
    }
    fields
}

/// Prints a JSON value for a machine to read.
pub(super) fn print_json(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}
