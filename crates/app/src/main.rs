//! The `hearth` command: reads the options, builds the [`context::App`] and hands over to one command.
//!
//! Commands live in `commands/`, one file each; options shared by all of them in `options.rs`;
//! settings and where they come from in `config/`; exit codes in `exit.rs`.

mod commands;
mod config;
mod context;
mod exit;
mod options;
mod progress;
mod terminal;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match options::Options::try_parse() {
        Ok(options) => options,
        Err(error) => return exit::usage(&error),
    };
    let command = options.command;
    match context::App::new(options.global).and_then(|app| command.run(&app)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
