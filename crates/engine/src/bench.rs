//! Timed runs on fixed token ids: medians of prefill and decode speed, the share of the machine's
//! measured peaks that they reach, and where the time goes. Comparing with other programs is
//! `cargo xtask bench`.

use std::time::Instant;

use hearth_kernels::matmul::Weight;
use hearth_kernels::probe::probe;

use crate::block::{Scratch, Stopped};
use crate::model::Model;
use crate::protocol::{BenchPlan, BenchReport, KvKind, OpTime, Probe};
use crate::session::{PREFILL_CHUNK, Session, step_together};
use crate::timers::{Op, Timers};
use crate::weights::Layer;

/// Runs the plan. `progress` hears runs done and runs in all.
///
/// # Errors
/// [`Stopped`].
pub fn bench(
    model: &Model,
    kind: KvKind,
    plan: BenchPlan,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BenchReport, Stopped> {
    let mut bench = Bench::new(model, kind, plan)?;
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    let all = plan.runs as u64 + 1 + u64::from(plan.ops);
    for run in 0..=plan.runs {
        let (prompt_s, decode_s) = (bench.prefill()?, bench.decode()?);
        if run > 0 {
            prefill.push(plan.prompt as f64 / prompt_s);
            let tokens = plan.generate * plan.sequences;
            decode.push(tokens as f64 / decode_s.max(1e-9));
        }
        progress(run as u64 + 1, all);
    }
    let ops = if plan.ops { bench.ops()? } else { Vec::new() };
    progress(all, all);
    let (prefill_tok_s, decode_tok_s) = (median(prefill), median(decode));
    let bytes_per_token = bench.bytes_per_token();
    let speeds = (prefill_tok_s, decode_tok_s, bytes_per_token);
    let probe = if plan.probe { shares(model, speeds) } else { None };
    Ok(BenchReport { prefill_tok_s, decode_tok_s, bytes_per_token, probe, ops })
}

/// Sequences that hold `depth` tokens, and what is run on them.
struct Bench<'a> {
    model: &'a Model,
    plan: BenchPlan,
    ids: Vec<u32>,
    sessions: Vec<Session>,
    scratch: Scratch,
    logits: Vec<f32>,
}

impl<'a> Bench<'a> {
    fn new(model: &'a Model, kind: KvKind, plan: BenchPlan) -> Result<Self, Stopped> {
        let ids = fixed_ids(plan.depth + plan.prompt + plan.generate, model.weights.n_vocab());
        let sessions = (0..plan.sequences).map(|_| Session::new(model, kind)).collect();
        let (scratch, logits) = (Scratch::default(), Vec::new());
        let mut bench = Self { model, plan, ids, sessions, scratch, logits };
        if plan.depth > 0 {
            for session in &mut bench.sessions {
                session.prefill(model, &bench.ids[..plan.depth], PREFILL_CHUNK, &mut |_| ())?;
            }
        }
        Ok(bench)
    }

