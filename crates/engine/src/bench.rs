//! Timed runs on fixed token ids: medians of prefill and decode speed, and the share of the
//! machine's measured peaks that they reach. Comparing with other programs is `cargo xtask bench`.

use std::time::Instant;

use hearth_kernels::probe::probe;

use crate::block::Stopped;
use crate::model::Model;
use crate::protocol::{BenchReport, KvKind, Probe};
use crate::session::{PREFILL_CHUNK, Session};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Prompt length in tokens, at least 1.
    pub prompt: usize,
    /// Tokens decoded after it.
    pub generate: usize,
    /// Timed repetitions; one more before them warms caches and clocks up.
    pub runs: usize,
    /// Also measure the machine's peaks.
    pub probe: bool,
}

/// Runs the plan. `progress` hears runs done and runs in all.
///
/// # Errors
/// [`Stopped`].
pub fn bench(
    model: &Model,
    kind: KvKind,
    plan: Plan,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BenchReport, Stopped> {
    let ids = fixed_ids(plan.prompt + plan.generate, model.weights.n_vocab());
    let (prompt, output) = ids.split_at(plan.prompt);
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    let mut session = Session::new(model, kind);
    for run in 0..=plan.runs {
        session.truncate(0);
        let start = Instant::now();
        session.prefill(model, prompt, PREFILL_CHUNK, &mut |_| ())?;
        let prefilled = start.elapsed().as_secs_f64();
        let start = Instant::now();
        for token in output {
            session.prefill(model, &[*token], 1, &mut |_| ())?;
        }
        if run > 0 {
            prefill.push(plan.prompt as f64 / prefilled);
            decode.push(plan.generate as f64 / start.elapsed().as_secs_f64().max(1e-9));
        }
        progress(run as u64 + 1, plan.runs as u64 + 1);
    }
    let (prefill_tok_s, decode_tok_s) = (median(prefill), median(decode));
    let context = plan.prompt + plan.generate / 2;
    let kv_bytes = session.kv_bytes() * context / session.tokens().len().max(1);
    let bytes_per_token = model.weights.bytes_per_token() + kv_bytes as u64;
    let speeds = (prefill_tok_s, decode_tok_s, bytes_per_token);
    let probe = if plan.probe { shares(model, speeds) } else { None };
    Ok(BenchReport { prefill_tok_s, decode_tok_s, bytes_per_token, probe })
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
