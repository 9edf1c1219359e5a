//! `cargo xtask bench`: speed beside llama.cpp on one machine in one run, as a table and a dated
//! record.
//!
//! Runs alternate (ours, theirs, ours, theirs ...), so that a machine that slows down slows both;
//! the median of each is compared. llama.cpp is measured without and with flash attention, and the
//! faster of the two counts.

use crate::oracle::{self, Oracle};
use crate::record::{self, Row};
use crate::{cargo, fetch, hearth};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder with llama.cpp already built, instead of target/oracle.
    #[arg(long)]
    oracle: Option<PathBuf>,
    /// Model files to measure, instead of the real models and the 1B shape of `synth`.
    models: Vec<PathBuf>,
    /// Alternations.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Prompt tokens.
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens decoded.
    #[arg(long = "gen", default_value_t = 64)]
    generate: usize,
    /// Threads of both programs.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Tokens per second.
#[derive(Clone, Copy, Default)]
struct Speed {
    prefill: f64,
    decode: f64,
}

/// Measures every model, prints the table and records it; an error if llama.cpp is faster.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds 0 measures nothing");
    hearth::build()?;
    let oracle = Oracle::open(args.oracle.as_deref())?;
    let models = if args.models.is_empty() { default_models()? } else { args.models.clone() };
    let mut rows = Vec::new();
    for model in &models {
        let found = measure(args, &oracle, model)?;
        record::print(&found);
        rows.extend(found);
    }
    record::append("bench", oracle::VERSION, &rows)?;
    let missed = rows.iter().filter(|row| !row.holds).count();
    if missed > 0 {
        bail!("{missed} of {} figures are below llama.cpp's", rows.len());
    }
    Ok(())
}

/// Both real models and the shape of a 1B model, made by `cargo xtask synth` if it is not there.
fn default_models() -> Result<Vec<PathBuf>> {
    let mut models: Vec<PathBuf> = hearth::models()?.into_iter().map(|model| model.path).collect();
    models.push(fetch::synthetic("llama-3.2-1b", "Q4_K_M")?);
    Ok(models)
}

fn measure(args: &Args, oracle: &Oracle, model: &Path) -> Result<Vec<Row>> {
    let (mut ours_runs, mut theirs_runs) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        ours_runs.push(ours(args, model)?);
        theirs_runs.push(theirs(args, oracle, model)?);
    }
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let row = |phase: &str, pick: fn(&Speed) -> f64| {
        let ours = median(ours_runs.iter().map(pick).collect());
        let theirs = median(theirs_runs.iter().map(pick).collect());
        let ratio = ours / theirs;
        Row {
            what: format!("{phase}, {name}, {} threads", args.threads),
            figure: format!("{ours:.1} to {theirs:.1} tok/s ({ratio:.2}x)"),
            target: ">= 1.0x llama.cpp".to_owned(),
            holds: ratio >= 1.0,
        }
    };
    Ok(vec![
        row(&format!("prefill {}", args.prompt), |speed| speed.prefill),
        row(&format!("decode {}", args.generate), |speed| speed.decode),
    ])
}

fn ours(args: &Args, model: &Path) -> Result<Speed> {
    let mut command = hearth::hearth(&["bench", "--json", "--runs", "1"]);
    command
        .args(["--prompt", &args.prompt.to_string(), "--gen", &args.generate.to_string()])
        .args(["--threads", &args.threads.to_string()])
        .arg(model);
    let report: Value = serde_json::from_str(&cargo::output(&mut command)?)?;
    let figure = |key: &str| {
        report
            .get(key)
            .and_then(Value::as_f64)
            .with_context(|| format!("hearth bench has no {key}"))
    };
    Ok(Speed { prefill: figure("prefill_tok_s")?, decode: figure("decode_tok_s")? })
}

/// llama-bench's speeds, each the better one of both ways of attention.
fn theirs(args: &Args, oracle: &Oracle, model: &Path) -> Result<Speed> {
    let mut command = oracle.program("llama-bench", &["-fa", "0,1", "-r", "1", "-o", "json"]);
    command
        .args(["-p", &args.prompt.to_string(), "-n", &args.generate.to_string()])
        .args(["-t", &args.threads.to_string(), "-m"])
        .arg(model);
    let runs: Vec<Value> = serde_json::from_str(&cargo::output(&mut command)?)?;
    best_of(&runs)
}

fn best_of(runs: &[Value]) -> Result<Speed> {
    let mut best = Speed::default();
    for run in runs {
        let number = |key: &str| {
            run.get(key)
                .and_then(Value::as_f64)
                .with_context(|| format!("llama-bench has no {key}"))
        };
        let phase = if number("n_gen")? > 0.0 { &mut best.decode } else { &mut best.prefill };
        *phase = phase.max(number("avg_ts")?);
    }
    ensure!(best.prefill > 0.0 && best.decode > 0.0, "llama-bench measured only one phase");
    Ok(best)
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
    fn medians_and_best_runs() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        let text = r#"[{"n_gen": 0, "avg_ts": 5.0}, {"n_gen": 8, "avg_ts": 2.0},
                       {"n_gen": 0, "avg_ts": 7.0}, {"n_gen": 8, "avg_ts": 1.0}]"#;
        let runs: Vec<Value> = serde_json::from_str(text).unwrap();
        let best = best_of(&runs).unwrap();
        assert_eq!((best.prefill, best.decode), (7.0, 2.0));
        assert!(best_of(&runs[..1]).is_err());
    }
}
