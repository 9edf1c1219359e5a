//! `hearth bench MODEL`: speed, load time and memory of the engine on fixed token ids.

use std::io::Write;
use std::time::Instant;

use clap::Args;
use hearth_cell::peak_rss_bytes;
use hearth_engine::protocol::{
    BenchPlan, BenchReport, Event, Generate, Job, OpTime, Probe, Prompt,
};
use hearth_hub::readable;
use serde_json::{Value, json};

use super::show::print_json;
use crate::context::App;
use crate::engine::{EngineArgs, Need, Running};
use crate::exit::{Code, Failure};

/// Measure the speed of a model on this machine (medians)
#[derive(Args)]
pub(crate) struct Bench {
    /// Name in the store or the catalogue, or a path
    #[arg(value_name = "MODEL")]
    model: String,
    /// Prompt length in tokens
    #[arg(long, value_name = "N", default_value_t = 512)]
    prompt: usize,
    /// Tokens decoded after it
    #[arg(long, value_name = "N", default_value_t = 64)]
    r#gen: usize,
    /// Tokens in the cache before the prompt
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: usize,
    /// Sequences that decode together; the speed is their total
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    sequences: u16,
    /// Repetitions, of loading too
    #[arg(
        long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    runs: u16,
    /// Also measure the machine's peaks, and the share of them that is reached
    #[arg(long)]
    probe: bool,
    /// Also time a prompt to its first token when the DEPTH tokens before it are cached
    #[arg(long, requires = "depth")]
    warm: bool,
    /// Also time each operation of a pass, in a run of its own
    #[arg(long)]
    ops: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

impl Bench {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let (running, load_ms) = self.load(app)?;
        let job = Job::Bench(BenchPlan {
            depth: self.depth,
            prompt: self.prompt,
            generate: self.r#gen,
            sequences: self.sequences.into(),
            runs: self.runs.into(),
            probe: self.probe,
            ops: self.ops,
        });
        let mut report = None;
        running.finish(app, job, |event| {
            if let Event::Bench { report: found, .. } = event {
                report = Some(found);
            }
            Ok(())
        })?;
        let Some(report) = report else {
            return Err(Failure::new(Code::Engine, "the engine gave no report"));
        };
        let warm_ms = if self.warm { Some(self.warm_ms(app, &running)?) } else { None };
        let peak = peak_of_all(&running);
        if self.json {
            let mut value = self.json(app, &running, &report, load_ms, peak)?;
            value["warm_ms"] = json!(warm_ms);
            return print_json(&value);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "prefill   {:>10.1} tok/s ({} tokens)", report.prefill_tok_s, self.prompt)?;
        writeln!(out, "decode    {:>10.1} tok/s ({} tokens)", report.decode_tok_s, self.r#gen)?;
        if let Some(warm_ms) = warm_ms {
            let Self { depth, prompt, .. } = self;
            writeln!(out, "warm      {warm_ms:>10.1} ms ({depth} tokens cached, {prompt} new)")?;
        }
        writeln!(out, "load      {load_ms:>10.0} ms")?;
        writeln!(out, "memory    {:>10}", peak.map_or("unknown".to_owned(), readable))?;
        if let Some(probe) = &report.probe {
            write_probe(&mut out, probe)?;
        }
        if !report.ops.is_empty() {
            write_ops(&mut out, &report.ops)?;
        }
        Ok(())
    }

