//! The `hearth` command: reads the options, builds the [`context::App`] and hands over to one
//! command.
//!
//! Commands live in `commands/`, one file each; options shared by all of them in `options.rs`;
//! settings and where they come from in `config/`; exit codes in `exit.rs`. Commands that read a
//! model start the sealed engine through `engine.rs`; that child is this program too (`role.rs`).

mod adapters;
mod answer;
mod commands;
mod config;
mod context;
mod conversation;
mod converter;
mod engine;
mod exit;
mod generation;
mod interrupt;
mod options;
mod progress;
mod repl;
mod role;
mod session;
mod terminal;
mod threads;

use clap::Parser;
use std::process::ExitCode;
use terminal::Terminal;

fn main() -> ExitCode {
    // Before anything else: the child must be sealed while it has one thread and no open file.
    if role::is_child() {
        hearth_cell::child::main(role::serve);
    }
    let options = match options::Options::try_parse() {
        Ok(options) => options,
        Err(error) => return exit::usage(&error),
    };
    let app = match context::App::new(options.global) {
        Ok(app) => app,
        Err(error) => return exit::report(&error, Terminal::default()),
    };
    match options.command.run(&app) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error, app.terminal),
    }
}
