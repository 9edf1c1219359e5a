//! The list of commands. A command is one file with its options as a struct and a `run` method; it
//! is added here by one `mod` line, one line in [`Command`] and one in [`Command::run`].

mod bench;
mod completions;
mod config;
mod doctor;
mod embed;
mod import;
mod list;
mod logits;
mod perplexity;
pub(crate) mod pull;
mod rerank;
mod rm;
mod run;
mod show;
mod tokenize;

use crate::context::App;
use clap::Subcommand;

/// What `hearth` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Run>),
    Pull(pull::Pull),
    List(list::List),
    Show(show::Show),
    Rm(rm::Rm),
    Import(import::Import),
    Embed(embed::Embed),
    Rerank(rerank::Rerank),
    Tokenize(tokenize::Tokenize),
    Logits(logits::Logits),
    Perplexity(perplexity::Perplexity),
    Bench(bench::Bench),
    Doctor(doctor::Doctor),
    Config(config::Config),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the chosen command.
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Run(command) => command.run(app),
            Self::Pull(command) => command.run(app),
            Self::List(command) => command.run(app),
            Self::Show(command) => command.run(app),
            Self::Rm(command) => command.run(app),
            Self::Import(command) => command.run(app),
            Self::Embed(command) => command.run(app),
            Self::Rerank(command) => command.run(app),
            Self::Tokenize(command) => command.run(app),
            Self::Logits(command) => command.run(app),
            Self::Perplexity(command) => command.run(app),
            Self::Bench(command) => command.run(app),
            Self::Doctor(command) => command.run(app),
            Self::Config(command) => command.run(app),
            Self::Completions(command) => command.run(),
        }
    }
}
