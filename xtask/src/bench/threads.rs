//! How speed goes with threads: one, one for each processor, and more than there are; and with
//! half a core. More threads than processors are a user's mistake that must not cost much.

use super::cases::{self, Work};
use super::turns::{Pick, Turns};
use super::{Args, quota};
use crate::oracle::Oracle;
use crate::record::Row;
use anyhow::Result;
use std::collections::BTreeSet;

/// Least share of our best speed with twice as many threads as processors.
const LEAST: f64 = 0.5;

/// Measures the 1B shape; `--threads` says nothing here.
pub(super) fn run(args: &Args) -> Result<Vec<Row>> {
    let oracle = Oracle::open(args.oracle.as_deref())?;
    let case = cases::one_b(Work { depth: 0, prompt: 256, generate: 64, sequences: 1 })?;
    let processors = std::thread::available_parallelism()?.get();
    let counts = BTreeSet::from([1, processors, 2 * processors]);
    let mut all: Vec<Turns> =
        counts.into_iter().map(|threads| Turns::new(&case, threads, &args.beside)).collect();
    for _ in 0..args.rounds {
        all.iter_mut().try_for_each(|turns| turns.round(&oracle))?;
    }
    let mut rows: Vec<Row> = all.iter().flat_map(Turns::rows).collect();
    rows.extend(all.last().into_iter().flat_map(|most| crowded(most, &all)));
    rows.push(quota::run(args, &case.file)?);
    Ok(rows)
}

/// Our speed with the most threads beside our best.
fn crowded(most: &Turns, all: &[Turns]) -> Vec<Row> {
    let row = |(what, pick): (String, Pick)| {
        let best = all.iter().map(|turns| turns.ours(pick)).fold(0.0, f64::max);
        let here = most.ours(pick);
        Row {
            what: format!("{what}, beside our best"),
            figure: format!("{here:.1} to {best:.1} tok/s ({:.2}x)", here / best),
            target: format!(">= {LEAST}x"),
            holds: here >= LEAST * best,
        }
    };
    most.phases().map(row).collect()
}
