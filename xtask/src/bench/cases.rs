//! The one list of what is compared: files, work and targets, in groups.
//!
//! Targets are ratios to llama.cpp on a machine with byte dot products of 512 bits; a machine
//! without them has targets of its own, see [`Case::targets`].

use super::{Args, idle, screening, speculation, start, sustained, threads};
use crate::record::Row;
use crate::{conformance, fetch};
use anyhow::{Result, bail};
use hearth_kernels::cpu::{Cpu, Level};
use std::path::PathBuf;

/// What is done with a model.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Tokens in the cache before anything is timed.
    pub(super) depth: usize,
    /// Prompt tokens.
    pub(super) prompt: usize,
    /// Tokens decoded, by each sequence.
    pub(super) generate: usize,
    /// Sequences that decode together.
    pub(super) sequences: usize,
}

/// One comparison.
pub(super) struct Case {
    pub(super) file: PathBuf,
    pub(super) work: Work,
    /// Least ratio in prefill; `None` if only decoding is of interest.
    prefill: Option<f64>,
    /// Least ratio in decoding; `None` if only the prompt is.
    decode: Option<f64>,
}

impl Case {
    /// Least ratios in prefill and decoding on this machine.
    pub(super) fn targets(&self) -> [Option<f64>; 2] {
        let wide = Cpu::detect().level() > Level::Avx2;
        let here = |target: Option<f64>, narrow: f64| {
            target.map(|target| if wide { target } else { target.min(narrow) })
        };
        [here(self.prefill, 1.3), here(self.decode, 1.0)]
    }

    /// A case without targets beyond those of the narrow machine.
    pub(super) fn plain(file: PathBuf, work: Work) -> Self {
        Self { file, work, prefill: Some(1.0), decode: Some(1.0) }
    }
}

/// A group: its name, what it shows, and how it is measured.
struct Group(&'static str, &'static str, fn() -> Result<Measure>);

/// What is measured, and how.
pub(super) enum Measure {
    /// Beside llama.cpp, on these cases.
    Beside(Vec<Case>),
    /// Something of our own.
    Alone(fn(&Args) -> Result<Vec<Row>>),
}

const GROUPS: &[Group] = &[
    Group("main", "both real models and the 1B shape", || main().map(Measure::Beside)),
    Group("mixtures", "the 1B shape in the common mixtures", || mixtures().map(Measure::Beside)),
    Group("formats", "the 1B shape in every other type", || formats().map(Measure::Beside)),
    Group("shapes", "other models' shapes in Q4_K_M", || shapes().map(Measure::Beside)),
    Group("depth", "the 1B shape with a long context", || depth().map(Measure::Beside)),
    Group("together", "2, 4 and 8 sequences that decode together", || {
        together().map(Measure::Beside)
    }),
    Group("quality", "what speed must not cost", || Ok(Measure::Alone(quality))),
    Group("start", "from the start to the first token", || Ok(Measure::Alone(start::start))),
    Group("warm", "the first token of a prompt that is mostly cached", || {
        Ok(Measure::Alone(start::warm))
    }),
    Group("memory", "peak memory at work", || Ok(Measure::Alone(start::memory))),
    Group("speculation", "what guessing tokens gains", || Ok(Measure::Alone(speculation::run))),
    Group("threads", "one thread, one a processor, too many, and half a core", || {
        Ok(Measure::Alone(threads::run))
    }),
    Group("sustained", "a minute of decoding without a break", || {
        Ok(Measure::Alone(sustained::run))
    }),
    Group("idle", "a conversation that waits", || Ok(Measure::Alone(idle::run))),
    Group("screening", "what screening the head gains", || Ok(Measure::Alone(screening::run))),
];

