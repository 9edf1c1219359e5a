//! Pulling a model of a server: ask what there is, say it, bring it.

use super::stopped;
use crate::context::App;
use crate::exit::{Code, Failure};
use crate::progress::PullProgress;
use hearth_hub::source::{Remote, RemoteModel, Source};
use hearth_hub::{Desk, Facts, HubError, Installed, Manifest, ModelName, Store, readable};

/// What every pull from a server needs.
pub(crate) struct Place<'a> {
    pub(crate) app: &'a App,
    pub(crate) store: &'a Store,
    /// What the user typed, for the ledger.
    pub(crate) command: &'a str,
}

/// What the user typed, for the ledger: a place on a server without what may be secret.
pub(crate) fn shown(model: &str) -> String {
    match <dyn Remote>::parse(model) {
        Some(Ok(remote)) => remote.to_string(),
        Some(Err(_)) => "an address that cannot be read".to_owned(),
        None => model.to_owned(),
    }
}

impl Place<'_> {
    /// Pulls a model that is not in the store, under `name` or a name made from its own.
    pub(crate) fn bring(
        &self,
        remote: &dyn Remote,
        name: Option<ModelName>,
    ) -> anyhow::Result<Installed> {
        let name = match name {
            Some(name) => self.free(name)?,
            None => remote.name(&self.app.catalogue)?,
        };
        let model = self.ask(remote, &name)?;
        self.fetch(&model, name, Store::install)
    }

    /// A model of a server that is in the store: checked, and brought again if it is damaged.
    /// `words` are what the user named it by, now.
    pub(crate) fn again(&self, manifest: Manifest, words: &str) -> anyhow::Result<Installed> {
        let name = manifest.facts.name.clone();
        let observer = PullProgress::new(self.app, name.as_str())?;
        let damage = self.store.check(&manifest, &observer)?;
        // The bar must be gone before a line is written.
        drop(observer);
        let Some(damage) = damage else {
            return Ok(Installed { manifest, fresh: false });
        };
        let reference = manifest.reference.as_deref().unwrap_or_default();
        // An address with its query is better than what the manifest keeps, which has none.
        let remote = <dyn Remote>::parse(words).or_else(|| <dyn Remote>::parse(reference));
        let remote = match remote {
            Some(remote) => remote?,
            None => return Err(other_version(&name, &damage, reference)),
        };
        self.app.note(format_args!("`{name}` in the store: {damage}; fetching it again"));
        let model = self.ask(&*remote, &name)?;
        if model.label() != manifest.source {
            return Err(other_version(&name, &damage, reference));
        }
        self.fetch(&model, name, Store::repair)
    }

    /// The names of the catalogue are for its own models.
    fn free(&self, name: ModelName) -> anyhow::Result<ModelName> {
        match self.app.catalogue.owner(&name) {
            None => Ok(name),
            Some(entry) => {
                let text = format!(
                    "the name `{name}` is kept for the catalogue's `{}`; choose another with \
                     --name",
                    entry.name
                );
                Err(Failure::new(Code::Usage, text))
            }
        }
    }

    fn ask(&self, remote: &dyn Remote, name: &ModelName) -> anyhow::Result<RemoteModel> {
        let client = self.app.client(self.command)?;
        let observer = PullProgress::new(self.app, name.as_str())?;
        remote.find(&client, &observer).map_err(|error| match error {
            HubError::Stopped => {
                let text = format!("stopped; nothing of `{remote}` was fetched yet");
                Failure::new(Code::Interrupted, text)
            }
            error => error.into(),
        })
    }

    fn fetch(
        &self,
        model: &RemoteModel,
        name: ModelName,
        by: fn(&Store, &Facts, &dyn Source, Desk<'_>) -> Result<Installed, HubError>,
    ) -> anyhow::Result<Installed> {
        let app = self.app;
        let facts = model.facts(name);
        let licence = facts.licence.as_deref().unwrap_or("not stated by the server");
        app.note(format_args!(
            "pulling {} ({})\n  licence: {licence}\n  source:  {}",
            facts.name,
            readable(model.bytes()),
            model.label(),
        ));
        for line in model.left_out() {
            app.note(format_args!("  left out: {line}"));
        }
        let observer = PullProgress::new(app, facts.name.as_str())?;
        let ledger = app.ledger();
        let desk = Desk { observer: &observer, ledger: &ledger, command: self.command };
        let fetched = by(self.store, &facts, model, desk);
        // The bar must be gone before a line is written.
        drop(observer);
        fetched.map_err(|error| match error {
            HubError::Stopped => {
                let words = model.reference().unwrap_or_default();
                stopped(self.store, &facts.name, &words, model.bytes())
            }
            error => error.into(),
        })
    }
}

/// The server has other bytes now than those that are damaged, or nobody knows.
fn other_version(
    name: &ModelName,
    damage: &impl std::fmt::Display,
    reference: &str,
) -> anyhow::Error {
    let text = format!(
        "`{name}` in the store: {damage}; what it came from has another version now. \
         `hearth rm {name}` and `hearth pull {reference}` bring that"
    );
    Failure::new(Code::Integrity, text)
}
