//! Chores of the project, one file or folder per command: `cargo xtask check` is the gate.
//!
//! Nothing here is part of the shipped program. The steps of the gate are listed in `check`, the
//! rules on the source tree in `tidy`, the rules on dependencies in `deps`.

mod bench;
mod cargo;
mod check;
mod conformance;
mod date;
mod deps;
mod fetch;
mod fuzz;
mod hearth;
mod oracle;
mod record;
mod synth;
mod text;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gate: format, lints, documentation, tests, sanitizer, tree and dependency rules.
    Check {
        /// Adds the heavy steps; allows 80 minutes instead of 30.
        #[arg(long)]
        full: bool,
    },
    /// Only the rules on the source tree.
    Tidy,
    /// Only the rules on dependencies (run `fetch` once before).
    Deps,
    /// The one step with a network: crates of every platform and the models that tests read.
    Fetch,
    /// A GGUF file with random weights at a real model's shape.
    Synth(synth::Args),
    /// Logits, tokens and perplexity beside llama.cpp's.
    Conformance(conformance::Args),
    /// Speed beside llama.cpp's.
    Bench(bench::Args),
    /// Random and mutated input against every parser of foreign bytes.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Check { full } => check::run(full),
        Command::Tidy => tidy::run(),
        Command::Deps => deps::run(),
        Command::Fetch => fetch::run(),
        Command::Synth(args) => synth::run(args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::command(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
