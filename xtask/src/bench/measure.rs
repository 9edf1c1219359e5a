//! One run of each program on one case.

use super::cases::{Case, Work};
use crate::oracle::{Oracle, Rival};
use crate::{cargo, hearth};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::process::Command;

/// Tokens per second; of all sequences together.
#[derive(Clone, Copy, Default)]
pub(super) struct Speed {
    pub(super) prefill: f64,
    pub(super) decode: f64,
}

/// The machine's peaks in one run, and what was reached of them.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    pub(super) prefill: f64,
    pub(super) int8: f64,
    pub(super) decode: f64,
    pub(super) read: f64,
}

/// Runs `hearth bench`.
pub(super) fn ours(case: &Case, threads: usize) -> Result<(Speed, Shares)> {
    let Work { depth, prompt, generate, sequences } = case.work;
    let mut command = hearth::hearth(&["bench", "--json", "--runs", "1", "--probe"]);
    for (name, value) in [
        ("--prompt", prompt),
        ("--gen", generate),
        ("--depth", depth),
        ("--sequences", sequences),
        ("--threads", threads),
    ] {
        command.args([name, &value.to_string()]);
    }
    let report = report(command.arg(&case.file))?;
    let figure = |place: &str| figure(&report, place);
    let speed = Speed { prefill: figure("/prefill_tok_s")?, decode: figure("/decode_tok_s")? };
    let shares = Shares {
        prefill: figure("/probe/prefill_share")?,
        int8: figure("/probe/int8_gops")?,
        decode: figure("/probe/decode_share")?,
        read: figure("/probe/read_gb_s")?,
    };
    Ok((speed, shares))
}

/// Runs llama.cpp's own benchmark; each speed is the better one of both ways of attention.
pub(super) fn theirs(oracle: &Oracle, case: &Case, threads: usize) -> Result<Speed> {
    if case.work.sequences > 1 {
        return together(oracle, case, threads);
    }
    let Work { depth, prompt, generate, .. } = case.work;
    let mut command = oracle.program("llama-bench", &["-fa", "0,1", "-r", "1", "-o", "json"]);
    for (name, value) in [("-p", prompt), ("-n", generate), ("-d", depth), ("-t", threads)] {
        command.args([name, &value.to_string()]);
    }
    // A warm-up repeats the work: minutes where the work is long, and no gain there.
    if depth + prompt > 4096 {
        command.arg("--no-warmup");
    }
    let runs = report(command.arg("-m").arg(&case.file))?;
    best_of(runs.as_array().context("llama-bench reports no list")?)
}

/// llama.cpp with several sequences in one batch, each with its own prompt.
fn together(oracle: &Oracle, case: &Case, threads: usize) -> Result<Speed> {
    let Work { prompt, generate, sequences, .. } = case.work;
    let mut best = Speed::default();
    for attention in ["off", "on"] {
        let mut command =
            oracle.program("llama-batched-bench", &["--output-format", "jsonl", "-fa", attention]);
        let context = sequences * (prompt + generate + 8);
        for (name, value) in [
            ("-npp", prompt),
            ("-ntg", generate),
            ("-npl", sequences),
            ("-c", context),
            ("-t", threads),
        ] {
            command.args([name, &value.to_string()]);
        }
        let text = cargo::output(command.arg("-m").arg(&case.file))?;
        let line = text.lines().find(|line| line.starts_with('{')).context("no line of figures")?;
        let line: Value = serde_json::from_str(line)?;
        let figure = |place: &str| figure(&line, place);
        best.prefill = best.prefill.max(figure("/speed_pp")?);
        best.decode = best.decode.max(figure("/speed_tg")?);
    }
    Ok(best)
}

/// Runs one of the programs beside llama.cpp, which reads other tokens of the same number.
pub(super) fn rival(oracle: &Oracle, rival: &Rival, case: &Case, threads: usize) -> Result<Speed> {
    let Work { depth, prompt, generate, sequences } = case.work;
    ensure!(depth == 0 && sequences == 1, "only one sequence from its beginning is compared");
    let mut command = oracle.rival(rival)?;
    for (name, value) in [("--prompt", prompt), ("--gen", generate), ("--threads", threads)] {
        command.args([name, &value.to_string()]);
    }
    let done = command.arg(&case.file).output().context("cannot start python")?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    // The packages print what they like before it, and some end the process when they fail.
    let Some(line) = stdout.lines().rfind(|line| line.starts_with('{')) else {
        let stderr = String::from_utf8_lossy(&done.stderr);
        bail!("{}: {}", done.status, stderr.lines().last().unwrap_or("no word of the reason"));
    };
    let report: Value = serde_json::from_str(line)?;
    if let Some(reason) = report["refused"].as_str() {
        bail!("refused: {reason}");
    }
    let figure = |place: &str| figure(&report, place);
    Ok(Speed { prefill: figure("/prefill_tok_s")?, decode: figure("/decode_tok_s")? })
}

/// What a program reports as JSON on stdout.
pub(super) fn report(command: &mut Command) -> Result<Value> {
    serde_json::from_str(&cargo::output(command)?).with_context(|| cargo::line(command))
}

/// The number at a place of a report, such as `/probe/read_gb_s`.
pub(super) fn figure(report: &Value, place: &str) -> Result<f64> {
    let found = report.pointer(place).and_then(Value::as_f64);
    found.with_context(|| format!("no {place} in {report}"))
}

fn best_of(runs: &[Value]) -> Result<Speed> {
    let mut best = Speed::default();
    for run in runs {
        let number = |place: &str| figure(run, place);
        let phase = if number("/n_gen")? > 0.0 { &mut best.decode } else { &mut best.prefill };
        *phase = phase.max(number("/avg_ts")?);
    }
    ensure!(best.prefill > 0.0 || best.decode > 0.0, "llama-bench measured nothing");
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_run_of_each_phase_counts() {
        let text = r#"[{"n_gen": 0, "avg_ts": 5.0}, {"n_gen": 8, "avg_ts": 2.0},
                       {"n_gen": 0, "avg_ts": 7.0}, {"n_gen": 8, "avg_ts": 1.0}]"#;
        let runs: Vec<Value> = serde_json::from_str(text).unwrap();
        let best = best_of(&runs).unwrap();
        assert_eq!((best.prefill, best.decode), (7.0, 2.0));
        assert!(best_of(&[]).is_err());
    }
}
