//! `cargo xtask bench`: speed beside llama.cpp on one machine in one run, as a table and a dated
//! record.
//!
//! Runs alternate (ours, theirs, ours, theirs ...), so that a machine that slows down slows both;
//! the median of each is compared. The machine's peaks are probed in every run of ours. llama.cpp
//! is measured without and with flash attention, and the faster of the two counts. Other programs
//! can be measured beside it; nothing is asked of those ratios.
//!
//! `cases` lists the groups; what is not a comparison on a file has a file of its own.

mod cases;
mod idle;
mod measure;
mod processes;
mod quota;
mod screening;
mod speculation;
mod start;
mod sustained;
mod threads;
mod turns;

use crate::hearth;
use crate::oracle::{self, Oracle, Rival};
use crate::record::{self, Row};
use anyhow::{Result, bail, ensure};
use cases::{Case, Measure, Work};
use std::path::PathBuf;
use turns::Turns;

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
    /// Threads of all programs.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(
        long, value_name = "PROGRAM", value_delimiter = ',', value_parser = oracle::rival_named,
        help = format!("Measure these too, for information: {}", oracle::rival_names())
    )]
    beside: Vec<&'static Rival>,
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
    let (mut all, mut missed) = (0, 0);
    // Row by row: an hour of measuring is not lost with its last minute.
    let mut record = |rows: &[Row]| {
        record::print(rows);
        all += rows.len();
        missed += rows.iter().filter(|row| !row.holds).count();
        record::add("bench", oracle::VERSION, rows)
    };
    for measure in args.measures()? {
        match measure {
            Measure::Beside(cases) => {
                let oracle = Oracle::open(args.oracle.as_deref())?;
                for case in cases {
                    let mut turns = Turns::new(&case, args.threads, &args.beside);
                    (0..args.rounds).try_for_each(|_| turns.round(&oracle))?;
                    record(&turns.rows())?;
                }
            }
            Measure::Alone(run) => record(&run(args)?)?,
        }
    }
    println!("recorded in bench/record/bench.csv");
    if missed > 0 {
        bail!("{missed} of {all} figures miss their targets");
    }
    Ok(())
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
