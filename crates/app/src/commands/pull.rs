//! `hearth pull MODEL`: brings a model of the catalogue or of a server into the store. Where no
//! package has a model's file, that is made of a folder: see `pull/folder.rs`.

mod folder;
pub(crate) mod remote;

use super::show;
use crate::context::App;
use crate::exit::{Code, Failure};
use crate::progress::PullProgress;
use clap::Args;
use folder::MadeOfPackage;
use hearth_hub::source::{PackageFolder, PackageSource, Source};
use hearth_hub::{
    Desk, Entry, Facts, HubError, Installed, Manifest, ModelName, Store, Target, readable, resolve,
};
use std::io::Write;

/// Download a model, check it and keep it
///
/// MODEL is a name in the catalogue, as `hearth list --all` shows it; files of a repository on
/// Hugging Face, `hf.co/OWNER/REPO:Q4_K_M` or `hf.co/OWNER/REPO@REVISION:FILE.gguf`; a model in
/// Ollama's registry, `ollama:NAME:TAG`; or the address of a GGUF file,
/// `https://example.com/NAME.gguf`, with `#sha256=DIGEST` to have it checked. The same words mean
/// it afterwards, for `hearth run` too.
#[derive(Args)]
pub(crate) struct Pull {
    /// Name in the catalogue, or where a server has it
    #[arg(value_name = "MODEL")]
    model: String,
    /// What to call a model of a server; made from its own name if not given
    #[arg(long, value_name = "NAME")]
    name: Option<ModelName>,
    /// Print what is now in the store as JSON
    #[arg(long)]
    json: bool,
}

impl Pull {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let store = app.store()?;
        let command = format!("pull {}", remote::shown(&self.model));
        let place = remote::Place { app, store: &store, command: &command };
        let installed = match resolve(&self.model, &store, &app.catalogue)? {
            Target::Remote(remote) => place.bring(&*remote, self.name)?,
            _ if self.name.is_some() => {
                let text = "--name is for a model of a server that is not in the store yet";
                return Err(Failure::new(Code::Usage, text));
            }
            Target::Stored(manifest) if manifest.reference.is_some() => {
                place.again(*manifest, &self.model)?
            }
            Target::Catalogue(entry) => bring(app, &store, entry, &format!("pull {}", entry.name))?,
            Target::Stored(manifest) => again(app, &store, *manifest)?,
            Target::File(path) => {
                let path = path.display();
                let text =
                    format!("{path} is a path; `hearth import {path}` takes a file you have");
                return Err(Failure::new(Code::Usage, text));
            }
        };
        let manifest = &installed.manifest;
        if self.json {
            return show::print_json(&show::json_of(manifest, &store));
        }
        let (name, size) = (&manifest.facts.name, readable(manifest.bytes()));
        let state = if installed.fresh { "is now" } else { "was already" };
        let checked = if manifest.verified { ", checksum verified" } else { ", no known checksum" };
        writeln!(std::io::stdout(), "{name} ({size}{checked}) {state} in the store")?;
        Ok(())
    }
}

/// A model that is in the store: checked, and brought again if it is damaged.
fn again(app: &App, store: &Store, manifest: Manifest) -> anyhow::Result<Installed> {
    let name = &manifest.facts.name;
    let entry = app.catalogue.entries.iter().find(|entry| entry.name == *name);
    if let Some(entry) = entry {
        let source = source(app, entry);
        let same = entry.sha256.is_some_and(|sha256| manifest.files[0].sha256() == sha256);
        if manifest.source != source.label() && !same {
            let text = format!(
                "`{name}` in the store is not the catalogue's model: it came from {}; \
                 `hearth rm {name}` and pull again to have that one",
                manifest.source
            );
            return Err(Failure::new(Code::Usage, text));
        }
    }
    let observer = PullProgress::new(app, name.as_str())?;
    let damage = store.check(&manifest, &observer)?;
    // The bar must be gone before a line is written.
    drop(observer);
    let Some(damage) = damage else {
        return Ok(Installed { manifest, fresh: false });
    };
    let Some(entry) = entry else {
        let text = format!("`{name}` in the store: {damage}; `hearth rm {name}` and import it");
        return Err(Failure::new(Code::Integrity, text));
    };
    app.note(format_args!("`{name}` in the store: {damage}; fetching it again"));
    let command = format!("pull {name}");
    fetch(app, store, entry, &command, Store::repair)
}

/// Pulls a catalogue entry, showing its licence and the progress. `command` goes into the ledger.
pub(crate) fn bring(
    app: &App,
    store: &Store,
    entry: &Entry,
    command: &str,
) -> anyhow::Result<Installed> {
    fetch(app, store, entry, command, Store::install)
}

/// Where the bytes of an entry come from.
fn source<'a>(app: &'a App, entry: &'a Entry) -> Box<dyn Source + 'a> {
    let (python, proxies) = (app.settings.python.clone(), app.proxies.clone());
    match &entry.folder {
        None => Box::new(PackageSource::new(python, entry).through(proxies)),
        Some(folder) => {
            let folder = PackageFolder::new(python, proxies, folder.clone());
            Box::new(MadeOfPackage { app, entry, folder })
        }
    }
}

fn fetch(
    app: &App,
    store: &Store,
    entry: &Entry,
    command: &str,
    by: fn(&Store, &Facts, &dyn Source, Desk<'_>) -> Result<Installed, HubError>,
) -> anyhow::Result<Installed> {
    let source = source(app, entry);
    app.note(format_args!(
        "pulling {}: {} ({})\n  licence: {} ({})\n  source:  {}",
        entry.name,
        entry.about,
        readable(entry.bytes),
        entry.licence,
        entry.licence_url,
        source.label(),
    ));
    let observer = PullProgress::new(app, entry.name.as_str())?;
    let ledger = app.ledger();
    let desk = Desk { observer: &observer, ledger: &ledger, command };
    let fetched = by(store, &facts(entry), &*source, desk);
    // The bar must be gone before a line is written.
    drop(observer);
    fetched.map_err(|error| match error {
        HubError::Stopped => stopped(store, &entry.name, entry.name.as_str(), entry.bytes),
        error => error.into(),
    })
}

/// What is left of a pull that was stopped, and how it goes on.
fn stopped(store: &Store, name: &ModelName, words: &str, bytes: u64) -> anyhow::Error {
    let text = match store.begun(name) {
        0 => format!("stopped; nothing was complete yet, and `hearth pull {words}` starts anew"),
        begun => format!(
            "stopped; {} of {} are kept, and `hearth pull {words}` goes on from there",
            readable(begun),
            readable(bytes)
        ),
    };
    Failure::new(Code::Interrupted, text)
}

fn facts(entry: &Entry) -> Facts {
    Facts {
        name: entry.name.clone(),
        about: entry.about.clone(),
        family: Some(entry.family.clone()),
        parameters: Some(entry.parameters.clone()),
        quant: Some(entry.quant.clone()),
        instruct: Some(entry.instruct),
        licence: Some(format!("{} ({})", entry.licence, entry.licence_url)),
    }
}
