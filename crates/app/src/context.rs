//! What every command gets: the settings, and from them the store, the catalogue and the ledger.

use crate::commands::pull::{self, remote};
use crate::config::{Env, Settings, homeless};
use crate::exit::say;
use crate::interrupt::Interrupt;
use crate::options::Global;
use crate::terminal::Terminal;
use hearth_hub::source::{Proxies, Remote};
use hearth_hub::{
    Catalogue, Client, Ledger, Limits, OpenModel, Reach, Store, Target, open_path, resolve,
};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The context of one run of `hearth`.
pub(crate) struct App {
    /// Settings with their origins.
    pub(crate) settings: Settings,
    /// What the terminal can show.
    pub(crate) terminal: Terminal,
    /// No progress and no notes.
    pub(crate) quiet: bool,
    /// The models that can be pulled by name.
    pub(crate) catalogue: Catalogue,
    /// The proxies of the environment.
    pub(crate) proxies: Proxies,
    interrupt: OnceCell<Interrupt>,
}

impl App {
    /// Reads the environment and the configuration file.
    pub(crate) fn new(global: Global) -> anyhow::Result<Self> {
        let env = Env::read();
        let settings = Settings::load(&global, &env)?;
        let terminal = Terminal::new(settings.color, &env);
        let (quiet, catalogue) = (global.quiet, Catalogue::builtin());
        let (proxies, interrupt) = (Proxies(env.proxies), OnceCell::new());
        Ok(Self { settings, terminal, quiet, catalogue, proxies, interrupt })
    }

    /// What Ctrl-C means; it ends a program that never asks for this.
    pub(crate) fn interrupt(&self) -> anyhow::Result<&Interrupt> {
        match self.interrupt.get() {
            Some(interrupt) => Ok(interrupt),
            None => {
                let interrupt = Interrupt::install()?;
                Ok(self.interrupt.get_or_init(|| interrupt))
            }
        }
    }

    /// A line for the person at the terminal, on stderr; silent with `--quiet`.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            say(text);
        }
    }

    /// The store of models.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        match &self.settings.store {
            Some(folder) => Ok(Store::open(folder.clone())?),
            None => Err(homeless("the store of models", "store")),
        }
    }

    /// The store in which to look up what MODEL means; `None` where there is none and MODEL is a
    /// path, which needs none.
    pub(crate) fn store_for(&self, model: &str) -> anyhow::Result<Option<Store>> {
        let is_path = || {
            let like_path = model.contains('/') || model.ends_with(".gguf");
            let is_remote = || <dyn Remote>::parse(model).is_some();
            like_path && !is_remote() || Path::new(model).is_file()
        };
        match self.settings.store {
            None if is_path() => Ok(None),
            _ => self.store().map(Some),
        }
    }

    /// The file of the key that kept conversations are closed with.
    pub(crate) fn key_file(&self) -> anyhow::Result<PathBuf> {
        let file = self.settings.key_file.clone();
        file.ok_or_else(|| homeless("the key of kept conversations", "key_file"))
    }

    /// The ledger of connections. Without a place for it nothing connects: there is no store then.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(self.settings.egress_log.clone().unwrap_or_default())
    }

    /// The client that asks servers, as the settings say. `command` is what the user typed, for the
    /// ledger.
    pub(crate) fn client(&self, command: &str) -> anyhow::Result<Client> {
        let settings = &self.settings;
        let certificates: PathBuf = settings.get("ca_file")?;
        let limits = Limits {
            patience: Duration::from_secs(settings.get("network_timeout")?),
            connections: settings.get("connections")?,
            ..Limits::default()
        };
        let reach = Reach {
            hubs: settings.addresses("hub_url")?,
            registries: settings.addresses("registry_url")?,
            credentials: settings.credentials.clone(),
            proxies: self.proxies.clone(),
            plain_http: settings.get("plain_http")?,
            certificates: Some(certificates).filter(|path| !path.as_os_str().is_empty()),
            limits,
        };
        Ok(Client::new(reach, self.ledger(), command))
    }

    /// Opens what MODEL means: a file, a model of the store, or one of the catalogue or a server,
    /// which is pulled first. `command` is what the user typed, for the ledger.
    pub(crate) fn open_model(&self, model: &str, command: &str) -> anyhow::Result<OpenModel> {
        let Some(store) = self.store_for(model)? else {
            return Ok(open_path(Path::new(model))?);
        };
        let name = match resolve(model, &store, &self.catalogue)? {
            Target::File(path) => return Ok(open_path(&path)?),
            Target::Stored(manifest) => manifest.facts.name,
            Target::Catalogue(entry) => {
                pull::bring(self, &store, entry, command)?.manifest.facts.name
            }
            Target::Remote(remote) => {
                // An address may hold a token, and the ledger must not.
                let command = command.replace(model, &remote.to_string());
                let place = remote::Place { app: self, store: &store, command: &command };
                place.bring(&*remote, None)?.manifest.facts.name
            }
        };
        Ok(store.open_model(&name)?)
    }
}
