//! Progress for a person: one bar on stderr, drawn only if stderr is a terminal that can draw.
//!
//! [`Meter`] draws any counted work; [`PullProgress`] shows what the hub reports with it.

use crate::context::App;
use crate::exit::say;
use crate::interrupt::Guard;
use hearth_hub::progress::{Observer, Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the numbers of a meter count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes, shown in decimal units with a rate.
    Bytes,
    /// Tokens, with a rate.
    Tokens,
    /// Chunks of a text.
    Chunks,
    /// Repetitions.
    Runs,
    /// Whole texts.
    Texts,
}

/// A bar that changes its label and length as work goes on; gone when dropped.
pub(crate) struct Meter {
    visible: bool,
    current: Option<(String, ProgressBar)>,
}

impl Meter {
    /// A meter that draws where the terminal can show it, unless the user asked for quiet.
    pub(crate) fn new(app: &App) -> Self {
        Self { visible: !app.quiet && app.terminal.bars, current: None }
    }

    /// Shows `done` of `total`; another label starts another bar.
    pub(crate) fn set(&mut self, label: &str, unit: Unit, done: u64, total: u64) {
        if !self.visible {
            return;
        }
        if self.current.as_ref().is_none_or(|(shown, _)| shown != label) {
            self.clear();
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style(unit));
            // Work that was done earlier counts for the length of the bar and not for its rate.
            bar.set_position(done);
            bar.reset_eta();
            bar.set_message(label.to_owned());
            self.current = Some((label.to_owned(), bar));
        }
        if let Some((_, bar)) = &self.current {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Takes the bar off the terminal.
    pub(crate) fn clear(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => {
            "{msg:11} {bar:32} {decimal_bytes:>9}/{decimal_total_bytes} \
             {decimal_bytes_per_sec} {eta}"
        }
        Unit::Tokens => "{msg:11} {bar:32} {pos}/{len} tokens {rate}",
        Unit::Chunks => "{msg:11} {bar:32} {pos}/{len} chunks {eta}",
        Unit::Runs => "{msg:11} {bar:32} {pos}/{len} runs {eta}",
        Unit::Texts => "{msg:11} {bar:32} {pos}/{len} texts {eta}",
    };
    // A template that cannot be read shows the plain bar, which is no reason to fail.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is no reason to fail.
            let _ = write!(out, "{}", rate(state.elapsed(), state.per_sec(), state.eta()));
        })
}

/// How fast and how long still, once the bar has stood long enough to tell.
fn rate(elapsed: Duration, per_second: f64, left: Duration) -> String {
    if elapsed < Duration::from_secs(1) || !per_second.is_finite() || per_second < 1.0 {
        return String::new();
    }
    format!("{per_second:.0} tok/s {}s", left.as_secs())
}

/// Shows what the hub reports, and stops it at Ctrl-C.
pub(crate) struct PullProgress {
    quiet: bool,
    name: String,
    meter: RefCell<Meter>,
    /// The user was told that another process has the model.
    told: Cell<bool>,
    stop: Arc<AtomicBool>,
    _guard: Guard,
}

impl PullProgress {
    /// For work on the model called `name`.
    pub(crate) fn new(app: &App, name: &str) -> anyhow::Result<Self> {
        let (guard, stop) = app.interrupt()?.guard_work();
        Ok(Self {
            quiet: app.quiet,
            name: name.to_owned(),
            meter: RefCell::new(Meter::new(app)),
            told: Cell::new(false),
            stop,
            _guard: guard,
        })
    }
}

impl Observer for PullProgress {
    fn observe(&self, progress: Progress) -> ControlFlow<()> {
        match progress {
            Progress::Bytes { stage, done, total } => {
                let label = match stage {
                    Stage::Download => "downloading",
                    Stage::Unpack => "unpacking",
                    Stage::Convert => "converting",
                    Stage::Hash => "checking",
                };
                self.meter.borrow_mut().set(label, Unit::Bytes, done, total);
            }
            Progress::Waiting { holder } if !self.quiet && !self.told.replace(true) => {
                say(format_args!("{} is being worked on by {holder}; waiting for it", self.name));
            }
            Progress::Waiting { .. } | Progress::Asking | Progress::Step(_) => {}
        }
        match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_whole_and_waits_until_it_is_measured() {
        let left = Duration::from_secs(7);
        assert_eq!(rate(Duration::from_millis(3), 8_868_465.5, left), "");
        assert_eq!(rate(Duration::from_secs(2), 123.456, left), "123 tok/s 7s");
        assert_eq!(rate(Duration::from_secs(2), f64::NAN, left), "");
    }
}
