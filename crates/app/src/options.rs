//! The command line: options that every command takes, and the list of commands.
//!
//! A command's own options stand in its file under `commands/`.

use crate::commands::Command;
use crate::exit;
use crate::terminal::ColorWhen;
use clap::{Args, Parser};
use std::path::PathBuf;

/// Run language models on this machine, sealed and offline.
#[derive(Parser)]
#[command(name = "hearth", version, max_term_width = 100, after_long_help = exit::help())]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that stand before or after any command.
#[derive(Args)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// Folder of the models [setting: store]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) store: Option<PathBuf>,
    /// Configuration file to read instead of the usual one
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// No progress and no notes on stderr; errors remain
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to colour the output [setting: color]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<ColorWhen>,
}
