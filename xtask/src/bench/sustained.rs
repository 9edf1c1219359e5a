//! A minute of decoding without a break: the last quarter must be as fast as the first, and all
//! processes together must not grow.
//!
//! One answer, as a user gets it. Every token of it is forced to be the same letter, so that each
//! byte on stdout is a token, written when it was there. The model is large: what the cache adds to
//! the bytes that a token reads is a hundredth of them after a minute.

use super::{Args, processes};
use crate::record::Row;
use crate::{fetch, hearth};
use anyhow::{Context, Result, bail, ensure};
use hearth_engine::gguf::Gguf;
use hearth_engine::tokenizer::Tokenizer;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const SECONDS: f64 = 60.0;

/// Seconds at the beginning and at the end that are compared.
const EDGE: f64 = 15.0;

/// Seconds after which memory is read for the first time.
const SETTLED: f64 = 5.0;

/// Least speed at the end, as a share of that at the beginning.
const LEAST: f64 = 0.9;

/// What the cache grows by with a token: layers, keys and values, heads, their width, f16.
const CACHE_BYTES: f64 = (32 * 2 * 8 * 128 * 2) as f64;

/// Bytes that memory may grow by beside the cache: buffers that grow with the answer.
const MOST_GROWTH: f64 = 20e6;

/// More tokens than a minute brings.
const ROOM: &str = "8192";

/// Measures the 8B shape, once: it takes long enough.
pub(super) fn run(args: &Args) -> Result<Vec<Row>> {
    let (shape, threads) = ("llama-3-8b", args.threads.to_string());
    let file = fetch::synthetic(shape, "Q4_K_M")?;
    let bias = format!("{}+1000", letter(&file)?);
    let mut command = hearth::hearth(&["run", "--raw", "--temp", "0", "--no-speculation"]);
    command.args(["--no-loop-detector", "--max-tokens", ROOM, "--ctx", ROOM]);
    command.args(["--logit-bias", &bias, "--threads", &threads]).arg(&file).arg("Once upon a time");
    let Minute { times, memory: [before, after] } = watch(&mut command)?;
    let (first, last) = (rate(&times, 0.0), rate(&times, SECONDS - EDGE));
    let since = times.iter().filter(|time| **time > SETTLED).count();
    let growth = after - before - since as f64 * CACHE_BYTES;
    let what = format!("{SECONDS} s of decoding, {shape}, {threads} threads");
    Ok(vec![
        Row {
            what: format!("{what}, speed"),
            figure: format!("{first:.2} to {last:.2} tok/s ({:.3}x)", last / first),
            target: format!("last {EDGE} s >= {LEAST}x the first"),
            holds: last >= LEAST * first,
        },
        Row {
            what: format!("{what}, memory (PSS)"),
            figure: format!(
                "{:.3} GB, grows by {:.1} MB beside the cache",
                after / 1e9,
                growth / 1e6
            ),
            target: format!("<= {:.0} MB", MOST_GROWTH / 1e6),
            holds: growth <= MOST_GROWTH,
        },
    ])
}

/// The id of a token that is one byte.
fn letter(file: &Path) -> Result<u32> {
    let gguf = Gguf::open(vec![File::open(file)?])?;
    match Tokenizer::from_gguf(&gguf)?.encode(b"a", false, false)[..] {
        [id] => Ok(id),
        _ => bail!("a letter is not one token of {}", file.display()),
    }
}

/// What was seen of a program that writes a byte for each token.
struct Minute {
    /// Seconds from the first token to each token.
    times: Vec<f64>,
    /// Bytes after the first seconds and at the end.
    memory: [f64; 2],
}

/// Runs the command, and ends it after a minute from its first token.
fn watch(command: &mut Command) -> Result<Minute> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start hearth")?;
    let mut stdout = child.stdout.take().context("no output")?;
    let (mut start, mut times, mut settled) = (None, Vec::new(), None);
    let mut bytes = [0; 64];
    while times.last().is_none_or(|last| *last < SECONDS) {
        let count = stdout.read(&mut bytes)?;
        ensure!(count > 0, "the answer ended after {} tokens", times.len());
        let now = start.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
        times.extend(std::iter::repeat_n(now, count));
        if now > SETTLED {
            settled.get_or_insert_with(|| processes::memory(child.id()));
        }
    }
    let memory = [settled.unwrap_or_default(), processes::memory(child.id())];
    // The engine ends with its gateway.
    child.kill()?;
    child.wait()?;
    ensure!(memory[0] > 0.0, "the system tells no memory of the answer");
    Ok(Minute { times, memory })
}

/// Tokens per second in the `EDGE` seconds after `from`.
fn rate(times: &[f64], from: f64) -> f64 {
    let within: Vec<f64> =
        times.iter().copied().filter(|time| (from..from + EDGE).contains(time)).collect();
    match within[..] {
        [first, .., last] => (within.len() - 1) as f64 / (last - first),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_stretch_is_that_between_its_tokens() {
        let times: Vec<f64> = (0..120).map(|token| f64::from(token) * 0.5).collect();
        assert_eq!(rate(&times, 0.0), 2.0);
        assert_eq!(rate(&times, 40.0), 2.0);
        assert_eq!(rate(&times, 300.0), 0.0);
    }
}
