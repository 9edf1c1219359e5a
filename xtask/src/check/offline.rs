//! The first command of the README and its neighbours on a machine without a network: an empty
//! network namespace. Where that is not allowed, nothing is checked.

use super::Verdict;
use crate::cargo::{line, output, without_network};
use crate::hearth::hearth;
use anyhow::{Result, ensure};

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
    for (args, expected) in COMMANDS {
        let mut command = match without_network(&hearth(args)) {
            Ok(command) => command,
            Err(error) => {
                let reason = format!("{error:#}");
                let reason = reason.lines().next().unwrap_or_default();
                let text = format!("no empty network namespace here ({reason})");
                return Ok(Verdict::NotChecked(text));
            }
        };
        let printed = output(&mut command)?;
        let name = line(&command);
        ensure!(printed.contains(expected), "{name}\nprinted {printed:?}, expected {expected:?}");
    }
    Ok(Verdict::Passed)
}
