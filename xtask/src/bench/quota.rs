//! Decoding with half of one processor, as a container may allow it: about half the speed of one
//! whole core, with the threads that the program chooses itself.
//!
//! The quota is a control group of its own, which needs root and is removed afterwards.

use super::measure::{figure, report};
use super::{Args, median};
use crate::cargo::program;
use crate::hearth;
use crate::record::Row;
use anyhow::{Context, Result, bail};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Least share of the speed of one whole core.
const LEAST: f64 = 0.4;

/// Where groups are made, in either version of the interface, and what makes one half a core.
const PLACES: &[(&str, &[(&str, &str)])] = &[
    ("/sys/fs/cgroup/cpu", &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]),
    ("/sys/fs/cgroup", &[("cpu.max", "50000 100000")]),
];

/// Decoding in the group beside one whole core outside of it, in turn.
pub(super) fn run(args: &Args, file: &Path) -> Result<Row> {
    let what = "decode with half a core".to_owned();
    let half_core = match HalfCore::new() {
        Ok(half_core) => half_core,
        Err(error) => return Ok(Row::left_out(what, &error)),
    };
    let mut bench = hearth::hearth(&["bench", "--json", "--runs", "1", "--prompt", "16"]);
    bench.args(["--gen", "32"]).arg(file);
    let speed = |command: &mut Command| figure(&report(command)?, "/decode_tok_s");
    let (mut whole, mut half) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        half.push(speed(&mut half_core.confined(&bench))?);
        let mut one = program(bench.get_program(), &[]);
        whole.push(speed(one.args(bench.get_args()).args(["--threads", "1"]))?);
    }
    let (half, whole) = (median(half), median(whole));
    Ok(Row {
        what,
        figure: format!("{half:.1} to {whole:.1} tok/s ({:.2}x)", half / whole),
        target: format!(">= {LEAST}x of one whole core"),
        holds: half >= LEAST * whole,
    })
}

/// A control group whose processes together may use half of one processor.
struct HalfCore(PathBuf);

impl HalfCore {
    fn new() -> Result<Self> {
        for (place, limits) in PLACES {
            let group = Path::new(place).join(format!("hearth-bench-{}", std::process::id()));
            // Elsewhere this would be a plain folder.
            if !Path::new(place).join("cgroup.procs").is_file() {
                continue;
            }
            fs::create_dir(&group).with_context(|| format!("no control group in {place}"))?;
            let group = Self(group);
            for (name, value) in *limits {
                let path = group.0.join(name);
                let file = OpenOptions::new().write(true).open(&path);
                let written = file.and_then(|mut file| file.write_all(value.as_bytes()));
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            return Ok(group);
        }
        bail!("no control groups with a quota of processor time here")
    }

    /// The same command in the group.
    fn confined(&self, command: &Command) -> Command {
        let mut shell = program("sh", &["-c", r#"echo $$ > "$0" && exec "$@""#]);
        shell.arg(self.0.join("cgroup.procs")).arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Drop for HalfCore {
    /// Its processes have ended; the system refuses to remove it otherwise.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
