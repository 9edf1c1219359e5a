//! What a template may spend: steps, bytes and nesting, and the faults it ends with.
//!
//! Every loop turn, expression and built string is charged here before it is made, so a hostile
//! template ends with an error in well under a second and with bounded memory (T8). Leaves out the
//! bounds on the source text itself; see `check.rs` for those.

use std::cell::Cell;

/// Expressions and statements that a render may evaluate, before the allowance for its input.
const STEPS: u64 = 3_000_000;
/// Bytes that a render may build in all, before the allowance for its input.
const BYTES: u64 = 48 << 20;
/// Longest single string, before the allowance for its input.
const TEXT: u64 = 8 << 20;
/// Nested calls, statements and expressions in progress.
const DEPTH: u32 = 400;

/// Why a render stopped.
#[derive(Debug)]
pub(super) struct Fault {
    /// What kind of stop.
    pub(super) kind: FaultKind,
    /// What happened, for people.
    pub(super) message: String,
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The template did what Python refuses too (a wrong type, an undefined name).
    Refused,
    /// The template called `raise_exception`.
    Raised,
    /// A limit of this file.
    Limit,
}

/// Result of everything that evaluates.
pub(super) type Outcome<T> = Result<T, Fault>;

/// A fault of the template's own making.
pub(super) fn refuse<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault { kind: FaultKind::Refused, message: message.into() })
}

/// A limit was reached.
fn limit<T>(message: String) -> Outcome<T> {
    Err(Fault { kind: FaultKind::Limit, message })
}

/// Counts one render down to its limits.
pub(super) struct Meter {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    text: u64,
    depth: Cell<u32>,
}

impl Meter {
    /// Limits for a render whose variables hold `input` bytes: honest work grows with its input.
    pub(super) fn new(input: usize) -> Self {
        let input = input as u64;
        Self {
            steps: Cell::new(STEPS + 16 * input),
            bytes: Cell::new(BYTES + 32 * input),
            text: TEXT + 4 * input,
            depth: Cell::new(0),
        }
    }

    /// Charges one step.
    pub(super) fn step(&self) -> Outcome<()> {
        self.steps(1)
    }

    /// Charges `n` steps.
    fn steps(&self, n: u64) -> Outcome<()> {
        match self.steps.get().checked_sub(n) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => limit("the template runs too long (an endless or very long loop)".into()),
        }
    }

    /// Charges the reading of `bytes` bytes.
    pub(super) fn scan(&self, bytes: usize) -> Outcome<()> {
        self.steps(bytes as u64 / 256)
    }

    /// Charges memory of `bytes` bytes, before it is taken.
    pub(super) fn alloc(&self, bytes: usize) -> Outcome<()> {
        self.scan(bytes)?;
        match self.bytes.get().checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => limit("the template builds too much text or too many values".into()),
        }
    }

    /// Charges a string of `bytes` bytes, which is also bounded by itself.
    pub(super) fn text(&self, bytes: usize) -> Outcome<()> {
        self.fits(bytes)?;
        self.alloc(bytes)
    }

    /// Refuses a string of `bytes` bytes that is longer than any may be, without a charge.
    pub(super) fn fits(&self, bytes: usize) -> Outcome<()> {
        if bytes as u64 > self.text {
            return limit(format!(
                "the template makes a text of {bytes} bytes; at most {} are allowed here",
                self.text
            ));
        }
        Ok(())
    }

    /// Runs `f` one level deeper.
    pub(super) fn nested<T>(&self, f: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let depth = self.depth.get() + 1;
        if depth > DEPTH {
            return limit(format!("the template nests or recurses deeper than {DEPTH} levels"));
        }
        self.depth.set(depth);
        let result = f();
        self.depth.set(depth - 1);
        result
    }
}
