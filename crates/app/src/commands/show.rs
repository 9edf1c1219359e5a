//! `hearth show MODEL`: what the store knows of a model, and what its file says about itself (read
//! by the sealed engine).

use crate::context::App;
use crate::engine::{EngineArgs, Need};
use crate::exit::{Code, Failure, say};
use crate::terminal::plain;
use clap::Args;
use hearth_cell::Isolation;
use hearth_engine::protocol::ModelCard;
use hearth_hub::{Damage, Entry, HubError, Manifest, OpenModel, Store, StoredFile, Target};
use hearth_hub::{open_path, readable, resolve};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;

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
        let mut warnings = Vec::new();
        let (facts, card) = match app.store_for(&self.model)? {
            None => self.file(app, Path::new(&self.model))?,
            Some(store) => match resolve(&self.model, &store, &app.catalogue)? {
                Target::Stored(manifest) => {
                    let card = self.stored(app, &store, &manifest, &mut warnings)?;
                    (json_of(&manifest, &store), card)
                }
                Target::Catalogue(entry) => (json_of_entry(entry), None),
                Target::Remote(remote) => return Err(not_pulled(&remote.to_string())),
                Target::File(path) => self.file(app, &path)?,
            },
        };
        if self.template {
            return print_template(&self.model, card);
        }
        let mut fields = match facts {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        if let Some(card) = card {
            warnings.extend(warnings_of(&card));
            fields.extend(json_of_card(card, self.metadata));
        }
        fields.insert("warnings".to_owned(), warnings.into());
        match self.json {
            true => print_json(&Value::Object(fields)),
            false => print_fields(fields),
        }
    }

    fn file(&self, app: &App, path: &Path) -> anyhow::Result<(Value, Option<ModelCard>)> {
        let model = open_path(path)?;
        Ok((json_of_paths(&model)?, Some(describe(app, model, self.require_isolation)?)))
    }

    /// What the file of a stored model says. If the file changed, that is a warning, and what it
    /// says is shown as far as it can be read.
    fn stored(
        &self,
        app: &App,
        store: &Store,
        manifest: &Manifest,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<Option<ModelCard>> {
        let name = &manifest.facts.name;
        let changed = match store.open_model(name) {
            Ok(model) => return describe(app, model, self.require_isolation).map(Some),
            Err(error @ HubError::Changed { .. }) if !self.template => error,
            Err(error) => return Err(error.into()),
        };
        warnings.push(changed.to_string());
        let first = manifest.files.first().map(|file| file.path(&store.root().join(name.folder())));
        // What cannot be opened is what the warning above is about.
        let Some(model) = first.and_then(|path| open_path(&path).ok()) else {
            return Ok(None);
        };
        match describe(app, model, self.require_isolation) {
            Ok(card) => Ok(Some(card)),
            Err(error) => {
                warnings.push(format!("{error:#}"));
                Ok(None)
            }
        }
    }
}

/// What the model's file says about itself: its metadata, read by a sealed engine.
pub(super) fn describe(
    app: &App,
    model: OpenModel,
    require_isolation: Option<Isolation>,
) -> anyhow::Result<ModelCard> {
    let engine = EngineArgs { threads: Some(1), kv: None, no_repack: false, require_isolation };
    engine.start(app, model, Need::Vocabulary)?.describe(app)
}

fn print_template(model: &str, card: Option<ModelCard>) -> anyhow::Result<()> {
    let text = match card {
        Some(ModelCard { chat_template: Some(template), chat_template_error, .. }) => {
            if let Some(error) = chat_template_error {
                say(format_args!("warning: {}", unusable_template(&error)));
            }
            return Ok(writeln!(std::io::stdout(), "{template}")?);
        }
        Some(_) => format!(
            "`{model}` carries no chat template: it is a base model, which continues text; \
             `hearth run --raw` does without"
        ),
        None => return Err(not_pulled(model)),
    };
    Err(Failure::new(Code::NotFound, text))
}

fn not_pulled(model: &str) -> anyhow::Error {
    let text = format!("`{model}` is not pulled yet; `hearth pull {model}` brings it");
    Failure::new(Code::NotFound, text)
}

/// What a user of the model will run into.
fn warnings_of(card: &ModelCard) -> Vec<String> {
    let architecture: String = card.architecture.chars().take(64).collect();
    let unknown = (!card.supported)
        .then(|| format!("unknown architecture `{architecture}`: this version cannot run it"));
    let template = card.chat_template_error.as_deref().map(unusable_template);
    unknown.into_iter().chain(template).collect()
}

fn unusable_template(error: &str) -> String {
    format!("the chat template cannot be used: {error}")
}

/// One line per field; files, metadata and warnings are indented below theirs.
fn print_fields(fields: Map<String, Value>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (key, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) => {
                writeln!(out, "{key}:")?;
                for item in items {
                    let line = match &item {
                        Value::String(text) => plain(text),
                        file => file_line(file),
                    };
                    writeln!(out, "  {line}")?;
                }
            }
            Value::Object(entries) => {
                writeln!(out, "{key}:")?;
                for (name, value) in entries {
                    writeln!(out, "  {} = {}", plain(&name), text_of(&value))?;
                }
            }
            // Its digest stands on the next line, or a warning at the end; `--template` prints it.
            Value::String(_) if key == "chat_template" || key == "chat_template_error" => {}
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
        "reference": manifest.reference,
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
    let pieces = entry.packages.iter().map(|package| (&package.pin, package.bytes));
    let folder = entry.folder.iter().map(|folder| (&folder.pin, entry.bytes));
    let files: Vec<Value> = pieces
        .chain(folder)
        .map(|(pin, bytes)| json!({ "package": pin.as_str(), "bytes": bytes }))
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
        "verified": entry.is_pinned(),
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
        "chat_template_error": card.chat_template_error,
        "supported": card.supported,
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
