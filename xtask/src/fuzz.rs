//! `cargo xtask fuzz`: builds and runs the targets of `fuzz/` with libFuzzer and records the
//! outcome.
//!
//! Needs no cargo-fuzz: the coverage passes are flags of the compiler, and libFuzzer is built by
//! its crate with a C++ compiler. The sanitizer's flag is not stable yet, hence `RUSTC_BOOTSTRAP`;
//! it is what lets libFuzzer limit a single allocation, which is how over-allocation is found. New
//! inputs go to `target/fuzz`, what makes a target fail to `fuzz/artifacts`; the seeds in
//! `fuzz/corpus` are small and change by hand only.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{cargo, output, program, root, succeed};
use crate::record::{self, Row};

/// Every target: its name in `fuzz/Cargo.toml` and the longest input worth trying, in bytes.
const TARGETS: &[(&str, usize)] = &[
    ("gguf", 4096),
    ("template", 2048),
    ("frames", 4096),
    ("tokenizer_metadata", 2048),
    ("safetensors", 2048),
    ("adapter", 4096),
    ("folder", 20_000),
];

/// What cargo-fuzz passes: counters at every edge, and the operands of comparisons.
const FLAGS: &[&str] = &[
    "--cfg fuzzing",
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Limits under which an input counts as a finding: one allocation, all memory, one input's time.
const LIMITS: &[&str] = &["-malloc_limit_mb=128", "-rss_limit_mb=2048", "-timeout=10"];

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets to run; all of them unless given.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the targets named on the command line.
pub(crate) fn command(args: &Args) -> Result<()> {
    let names: Vec<&str> = args.targets.iter().map(String::as_str).collect();
    run(&names, args.seconds)
}

/// Builds and runs each target for `seconds`, all targets if none is named; an error if any fails.
pub(crate) fn run(names: &[&str], seconds: u64) -> Result<()> {
    let known = || TARGETS.iter().map(|target| target.0).collect::<Vec<_>>().join(" ");
    if let Some(unknown) = names.iter().find(|&&name| !TARGETS.iter().any(|row| row.0 == name)) {
        bail!("no fuzz target {unknown:?}; known: {}", known());
    }
    let chosen = |name: &str| names.is_empty() || names.contains(&name);
    let host = host()?;
    let mut rows = Vec::new();
    for &(name, longest) in TARGETS.iter().filter(|target| chosen(target.0)) {
        build(name, &host)?;
        rows.push(fuzz(name, longest, &host, seconds)?);
    }
    record::print(&rows);
    record::append("fuzz", "libfuzzer-sys 0.4", &rows)?;
    ensure!(rows.iter().all(|row| row.holds), "a fuzz target failed: see fuzz/artifacts");
    Ok(())
}

fn host() -> Result<String> {
    let version = output(&mut program("rustc", &["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Builds one target in `target/fuzz-build`, apart from everything built without these flags.
fn build(name: &str, host: &str) -> Result<()> {
    let mut build = cargo(&["build", "--manifest-path", "fuzz/Cargo.toml", "--release"]);
    build
        .args(["--bin", name, "--target", host, "--target-dir", "target/fuzz-build"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "));
    succeed(&mut build)
}

/// Runs one target and reads the statistics it prints at its end.
fn fuzz(name: &str, longest: usize, host: &str, seconds: u64) -> Result<Row> {
    let (found, seeds) = (format!("target/fuzz/{name}"), format!("fuzz/corpus/{name}"));
    fs::create_dir_all(root().join(&found))?;
    fs::create_dir_all(root().join("fuzz/artifacts"))?;
    let binary = root().join("target/fuzz-build").join(host).join("release").join(name);
    let mut command = Command::new(binary);
    command.current_dir(root()).arg(&found);
    if Path::new(&root().join(&seeds)).is_dir() {
        command.arg(&seeds);
    }
    command.args(LIMITS).args(["-print_final_stats=1", "-verbosity=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={longest}"));
    command.arg(format!("-artifact_prefix=fuzz/artifacts/{name}-"));
    // Chat templates may make reference cycles; what they hold ends with the sealed process.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    let done = command.output().with_context(|| format!("cannot start the target {name}"))?;
    let text = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let tail: Vec<&str> = text.lines().rev().take(60).collect();
        eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(Row {
        what: format!("{name} for {seconds} s"),
        figure: figures(&text),
        target: "no finding".to_owned(),
        holds: done.status.success(),
    })
}

/// Inputs run, edges covered and memory used, from libFuzzer's report.
fn figures(report: &str) -> String {
    let word_after = |label: &str| {
        let at = report.rfind(label)? + label.len();
        report[at..].split_whitespace().next()
    };
    let runs = word_after("stat::number_of_executed_units:").unwrap_or("?");
    let edges = word_after(" cov: ").unwrap_or("?");
    let memory = word_after("stat::peak_rss_mb:").unwrap_or("?");
    format!("{runs} inputs; {edges} edges; {memory} MB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_the_last_lines_of_the_report() {
        let report = "#2 INITED cov: 10 ft: 11\n#9 DONE   cov: 1062 ft: 3 corp: 1/1b\n\
                      stat::number_of_executed_units: 1941958\nstat::peak_rss_mb:     28\n";
        assert_eq!(figures(report), "1941958 inputs; 1062 edges; 28 MB");
        assert_eq!(figures("nothing"), "? inputs; ? edges; ? MB");
    }

    #[test]
    fn every_target_is_in_the_manifest() {
        let text = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let bins = manifest["bin"].as_array().unwrap().iter();
        let names = bins.map(|bin| bin["name"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, TARGETS.iter().map(|target| target.0).collect::<Vec<_>>());
    }
}
