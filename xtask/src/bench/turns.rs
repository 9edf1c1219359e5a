//! Runs in turn on one case (ours, llama.cpp's, those of the programs asked for beside them, and
//! again), so that a machine that slows down slows all; the medians become rows.

use super::cases::{Case, Work};
use super::measure::{self, Shares, Speed};
use super::median;
use crate::oracle::{Oracle, Rival};
use crate::record::Row;
use anyhow::Result;

/// What the runs on one case have given so far.
pub(super) struct Turns<'a> {
    case: &'a Case,
    threads: usize,
    ours: Vec<Speed>,
    shares: Vec<Shares>,
    theirs: Vec<Speed>,
    rivals: Vec<Others>,
}

/// What a program beside llama.cpp has given, up to its first failure.
struct Others {
    rival: &'static Rival,
    runs: Vec<Speed>,
    failure: Option<anyhow::Error>,
}

/// One of the speeds of a run.
pub(super) type Pick = fn(&Speed) -> f64;

impl<'a> Turns<'a> {
    pub(super) fn new(case: &'a Case, threads: usize, rivals: &[&'static Rival]) -> Self {
        let others = |rival: &&'static Rival| Others { rival, runs: Vec::new(), failure: None };
        let rivals = rivals.iter().map(others).collect();
        let (ours, shares, theirs) = (Vec::new(), Vec::new(), Vec::new());
        Self { case, threads, ours, shares, theirs, rivals }
    }

    /// One run of each.
    pub(super) fn round(&mut self, oracle: &Oracle) -> Result<()> {
        let (speed, shares) = measure::ours(self.case, self.threads)?;
        self.ours.push(speed);
        self.shares.push(shares);
        self.theirs.push(measure::theirs(oracle, self.case, self.threads)?);
        for others in self.rivals.iter_mut().filter(|others| others.failure.is_none()) {
            match measure::rival(oracle, others.rival, self.case, self.threads) {
                Ok(speed) => others.runs.push(speed),
                Err(error) => others.failure = Some(error),
            }
        }
        Ok(())
    }

    /// Our speed so far.
    pub(super) fn ours(&self, pick: Pick) -> f64 {
        middle(&self.ours, pick)
    }

    /// Prefill and decoding in words.
    fn names(&self) -> [String; 2] {
        let Work { depth, prompt, generate, sequences } = self.case.work;
        let file = self.case.file.file_name().unwrap_or_default().to_string_lossy();
        let at = if depth > 0 { format!(" at {depth}") } else { String::new() };
        let by = if sequences > 1 { format!(" x {sequences}") } else { String::new() };
        let name = |work: String| format!("{work}, {file}, {} threads", self.threads);
        [name(format!("prefill {prompt}{at}")), name(format!("decode {generate}{at}{by}"))]
    }

    /// Prefill and decoding beside llama.cpp, as far as they have targets, and beside the others.
    pub(super) fn rows(&self) -> Vec<Row> {
        let share = |pick: fn(&Shares) -> f64| median(self.shares.iter().map(pick).collect());
        let shares = [
            format!("{:.0} % of {:.0} Gop/s", 100.0 * share(|s| s.prefill), share(|s| s.int8)),
            format!("{:.0} % of {:.1} GB/s", 100.0 * share(|s| s.decode), share(|s| s.read)),
        ];
        let mut rows = Vec::new();
        for (((what, pick), target), share) in self.phases().zip(self.case.targets()).zip(shares) {
            let Some(target) = target else { continue };
            let (figure, ratio) = self.beside(&self.theirs, pick);
            rows.push(Row {
                what,
                figure: format!("{figure}; {share}"),
                target: format!(">= {target:.1}x llama.cpp"),
                holds: ratio >= target,
            });
        }
        rows.extend(self.rivals.iter().flat_map(|others| self.rows_beside(others)));
        rows
    }

    /// Rows that inform: nothing is asked of the comparison with a program beside llama.cpp.
    fn rows_beside(&self, others: &Others) -> Vec<Row> {
        let title = others.rival.title;
        let row = |(what, pick): (String, Pick)| {
            let what = format!("{what}, beside {title}");
            match &others.failure {
                Some(error) => Row::left_out(what, error),
                None => Row::informs(what, self.beside(&others.runs, pick).0),
            }
        };
        // One line says why there is nothing.
        let count = if others.failure.is_some() { 1 } else { 2 };
        self.phases().take(count).map(row).collect()
    }

    /// What is measured, and which speed it is.
    pub(super) fn phases(&self) -> impl Iterator<Item = (String, Pick)> {
        let picks: [Pick; 2] = [|speed| speed.prefill, |speed| speed.decode];
        self.names().into_iter().zip(picks)
    }

    /// Our speed beside theirs, in words and as a ratio.
    fn beside(&self, theirs: &[Speed], pick: Pick) -> (String, f64) {
        let (ours, theirs) = (self.ours(pick), middle(theirs, pick));
        (format!("{ours:.1} to {theirs:.1} tok/s ({:.2}x)", ours / theirs), ours / theirs)
    }
}

fn middle(runs: &[Speed], pick: Pick) -> f64 {
    median(runs.iter().map(pick).collect())
}
