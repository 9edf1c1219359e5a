//! The list of commands. A command is one file with its options as a struct and a `run` method; it
//! is added here by one `mod` line, one line in [`Command`] and one in [`Command::run`].

mod completions;
mod config;
mod import;
mod list;
pub(crate) mod pull;
mod rm;
mod show;

use crate::context::App;
use clap::Subcommand;

/// What `hearth` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Pull(pull::Pull),
    List(list::List),
    Show(show::Show),
    Rm(rm::Rm),
    Import(import::Import),
    Config(config::Config),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the chosen command.
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Pull(command) => command.run(app),
            Self::List(command) => command.run(app),
            Self::Show(command) => command.run(app),
            Self::Rm(command) => command.run(app),
            Self::Import(command) => command.run(app),
            Self::Config(command) => command.run(app),
            Self::Completions(command) => command.run(),
        }
    }
}