    /// Seconds of the prompt, of one sequence; the others get theirs too.
    fn prefill(&mut self) -> Result<f64, Stopped> {
        let prompt = &self.ids[self.plan.depth..][..self.plan.prompt];
        let mut seconds = 0.0;
        for session in self.sessions.iter_mut().rev() {
            session.truncate(self.plan.depth);
            let start = Instant::now();
            session.prefill(self.model, prompt, PREFILL_CHUNK, &mut |_| ())?;
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    /// Seconds of all decoding steps.
    fn decode(&mut self) -> Result<f64, Stopped> {
        let output = &self.ids[self.plan.depth + self.plan.prompt..];
        let start = Instant::now();
        for token in output {
            if let [session] = self.sessions.as_mut_slice() {
                session.prefill(self.model, &[*token], 1, &mut |_| ())?;
            } else {
                let mut all: Vec<_> = self.sessions.iter_mut().map(|one| (one, *token)).collect();
                step_together(self.model, &mut all, &mut self.scratch, &mut self.logits)?;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// One more run, with the stopwatch.
    fn ops(&mut self) -> Result<Vec<OpTime>, Stopped> {
        let steps = self.plan.generate.max(1) as f64;
        self.sessions[0].timers().reset(true);
        self.prefill()?;
        let prefill = Op::ALL.map(|op| self.sessions[0].timers().seconds(op));
        self.decode_timers().reset(true);
        self.decode()?;
        let decode = Op::ALL.map(|op| self.decode_timers().seconds(op) / steps);
        self.decode_timers().reset(false);
        self.sessions[0].timers().reset(false);
        let time = |op: Op| {
            let (prompt_s, step_s) = (prefill[op as usize], decode[op as usize]);
            let (macs, bytes) = self.product(op)?;
            // The head is computed for the last token only.
            let rows = if op == Op::Head { 1 } else { self.plan.prompt };
            let gops = 2.0 * (macs * rows) as f64 / prompt_s / 1e9;
            Some((gops, bytes as f64 / step_s / 1e9))
        };
        let report = Op::ALL.map(|op| OpTime {
            name: op.name().to_owned(),
            prefill_ms: 1e3 * prefill[op as usize],
            decode_ms: 1e3 * decode[op as usize],
            prefill_gops: time(op).map(|(gops, _)| gops),
            decode_gb_s: time(op).map(|(_, gb_s)| gb_s),
        });
        Ok(report.into())
    }

    /// The stopwatch of decoding: of the sequence, or of all together.
    fn decode_timers(&mut self) -> &mut Timers {
        match self.sessions.as_mut_slice() {
            [session] => session.timers(),
            _ => &mut self.scratch.timers,
        }
    }

    /// Multiply-adds for a row, and bytes, of the weights that an operation multiplies with.
    fn product(&self, op: Op) -> Option<(usize, usize)> {
        let pick: fn(&Layer) -> Vec<&Weight> = match op {
            Op::Qkv => |l| l.mix.inputs(),
            Op::AttnOutput => |l| vec![l.mix.output()],
            Op::GateUp => |l| l.ffn.gate_up(),
            Op::Down => |l| l.ffn.down(),
            Op::Head => {
                let head = &self.model.weights.output.weight;
                return Some((head.rows() * head.cols(), head.bytes()));
            }
            _ => return None,
        };
        let weights = self.model.weights.blk.iter().flat_map(pick);
        Some(weights.fold((0, 0), |(macs, bytes), weight| {
            (macs + weight.rows() * weight.cols(), bytes + weight.bytes())
        }))
    }

    /// Bytes that decoding reads for a token, in the middle of the output: the weights, shared by
    /// all sequences of a step, and the cache.
    fn bytes_per_token(&self) -> u64 {
        let context = self.plan.depth + self.plan.prompt + self.plan.generate / 2;
        let sequence = self.sessions[0].sequence();
        let kv_bytes = sequence.kv().bytes() * context / sequence.tokens().len().max(1);
        self.model.weights.bytes_per_token() / self.plan.sequences as u64 + kv_bytes as u64
    }
}

/// Peaks of this machine and what was reached of them; `None` if there was no memory to probe.
fn shares(
    model: &Model,
    (prefill_tok_s, decode_tok_s, bytes_per_token): (f64, f64, u64),
) -> Option<Probe> {
    let peaks = probe(&model.pool).ok()?;
    let block_weights: usize = model
        .weights
        .blk
        .iter()
        .flat_map(|layer| layer.matrices())
        .map(|weight| weight.rows() * weight.cols())
        .sum();
    let prefill_gops = 2.0 * block_weights as f64 * prefill_tok_s / 1e9;
    Some(Probe {
        int8_gops: peaks.int8_gops,
        bf16_gflops: peaks.bf16_gflops,
        f32_gflops: peaks.f32_gflops,
        read_gb_s: peaks.read_gb_s,
        prefill_share: prefill_gops / peaks.int8_gops,
        decode_share: bytes_per_token as f64 * decode_tok_s / 1e9 / peaks.read_gb_s,
    })
}

/// The same ids on every machine: a linear congruential generator's high bits.
fn fixed_ids(count: usize, n_vocab: usize) -> Vec<u32> {
    let mut state = 20_261_121u64;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % n_vocab as u64) as u32
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
