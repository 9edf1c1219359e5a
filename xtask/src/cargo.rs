//! Running cargo and other programs from the root of the workspace.
//!
//! Output goes straight to the terminal; what a caller must read itself goes through [`output`].

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Root of the workspace: the folder above this crate.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a workspace")
}

/// `cargo ARGS` in the root of the workspace, not started yet.
pub(crate) fn cargo(args: &[&str]) -> Command {
    program("cargo", args)
}

/// `NAME ARGS` in the root of the workspace, not started yet.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root());
    command
}

/// Runs to the end; an error names the command line.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("cannot start {}", line(command)))?;
    if !done.status.success() {
        let error = String::from_utf8_lossy(&done.stderr);
        bail!("{} ended with {}\n{}", line(command), done.status, error.trim_end());
    }
    String::from_utf8(done.stdout).with_context(|| format!("{} printed no UTF-8", line(command)))
}

/// The same program and arguments in an empty network namespace, which `unshare` of util-linux
/// makes; an error where that is not allowed.
pub(crate) fn without_network(command: &Command) -> Result<Command> {
    let alone = || program("unshare", &["--map-root-user", "--net", "--"]);
    output(alone().arg("true"))?;
    let mut alone = alone();
    alone.arg(command.get_program()).args(command.get_args());
    Ok(alone)
}

/// The command line as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
