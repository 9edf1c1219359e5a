//! The command line: options that every command takes, and the list of commands.
//!
//! A command's own options stand in its file under `commands/`.

use crate::commands::Command;
use crate::config::MOST_THREADS;
use crate::exit;
use crate::terminal::ColorWhen;
use clap::builder::RangedU64ValueParser;
use clap::{Arg, Args, Parser};
use std::path::PathBuf;

/// Run language models on this machine, sealed and offline.
#[derive(Parser)]
#[command(
    name = "hearth", version, max_term_width = 100, after_long_help = exit::help(),
    mut_subcommands = |command| command.mut_args(checked)
)]
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

/// What holds for an option of any command: a negative number after it is its value, so that the
/// error is about the number, and threads are bounded wherever they can be chosen.
fn checked(option: Arg) -> Arg {
    if option.get_long().is_none() || !option.get_action().takes_values() {
        return option;
    }
    let option = option.allow_negative_numbers(true);
    match option.get_id() == "threads" {
        true => option.value_parser(RangedU64ValueParser::<usize>::from(0..=MOST_THREADS)),
        false => option,
    }
}
