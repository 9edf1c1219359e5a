//! `cargo xtask check`: every step in order, its seconds, and the closing lines of the test runner.
//!
//! A step is a name and a function in the list below; steps with more than a line to say have a
//! file. All steps run even when one fails, so that one run shows everything that is wrong.

mod asan;
mod embeddings;
mod offline;
mod runner;

use crate::cargo::{cargo, succeed};
use crate::{conformance, deps, fetch, fuzz, tidy};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How a step ended well.
pub(crate) enum Verdict {
    /// It found nothing wrong.
    Passed,
    /// It could not look, and says why: never counted as passed.
    NotChecked(String),
}

/// One step of the gate.
struct Step {
    name: &'static str,
    run: fn(&mut Report) -> Result<Verdict>,
}

/// Cheap steps first. Each shares its build with the others where cargo allows it (profile
/// `bench`).
const STEPS: &[Step] = &[
    Step { name: "fmt", run: |_| command(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", run: |_| tidy::run().map(|()| Verdict::Passed) },
    Step { name: "fetch", run: |_| fetch::run().map(|()| Verdict::Passed) },
    Step { name: "deps", run: |_| deps::run().map(|()| Verdict::Passed) },
    Step { name: "advisories", run: |_| Ok(deps::advisories()) },
    Step { name: "clippy", run: |_| command(CLIPPY) },
    Step { name: "doc", run: |_| doc() },
    Step { name: "test", run: runner::run },
    Step { name: "asan", run: asan::run },
    Step { name: "embeddings", run: |_| embeddings::run() },
    Step { name: "offline", run: |_| offline::run() },
];

/// What `--full` adds.
const FULL: &[Step] = &[
    Step { name: "fuzz", run: |_| fuzz::run(&[], FUZZ_SECONDS).map(|()| Verdict::Passed) },
    Step { name: "conformance", run: |_| compare() },
];

/// For each target: enough to find what a change broke at the surface.
const FUZZ_SECONDS: u64 = 60;

const CLIPPY: &[&str] = &[
    "clippy",
    "--workspace",
    "--all-targets",
    "--profile",
    "bench",
    "--locked",
    "--offline",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

const DOC: &[&str] = &[
    "doc",
    "--workspace",
    "--no-deps",
    "--document-private-items",
    "--profile",
    "bench",
    "--locked",
    "--offline",
    "--quiet",
];

const BUDGET: Duration = Duration::from_secs(30 * 60);
const FULL_BUDGET: Duration = Duration::from_secs(80 * 60);

/// What the test runs counted, and when the whole check must end.
pub(crate) struct Report {
    deadline: Instant,
    closing_lines: Vec<String>,
    passed: u64,
    failed: u64,
}

/// Runs the gate; an error if any step failed or the budget was exceeded.
pub(crate) fn run(full: bool) -> Result<()> {
    let start = Instant::now();
    let budget = if full { FULL_BUDGET } else { BUDGET };
    let mut report =
        Report { deadline: start + budget, closing_lines: Vec::new(), passed: 0, failed: 0 };
    let mut table = Vec::new();
    let mut failures = 0;
    for step in STEPS.iter().chain(if full { FULL } else { &[] }) {
        println!("== {}", step.name);
        let begin = Instant::now();
        let result = if begin < report.deadline {
            (step.run)(&mut report)
        } else {
            Err(anyhow::anyhow!("not run: the budget was used up before"))
        };
        failures += usize::from(result.is_err());
        let outcome = match result {
            Ok(Verdict::Passed) => "passed".to_owned(),
            Ok(Verdict::NotChecked(why)) => format!("not checked: {why}"),
            Err(error) => format!("FAILED: {error:#}"),
        };
        let line = format!("{:<11} {:>7.1} s  {outcome}", step.name, begin.elapsed().as_secs_f64());
        println!("== {line}");
        table.push(line);
    }
    let total = start.elapsed();
    close(&report, &table, total, budget);
    if total > budget {
        bail!("over budget: {:.0} s, allowed {} s", total.as_secs_f64(), budget.as_secs());
    }
    if failures > 0 || report.failed > 0 {
        bail!("{failures} of the steps failed");
    }
    Ok(())
}

/// Prints the table of steps and then the runner's closing lines.
fn close(report: &Report, table: &[String], total: Duration, budget: Duration) {
    println!("\nsteps:");
    for line in table {
        println!("  {line}");
    }
    println!("  {:<11} {:>7.1} s  of {} s allowed", "total", total.as_secs_f64(), budget.as_secs());
    println!("\ntests:");
    for line in &report.closing_lines {
        println!("{line}");
    }
    println!("{} passed, {} failed", report.passed, report.failed);
}

fn command(args: &[&str]) -> Result<Verdict> {
    succeed(&mut cargo(args)).map(|()| Verdict::Passed)
}

/// Everything beside llama.cpp, which is built first if it is not there.
fn compare() -> Result<Verdict> {
    conformance::run(&conformance::Args::default()).map(|()| Verdict::Passed)
}

/// Documentation, with every rustdoc warning an error. Private items are documented too, so a link
/// to one leads somewhere.
fn doc() -> Result<Verdict> {
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    succeed(cargo(DOC).env("RUSTDOCFLAGS", flags)).map(|()| Verdict::Passed)
}