    /// Loads the model once for each run; the last engine, and the median of the times.
    fn load(&self, app: &App) -> anyhow::Result<(Running, f64)> {
        let command = format!("bench {}", self.model);
        let start = || -> anyhow::Result<Running> {
            let model = app.open_model(&self.model, &command)?;
            // The context just holds what is measured.
            let ctx =
                Some(self.depth.saturating_add(self.prompt).saturating_add(self.r#gen.max(1)));
            self.engine.start(app, model, Need::Model { ctx })
        };
        let mut running = start()?;
        let mut times = vec![running.engine.load_ms()];
        for _ in 1..self.runs {
            drop(running);
            running = start()?;
            times.push(running.engine.load_ms());
        }
        Ok((running, middle(times)))
    }

    /// Milliseconds from a request, whose beginning an earlier one has left in the cache, to its
    /// end after one token: the median, after one that does not count.
    fn warm_ms(&self, app: &App, running: &Running) -> anyhow::Result<f64> {
        let vocabulary = running.describe(app)?.vocab_size.unwrap_or(1).max(1);
        let id = |i: u64| (i.wrapping_mul(7919) % vocabulary) as u32;
        let cached: Vec<u32> = (0..self.depth as u64).map(id).collect();
        let mut times = Vec::new();
        for run in 0..=u64::from(self.runs) {
            running.finish(app, one_token(cached.clone()), |_| Ok(()))?;
            let mut prompt = cached.clone();
            // Each time another continuation, which nothing has computed yet.
            prompt.extend((0..self.prompt as u64).map(|i| id(i * 31 + run + 1)));
            let start = Instant::now();
            running.finish(app, one_token(prompt), |_| Ok(()))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(middle(times.split_off(1)))
    }

    /// Field names are stable.
    fn json(
        &self,
        app: &App,
        running: &Running,
        report: &BenchReport,
        load_ms: f64,
        peak: Option<u64>,
    ) -> anyhow::Result<Value> {
        Ok(json!({
            "model": self.model,
            "prompt": self.prompt,
            "gen": self.r#gen,
            "depth": self.depth,
            "sequences": self.sequences,
            "runs": self.runs,
            "threads": self.engine.threads(app)?,
            "isolation": running.engine.cell().report().level.name(),
            "prefill_tok_s": report.prefill_tok_s,
            "decode_tok_s": report.decode_tok_s,
            "load_ms": load_ms,
            "peak_rss_bytes": peak,
            "bytes_per_token": report.bytes_per_token,
            "probe": report.probe.as_ref().map(probe_json),
            "ops": report.ops.iter().map(op_json).collect::<Vec<_>>(),
        }))
    }
}

/// The median; of two in the middle, the larger.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A request for the token after these.
fn one_token(prompt: Vec<u32>) -> Job {
    let request = Generate::new(Prompt::Tokens(prompt), 1);
    Job::Generate(Box::new(Generate { speculate: false, ..request }))
}

/// Peak memory of all processes of this command: its own and the engine's.
fn peak_of_all(running: &Running) -> Option<u64> {
    let own = peak_rss_bytes(std::process::id())?;
    Some(own + peak_rss_bytes(running.engine.cell().pid())?)
}

fn probe_json(probe: &Probe) -> Value {
    json!({
        "int8_gops": probe.int8_gops,
        "bf16_gflops": probe.bf16_gflops,
        "f32_gflops": probe.f32_gflops,
        "read_gb_s": probe.read_gb_s,
        "prefill_share": probe.prefill_share,
        "decode_share": probe.decode_share,
    })
}

fn write_probe(out: &mut impl Write, probe: &Probe) -> std::io::Result<()> {
    writeln!(out, "int8 peak {:>10.0} Gop/s", probe.int8_gops)?;
    writeln!(out, "bf16 peak {:>10.0} Gflop/s", probe.bf16_gflops)?;
    writeln!(out, "f32 peak  {:>10.0} Gflop/s", probe.f32_gflops)?;
    writeln!(out, "read peak {:>10.1} GB/s", probe.read_gb_s)?;
    writeln!(out, "prefill reaches {:.0} % of the int8 peak", 100.0 * probe.prefill_share)?;
    writeln!(out, "decode reaches {:.0} % of the read peak", 100.0 * probe.decode_share)
}

fn op_json(op: &OpTime) -> Value {
    json!({
        "name": op.name,
        "prefill_ms": op.prefill_ms,
        "decode_ms": op.decode_ms,
        "prefill_gops": op.prefill_gops,
        "decode_gb_s": op.decode_gb_s,
    })
}

fn write_ops(out: &mut impl Write, ops: &[OpTime]) -> std::io::Result<()> {
    let total = |pick: fn(&OpTime) -> f64| ops.iter().map(pick).sum::<f64>();
    let (prompt, step) = (total(|op| op.prefill_ms), total(|op| op.decode_ms));
    writeln!(out, "\noperation     prompt ms   share   Gop/s     token ms   share    GB/s")?;
    for op in ops {
        let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!("{rate:.1}"));
        writeln!(
            out,
            "{:<12} {:>10.2} {:>5.1} % {:>7} {:>12.3} {:>5.1} % {:>7}",
            op.name,
            op.prefill_ms,
            100.0 * op.prefill_ms / prompt,
            rate(op.prefill_gops),
            op.decode_ms,
            100.0 * op.decode_ms / step,
            rate(op.decode_gb_s),
        )?;
    }
    Ok(())
}
