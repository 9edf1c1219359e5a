//! `cargo xtask bench`: speed beside llama.cpp on one machine in one run, as a table and a dated
//! record.
//!
//! Runs alternate (ours, theirs, ours, theirs ...), so that a machine that slows down slows both;
//! the median of each is compared. The machine's peaks are probed in every run of ours. llama.cpp
//! is measured without and with flash attention, and the faster of the two counts.

mod cases;
mod measure;
mod screening;
mod speculation;
mod start;

use crate::hearth;
use crate::oracle::{self, Oracle};
use crate::record::{self, Row};
use anyhow::{Result, bail, ensure};
use cases::{Case, Measure, Work};
use measure::{Shares, Speed};
use std::path::PathBuf;

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder with llama.cpp already built, instead of target/oracle.
    #[arg(long)]
    oracle: Option<PathBuf>,
    #[arg(long, default_value = "main", help = format!("What to measure: {}", cases::names()))]
    group: Vec<String>,
    /// Model files to measure, instead of a group.
    models: Vec<PathBuf>,
    /// Alternations.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Prompt tokens, for model files.
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens decoded, for model files.
    #[arg(long = "gen", default_value_t = 64)]
    generate: usize,
    /// Threads of both programs.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Args {
    /// The files named, or the groups.
    fn measures(&self) -> Result<Vec<Measure>> {
        if self.models.is_empty() {
            return self.group.iter().map(|name| cases::group(name)).collect();
        }
        let (prompt, generate) = (self.prompt, self.generate);
        let work = Work { depth: 0, prompt, generate, sequences: 1 };
        let cases = self.models.iter().map(|file| Case::plain(file.clone(), work)).collect();
        Ok(vec![Measure::Beside(cases)])
    }
}

/// Measures everything, prints the table and records it; an error if a target is missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds 0 measures nothing");
    hearth::build()?;
    let mut rows = Vec::new();
    for measure in args.measures()? {
        match measure {
            Measure::Beside(cases) => {
                let oracle = Oracle::open(args.oracle.as_deref())?;
                for case in cases {
                    let found = compare(args, &oracle, &case)?;
                    record::print(&found);
                    rows.extend(found);
                }
            }
            Measure::Alone(run) => {
                let found = run(args)?;
                record::print(&found);
                rows.extend(found);
            }
        }
    }
    record::append("bench", oracle::VERSION, &rows)?;
    let missed = rows.iter().filter(|row| !row.holds).count();
    if missed > 0 {
        bail!("{missed} of {} figures miss their targets", rows.len());
    }
    Ok(())
}

/// One case, alternating.
fn compare(args: &Args, oracle: &Oracle, case: &Case) -> Result<Vec<Row>> {
    let (mut ours, mut shares, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let (speed, share) = measure::ours(case, args.threads)?;
        ours.push(speed);
        shares.push(share);
        theirs.push(measure::theirs(oracle, case, args.threads)?);
    }
    let Work { depth, prompt, generate, sequences } = case.work;
    let name = case.file.file_name().unwrap_or_default().to_string_lossy();
    let at = if depth > 0 { format!(" at {depth}") } else { String::new() };
    let by = if sequences > 1 { format!(" x {sequences}") } else { String::new() };
    let row = |what: String, target: Option<f64>, pick: fn(&Speed) -> f64, share: String| {
        let middle = |runs: &[Speed]| median(runs.iter().map(pick).collect());
        let (ours, theirs) = (middle(&ours), middle(&theirs));
        let ratio = ours / theirs;
        target.map(|target| Row {
            what: format!("{what}, {name}, {} threads", args.threads),
            figure: format!("{ours:.1} to {theirs:.1} tok/s ({ratio:.2}x); {share}"),
            target: format!(">= {target:.1}x llama.cpp"),
            holds: ratio >= target,
        })
    };
    let share = |pick: fn(&Shares) -> f64| median(shares.iter().map(pick).collect());
    let int8 = format!("{:.0} % of {:.0} Gop/s", 100.0 * share(|s| s.prefill), share(|s| s.int8));
    let read = format!("{:.0} % of {:.1} GB/s", 100.0 * share(|s| s.decode), share(|s| s.read));
    let (prefill, decode) = case.targets();
    let rows = [
        row(format!("prefill {prompt}{at}"), prefill, |speed| speed.prefill, int8),
        row(format!("decode {generate}{at}{by}"), decode, |speed| speed.decode, read),
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
