//! `hearth completions SHELL`: the completion script of a shell, on stdout.

use crate::options::Options;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

/// Print a completion script for a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Options::command(), "hearth", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(())
    }
}
