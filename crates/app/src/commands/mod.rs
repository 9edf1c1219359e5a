//! The list of commands. A command is one file with a `Args`-like struct and a `run` method; it is
//! added here by one `mod` line, one line in [`Command`] and one in [`Command::run`].

mod completions;
mod config;

use crate::context::App;
use clap::Subcommand;

/// What `hearth` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Config(config::Config),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the chosen command.
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Config(command) => command.run(app),
            Self::Completions(command) => command.run(),
        }
    }
}
