//! The test step: `cargo test` over the workspace, forwarded line by line and counted.
//!
//! Stops the run at the deadline of the whole check, so that a test that hangs is a failure and not
//! a check that never ends. Counts come from the runner's own closing lines.

use super::{Report, Verdict};
use crate::cargo::{cargo, line};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, PipeReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const TEST: &[&str] =
    &["test", "--workspace", "--profile", "bench", "--locked", "--offline", "--no-fail-fast"];

/// Runs every test of the workspace.
pub(crate) fn run(report: &mut Report) -> Result<Verdict> {
    counted(&mut cargo(TEST), report).map(|()| Verdict::Passed)
}

/// Runs a `cargo test` command, forwards its output and adds its closing lines to the report.
pub(crate) fn counted(command: &mut Command, report: &mut Report) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", line(command)))?;
    let name = line(command);
    // The command keeps the write ends open: give them up, or the reader never sees the end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let forward = std::thread::spawn(move || forward(reader));
    let ended = wait(&mut child, report.deadline)?;
    if !ended {
        bail!("{name} did not end before the budget was used up; the last test named above hangs");
    }
    let closing = forward.join().expect("the forwarding thread does not panic")?;
    if closing.is_empty() {
        bail!("{name} ran no test");
    }
    for line in closing {
        report.passed += count(&line, "passed");
        report.failed += count(&line, "failed");
        report.closing_lines.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Waits for the child; at the deadline kills it and returns false.
fn wait(child: &mut Child, deadline: Instant) -> Result<bool> {
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    Ok(false)
}

/// Copies the output to stdout; returns the closing line of each test binary with its name.
fn forward(reader: PipeReader) -> std::io::Result<Vec<String>> {
    let mut closing = Vec::new();
    let mut binary = String::new();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        println!("{line}");
        let trimmed = line.trim_start();
        if let Some(name) = trimmed.strip_prefix("Running ") {
            name.split(" (").next().unwrap_or(name).clone_into(&mut binary);
        } else if let Some(name) = trimmed.strip_prefix("Doc-tests ") {
            binary = format!("doc {name}");
        } else if trimmed.starts_with("test result:") && !trimmed.contains(" 0 passed; 0 failed;") {
            closing.push(format!("{trimmed} [{binary}]"));
        }
    }
    Ok(closing)
}

/// The number before a word in `test result: ok. 12 passed; 0 failed; ...`.
fn count(line: &str, word: &str) -> u64 {
    line.split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        .next()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_a_closing_line() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!((count(line, "passed"), count(line, "failed")), (12, 3));
        assert_eq!(count("test result: ok.", "passed"), 0);
    }
}
