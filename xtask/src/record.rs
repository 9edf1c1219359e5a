//! Dated records of measurements: one CSV file per command in `bench/record/`, kept in the
//! repository.
//!
//! Every line says when, on which machine, at which commit and with which compiler it was measured.

use crate::cargo::{output, program, root};
use crate::date::today;
use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::io::Write;

/// One measured figure beside its target.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured, on which input.
    pub(crate) what: String,
    /// What came out.
    pub(crate) figure: String,
    /// What was asked for; empty where nothing was.
    pub(crate) target: String,
    /// Whether the figure meets it.
    pub(crate) holds: bool,
}

impl Row {
    /// A row whose figure must not exceed `most`.
    pub(crate) fn at_most(what: impl Into<String>, figure: f64, most: f64) -> Self {
        let (figure_text, target) = (format!("{figure:.3e}"), format!("<= {most:e}"));
        Self { what: what.into(), figure: figure_text, target, holds: figure <= most }
    }

    /// A row that tells why nothing was measured: it never holds.
    pub(crate) fn failed(what: impl Into<String>, error: &anyhow::Error) -> Self {
        Self { holds: false, ..Self::left_out(what, error) }
    }

    /// A row that tells why nothing was measured, where that is no failure.
    pub(crate) fn left_out(what: impl Into<String>, error: &anyhow::Error) -> Self {
        Self::informs(what, format!("{error:#}").lines().next().unwrap_or_default())
    }

    /// A row of which nothing is asked.
    pub(crate) fn informs(what: impl Into<String>, figure: impl Into<String>) -> Self {
        let (what, figure) = (what.into(), figure.into());
        Self { what, figure, target: String::new(), holds: true }
    }
}

/// Prints the rows as a table.
pub(crate) fn print(rows: &[Row]) {
    for Row { what, figure, target, holds } in rows {
        let mark = if *holds { "ok  " } else { "MISS" };
        println!("{mark} {what:<58} {figure:<24} {target}");
    }
}

/// Appends the rows to `bench/record/NAME.csv`, and says so.
pub(crate) fn append(name: &str, versions: &str, rows: &[Row]) -> Result<()> {
    add(name, versions, rows)?;
    println!("recorded in bench/record/{name}.csv");
    Ok(())
}

/// Appends the rows to `bench/record/NAME.csv` with what is needed to read them later.
pub(crate) fn add(name: &str, versions: &str, rows: &[Row]) -> Result<()> {
    let folder = root().join("bench/record");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.csv"));
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    if is_new {
        writeln!(file, "date,machine,commit,versions,what,figure,target,holds")?;
    }
    let (machine, commit) = (machine()?, commit()?);
    let rustc = output(&mut program("rustc", &["--version"]))?;
    let versions = format!("{} {versions}", rustc.trim());
    for Row { what, figure, target, holds } in rows {
        let values = [&today(), &machine, &commit, &versions, what, figure, target];
        for value in values {
            write!(file, "{},", value.replace([',', '\n', '"'], ";"))?;
        }
        writeln!(file, "{holds}")?;
    }
    Ok(())
}

/// The processor and how many of its threads this machine has.
fn machine() -> Result<String> {
    let threads = std::thread::available_parallelism().context("number of processors")?;
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or(std::env::consts::ARCH, |line| line.trim_start_matches(['\t', ':', ' ']));
    Ok(format!("{model} x{threads}"))
}

/// The commit that was measured; `+` where the tree differed from it.
fn commit() -> Result<String> {
    let commit = output(&mut program("git", &["rev-parse", "--short", "HEAD"]))?;
    let changes = output(&mut program("git", &["status", "--porcelain", "--", "crates", "xtask"]))?;
    let mark = if changes.trim().is_empty() { "" } else { "+" };
    Ok(format!("{}{mark}", commit.trim()))
}