/// The groups' names, for help and errors.
pub(super) fn names() -> String {
    let line = |Group(name, about, _): &Group| format!("{name} ({about})");
    GROUPS.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// How the group of this name is measured.
pub(super) fn group(name: &str) -> Result<Measure> {
    match GROUPS.iter().find(|group| group.0 == name) {
        Some(group) => (group.2)(),
        None => bail!("no group {name:?}; known: {}", names()),
    }
}

const SHORT: Work = Work { depth: 0, prompt: 512, generate: 64, sequences: 1 };

/// The 1B shape.
const ONE_B: &str = "llama-3.2-1b";

fn shape(shape: &str, kind: &str, work: Work, prefill: f64, decode: f64) -> Result<Case> {
    let file = fetch::synthetic(shape, kind)?;
    Ok(Case { file, work, prefill: Some(prefill), decode: Some(decode) })
}

/// The 1B shape in its usual mixture.
pub(super) fn one_b(work: Work) -> Result<Case> {
    shape(ONE_B, "Q4_K_M", work, 1.8, 1.0)
}

fn main() -> Result<Vec<Case>> {
    let targets = [(5.0, 1.9), (2.6, 2.0)];
    let real = crate::hearth::models()?.into_iter().zip(targets);
    let mut cases: Vec<Case> = real
        .map(|(model, (prefill, decode))| Case {
            file: model.path,
            work: SHORT,
            prefill: Some(prefill),
            decode: Some(decode),
        })
        .collect();
    cases.push(one_b(SHORT)?);
    Ok(cases)
}

fn mixtures() -> Result<Vec<Case>> {
    let kinds = [
        ("Q4_K_M", 1.8),
        ("Q4_0", 2.2),
        ("Q8_0", 2.7),
        ("Q6_K", 1.4),
        ("Q5_K_M", 1.2),
        ("IQ4_XS", 1.3),
    ];
    kinds.into_iter().map(|(kind, prefill)| shape(ONE_B, kind, SHORT, prefill, 1.0)).collect()
}

fn formats() -> Result<Vec<Case>> {
    let kinds = ["F16", "BF16", "Q2_K", "Q3_K", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "TQ1_0", "TQ2_0"];
    let some = Work { prompt: 128, generate: 16, ..SHORT };
    let all = kinds.into_iter().chain(["MXFP4", "F32"]);
    all.map(|kind| shape(ONE_B, kind, some, 1.0, 1.0)).collect()
}

fn shapes() -> Result<Vec<Case>> {
    let names = [
        "llama-3.2-3b",
        "llama-3-8b",
        "phi-4-mini",
        "gemma-3-1b",
        "gemma-3-4b",
        "qwen3-0.6b",
        "qwen3-4b",
    ];
    let some = Work { prompt: 256, generate: 32, ..SHORT };
    names.into_iter().map(|name| shape(name, "Q4_K_M", some, 1.8, 1.0)).collect()
}

fn depth() -> Result<Vec<Case>> {
    let file = fetch::synthetic(ONE_B, "Q4_K_M")?;
    let long = Work { prompt: 8192, generate: 0, ..SHORT };
    let mut cases = vec![Case { file, work: long, prefill: Some(2.2), decode: None }];
    for depth in [8192, 16384] {
        let file = fetch::synthetic(ONE_B, "Q4_K_M")?;
        let work = Work { depth, prompt: 1, generate: 32, sequences: 1 };
        cases.push(Case { file, work, prefill: None, decode: Some(1.9) });
    }
    Ok(cases)
}

fn quality(args: &Args) -> Result<Vec<Row>> {
    conformance::quality(args.oracle.as_deref())
}

fn together() -> Result<Vec<Case>> {
    let counts = [(2, 1.7), (4, 2.5), (8, 3.5)];
    let case = |(sequences, target)| {
        let file = fetch::synthetic(ONE_B, "Q4_K_M")?;
        let work = Work { depth: 0, prompt: 128, generate: 32, sequences };
        Ok(Case { file, work, prefill: None, decode: Some(target) })
    };
    counts.into_iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_group_is_named_beside_the_known() {
        let error = group("fast").err().unwrap().to_string();
        assert!(error.contains("\"fast\"") && error.contains("together"), "{error}");
    }

    #[test]
    fn targets_are_never_above_the_listed_ones() {
        let case = Case { file: PathBuf::new(), work: SHORT, prefill: Some(1.2), decode: None };
        assert_eq!(case.targets(), [Some(1.2), None]);
    }
}
