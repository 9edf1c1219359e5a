//! Where the time of a pass goes: one stopwatch, read after each operation. Off by default.

use std::time::{Duration, Instant};

/// The operations of a pass, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Op {
    /// Rows of the embedding.
    Embed,
    /// What a part of a layer begins with: residual sums, norms, and rounding to int8.
    Enter,
    /// Rounding what attention gives.
    Quantize,
    /// Products with the weights of queries, keys and values.
    Qkv,
    /// Norms of heads, and rotary positions.
    Rope,
    /// Writing the cache.
    Append,
    /// Scores, softmax and values.
    Attention,
    /// Product with the attention's output weight.
    AttnOutput,
    /// The residual sums at the end of a layer, and norms before them.
    Residual,
    /// Products with gate and up weights.
    GateUp,
    /// The activation function, and rounding what it gives.
    Activation,
    /// Product with the down weight.
    Down,
    /// Embeddings for each layer.
    PerLayer,
    /// Predicting, correcting and joining residual streams.
    Streams,
    /// Norm, product and cap of the output head.
    Head,
}

impl Op {
    /// All of them.
    pub const ALL: [Op; 15] = [
        Op::Embed,
        Op::Enter,
        Op::Quantize,
        Op::Qkv,
        Op::Rope,
        Op::Append,
        Op::Attention,
        Op::AttnOutput,
        Op::Residual,
        Op::GateUp,
        Op::Activation,
        Op::Down,
        Op::PerLayer,
        Op::Streams,
        Op::Head,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Op::Embed => "embed",
            Op::Enter => "enter",
            Op::Quantize => "quantize",
            Op::Qkv => "qkv",
            Op::Rope => "rope",
            Op::Append => "append",
            Op::Attention => "attention",
            Op::AttnOutput => "attn_output",
            Op::Residual => "residual",
            Op::GateUp => "gate_up",
            Op::Activation => "activation",
            Op::Down => "down",
            Op::PerLayer => "per_layer",
            Op::Streams => "streams",
            Op::Head => "head",
        }
    }
}

/// Time spent in each operation; while it is off, a lap costs one branch.
#[derive(Debug, Default)]
pub struct Timers {
    last: Option<Instant>,
    spent: [Duration; Op::ALL.len()],
}

impl Timers {
    /// Forgets all laps and begins, or stops, to count.
    pub fn reset(&mut self, on: bool) {
        *self = Self { last: on.then(Instant::now), ..Self::default() };
    }

    /// What happens from now on counts for the next lap: leaves out time between passes.
    pub(crate) fn begin(&mut self) {
        if let Some(last) = &mut self.last {
            *last = Instant::now();
        }
    }

    /// Counts the time since the last lap as time of `op`.
    pub(crate) fn lap(&mut self, op: Op) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            self.spent[op as usize] += now - *last;
            *last = now;
        }
    }

    /// Seconds spent in `op`.
    #[must_use]
    pub fn seconds(&self, op: Op) -> f64 {
        self.spent[op as usize].as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_count_only_while_on_and_by_operation() {
        let mut timers = Timers::default();
        timers.lap(Op::Qkv);
        assert_eq!(timers.seconds(Op::Qkv), 0.0);
        timers.reset(true);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1) {}
        timers.lap(Op::Head);
        assert!(timers.seconds(Op::Head) >= 1e-3 && timers.seconds(Op::Qkv) == 0.0);
        timers.reset(false);
        assert_eq!(timers.seconds(Op::Head), 0.0);
    }

    #[test]
    fn the_list_is_in_the_order_of_the_numbers() {
        assert!(Op::ALL.iter().enumerate().all(|(i, op)| *op as usize == i));
    }
}
