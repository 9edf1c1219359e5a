//! The first command of the README and its neighbours on a machine without a network: an empty
//! network namespace, made by `unshare` of util-linux. Where that is not allowed, nothing is
//! checked.

use super::Verdict;
use crate::cargo::{line, output, program};
use crate::hearth::hearth;
use anyhow::{Result, ensure};
use std::process::Command;

/// Arguments of `hearth`, and what stdout must contain.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["run", "smollm2:135m", "What is the capital of France? Answer in one sentence."],
        "The capital of France is Paris.",
    ),
    (&["list"], "smollm2:135m"),
    (&["show", "smollm2:135m"], "Apache-2.0"),
    (&["doctor"], "isolation"),
];

/// Runs each command without a network and looks for its answer.
pub(super) fn run() -> Result<Verdict> {
    if let Err(error) = output(&mut alone(&program("true", &[]))) {
        let reason = format!("{error:#}");
        let reason = reason.lines().next().unwrap_or_default();
        return Ok(Verdict::NotChecked(format!("no empty network namespace here ({reason})")));
    }
    for (args, expected) in COMMANDS {
        let mut command = alone(&hearth(args));
        let printed = output(&mut command)?;
        let name = line(&command);
        ensure!(printed.contains(expected), "{name}\nprinted {printed:?}, expected {expected:?}");
    }
    Ok(Verdict::Passed)
}

/// The same command in an empty network namespace.
fn alone(command: &Command) -> Command {
    let mut unshare = program("unshare", &["--map-root-user", "--net", "--"]);
    unshare.arg(command.get_program()).args(command.get_args());
    unshare
}
