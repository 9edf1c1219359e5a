//! What every command gets: the settings, and from them the store, the catalogue and the ledger.

use crate::config::{Env, Settings};
use crate::options::Global;
use crate::terminal;

/// The context of one run of `hearth`.
pub(crate) struct App {
    /// Settings with their origins.
    pub(crate) settings: Settings,
    /// No progress and no notes.
    pub(crate) quiet: bool,
}

impl App {
    /// Reads the environment and the configuration file.
    pub(crate) fn new(global: Global) -> anyhow::Result<Self> {
        let env = Env::read();
        let settings = Settings::load(&global, &env)?;
        terminal::init(settings.color, env.plain);
        Ok(Self { settings, quiet: global.quiet })
    }

    /// A line for the person at the terminal, on stderr; silent with `--quiet`.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}
