//! A measurement: what it runs and what it found.

use serde::{Deserialize, Serialize};

/// What a measurement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchPlan {
    /// Tokens that the cache holds before anything is timed.
    pub depth: usize,
    /// Prompt length in tokens, at least 1.
    pub prompt: usize,
    /// Tokens decoded after it, by each sequence.
    pub generate: usize,
    /// Sequences that decode together, at least 1.
    pub sequences: usize,
    /// Timed repetitions, the median of which is reported; one more before them warms caches and
    /// clocks up.
    pub runs: usize,
    /// Also probe the machine's peaks and report the shares reached.
    pub probe: bool,
    /// Also time each operation, in a run of its own.
    pub ops: bool,
}

/// Time of one operation in a pass.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpTime {
    /// The operation.
    pub name: String,
    /// Milliseconds of the whole prompt.
    pub prefill_ms: f64,
    /// Milliseconds of one decoding step.
    pub decode_ms: f64,
    /// 10^9 operations a second in the prompt, for matrix products.
    pub prefill_gops: Option<f64>,
    /// 10^9 bytes of weights read a second in decoding, for matrix products.
    pub decode_gb_s: Option<f64>,
}

/// Medians of timed runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchReport {
    /// Prompt tokens per second.
    pub prefill_tok_s: f64,
    /// Decoded tokens per second.
    pub decode_tok_s: f64,
    /// Bytes of weights read per decoded token.
    pub bytes_per_token: u64,
    /// Peaks of this machine, if asked for.
    pub probe: Option<Probe>,
    /// Times of the operations, if asked for.
    pub ops: Vec<OpTime>,
}

/// Measured limits of this machine and the shares of them reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Integer peak, operations (2 per multiply-add) per second, in billions.
    pub int8_gops: f64,
    /// Peak of bfloat16 weights, widened in registers, in billions.
    pub bf16_gflops: f64,
    /// 32-bit float peak.
    pub f32_gflops: f64,
    /// Read bandwidth in GB/s (10^9).
    pub read_gb_s: f64,
    /// Share of the int8 peak that the whole prefill reached, 0 to 1.
    pub prefill_share: f64,
    /// Share of the read bandwidth that decode reached, 0 to 1.
    pub decode_share: f64,
}
