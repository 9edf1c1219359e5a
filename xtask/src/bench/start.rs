//! From the start of the process to the first token, beside llama.cpp, and the memory of all our
//! processes at work.

use super::measure::{figure, report};
use super::{Args, median, processes};
use crate::oracle::Oracle;
use crate::record::Row;
use crate::{cargo, fetch, hearth};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// About as many tokens as `llama-bench` is told to read.
const PROMPT: &str = "Once upon a time there was a small machine that read every book.";

/// What is started: a name, the file, and the memory allowed at work in 10^9 bytes.
fn subjects() -> Result<Vec<(String, PathBuf, f64)>> {
    let real = hearth::models()?.into_iter().next().context("no model")?;
    let mut subjects = vec![(real.name.to_owned(), real.path, 0.22)];
    for (shape, allowed) in [("llama-3.2-1b", 1.05), ("llama-3.2-3b", 2.65), ("llama-3-8b", 5.5)] {
        subjects.push((shape.to_owned(), fetch::synthetic(shape, "Q4_K_M")?, allowed));
    }
    Ok(subjects)
}

/// Wall time from start to end of a process that gives one token. The first round fills the page
/// cache and does not count.
pub(super) fn start(args: &Args) -> Result<Vec<Row>> {
    let oracle = Oracle::open(args.oracle.as_deref())?;
    let threads = args.threads.to_string();
    let measure = |(name, file, _): (String, PathBuf, f64)| {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=args.rounds {
            let mut command = hearth::hearth(&["run", "--raw", "--max-tokens", "1"]);
            command.args(["--ctx", "512", "--threads", &threads]).arg(&file).arg(PROMPT);
            let ours_s = wall(&mut command)?;
            let options =
                ["-p", "0", "-n", "0", "-pg", "16,1", "-r", "1", "--no-warmup", "-o", "json"];
            let mut command = oracle.program("llama-bench", &options);
            command.args(["-t", &threads, "-m"]).arg(&file);
            let theirs_s = wall(&mut command)?;
            if round > 0 {
                ours.push(ours_s);
                theirs.push(theirs_s);
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        Ok(Row {
            what: format!("start to first token, {name}"),
            figure: format!("{ours:.3} to {theirs:.3} s ({:.2}x)", ours / theirs),
            target: "<= 1.0x llama.cpp's".to_owned(),
            holds: ours <= theirs,
        })
    };
    subjects()?.into_iter().map(measure).collect()
}

fn wall(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    cargo::output(command)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Peak memory of all our processes over 512 tokens read and 64 written. Pages that several
/// processes share count once.
pub(super) fn memory(args: &Args) -> Result<Vec<Row>> {
    let measure = |(name, file, allowed): (String, PathBuf, f64)| {
        let mut command = hearth::hearth(&["bench", "--prompt", "512", "--gen", "64"]);
        command.args(["--runs", "1", "--threads", &args.threads.to_string()]).arg(&file);
        let found = peak(&mut command)? / 1e9;
        Ok(Row {
            what: format!("peak memory (PSS), {name}"),
            figure: format!("{found:.3} GB"),
            target: format!("<= {allowed} GB"),
            holds: found <= allowed,
        })
    };
    subjects()?.into_iter().map(measure).collect()
}

/// Time to the first token when most of a prompt is cached, beside what its new tokens take at the
/// speed of long prompts at that depth.
pub(super) fn warm(args: &Args) -> Result<Vec<Row>> {
    const ALLOWED: f64 = 1.4;
    let file = fetch::synthetic("llama-3.2-1b", "Q4_K_M")?;
    let run = |prompt: &str, more: &[&str]| -> Result<Value> {
        let mut command = hearth::hearth(&["bench", "--json", "--depth", "2000", "--gen", "1"]);
        command.args(["--prompt", prompt, "--threads", &args.threads.to_string()]).args(more);
        report(command.arg(&file))
    };
    let (mut warm, mut long) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        warm.push(figure(&run("20", &["--warm"])?, "/warm_ms")?);
        long.push(20e3 / figure(&run("256", &[])?, "/prefill_tok_s")?);
    }
    let (warm, long) = (median(warm), median(long));
    Ok(vec![Row {
        what: "first token, 2000 tokens cached and 20 new, llama-3.2-1b".to_owned(),
        figure: format!("{warm:.0} ms to {long:.0} ms ({:.2}x)", warm / long),
        target: format!("<= {ALLOWED}x of 20 tokens at the speed of 256"),
        holds: warm <= ALLOWED * long,
    }])
}

/// The largest sum over a process and its children that was seen, in bytes.
fn peak(command: &mut Command) -> Result<f64> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut most = 0.0f64;
    let status = loop {
        most = most.max(processes::memory(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    ensure!(status.success(), "{command:?} ended with {status}");
    ensure!(most > 0.0, "the system tells no memory of {command:?}");
    Ok(most)
}
