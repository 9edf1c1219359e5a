//! The sealed engine of one command: its options, its start with progress, its errors as exit
//! codes.

use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hearth_cell::{CellError, Death, Engine, Isolation, Reply, SpawnOptions};
use hearth_engine::protocol::{
    Event, Failure, FailureKind, Hello, Job, KvKind, LoadOptions, ModelCard, Stage, Stats,
};
use hearth_hub::OpenModel;

use crate::adapters::Adapters;
use crate::context::App;
use crate::exit::{self, Code};
use crate::progress::{Meter, Unit};
use crate::threads;

/// How the engine runs, for every command that starts one.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// Compute threads; 0 takes one per usable physical core [setting: threads]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Element type of the KV cache [setting: kv]
    #[arg(long, value_name = "TYPE")]
    pub(crate) kv: Option<Kv>,
    /// Leave the weights in the file's map: the least memory, for a model that barely fits; slow
    #[arg(long)]
    pub(crate) no_repack: bool,
    /// Refuse to run the engine below this level: full, syscall or none [setting:
    /// require_isolation]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) require_isolation: Option<Isolation>,
}

/// Element types of the KV cache, as flags and settings name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kv {
    /// 32-bit floats
    F32,
    /// IEEE half precision
    F16,
    /// bfloat16
    Bf16,
    /// 8 bits with a scale for 32 of them: half the memory of f16, a little less exact
    Q8,
    /// 4 bits, likewise: a quarter of the memory of f16, less exact
    Q4,
}

impl From<Kv> for KvKind {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F32 => Self::F32,
            Kv::F16 => Self::F16,
            Kv::Bf16 => Self::Bf16,
            Kv::Q8 => Self::Q8,
            Kv::Q4 => Self::Q4,
        }
    }
}

impl FromStr for Kv {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        ValueEnum::from_str(word, false).map_err(|_| "expected f32, f16, bf16, q8 or q4".to_owned())
    }
}

/// What a command needs of the engine beyond the user's options.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Metadata and vocabulary only; works on files without tensors.
    Vocabulary,
    /// The model, with the KV type of the settings and this context limit if any.
    Model {
        /// Context limit in tokens.
        ctx: Option<usize>,
    },
    /// The model with an f32 KV cache unless the flag says otherwise: for measurements of the
    /// model itself.
    Exact {
        /// Context limit in tokens.
        ctx: Option<usize>,
    },
}

/// A model in use: the engine, and the lock that keeps the model in the store.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    model: OpenModel,
    /// What every answer goes through; a new child gets them again.
    pub(crate) adapters: Adapters,
    /// Kept for its lock.
    _draft: Option<OpenModel>,
}

impl EngineArgs {
    /// Compute threads to use.
    pub(crate) fn threads(&self, app: &App) -> anyhow::Result<usize> {
        let asked = match self.threads {
            Some(threads) => threads,
            None => app.settings.get("threads")?,
        };
        Ok(if asked == 0 { threads::usable() } else { asked })
    }

    /// The weakest isolation to accept.
    pub(crate) fn require(&self, app: &App) -> anyhow::Result<Isolation> {
        self.require_isolation.map_or_else(|| app.settings.get("require_isolation"), Ok)
    }

    /// Starts the sealed engine on an opened model and waits until it is loaded.
    pub(crate) fn start(&self, app: &App, model: OpenModel, need: Need) -> anyhow::Result<Running> {
        self.start_with(app, model, None, need)
    }

    /// As [`EngineArgs::start`], with a smaller model whose guesses are checked.
    pub(crate) fn start_with(
        &self,
        app: &App,
        mut model: OpenModel,
        mut draft: Option<OpenModel>,
        need: Need,
    ) -> anyhow::Result<Running> {
        let mut files = std::mem::take(&mut model.files);
        let mut load = self.load_options(app, need)?;
        if let Some(draft) = &mut draft {
            load.draft_parts = draft.files.len();
            files.append(&mut draft.files);
        }
        let (threads, date, parts) = (self.threads(app)?, today(), files.len());
        let hello = Hello { threads, date, parts, load, folder: None };
        let options = SpawnOptions::this_program(hello, files, self.require(app)?)?;
        let mut progress = LongWork::new(app, Duration::from_secs(1));
        let engine = Engine::start(options, &mut |stage, done, total| {
            progress.show(stage, done, total);
        });
        match engine {
            Ok(engine) => {
                Ok(Running { engine, model, adapters: Adapters::default(), _draft: draft })
            }
            Err(error) => Err(named(&model, error)),
        }
    }

    fn load_options(&self, app: &App, need: Need) -> anyhow::Result<LoadOptions> {
        let (ctx, kv) = match need {
            Need::Vocabulary => (None, Kv::F32),
            Need::Exact { ctx } => (ctx, self.kv.unwrap_or(Kv::F32)),
            Need::Model { ctx } => {
                let kv = self.kv.map_or_else(|| app.settings.get("kv"), Ok)?;
                let ctx = match ctx {
                    Some(ctx) => ctx,
                    None => app.settings.get("ctx")?,
                };
                (Some(ctx).filter(|&ctx| ctx > 0), kv)
            }
        };
        let vocab_only = matches!(need, Need::Vocabulary);
        let repack = !self.no_repack;
        Ok(LoadOptions { kv: kv.into(), ctx, vocab_only, repack, ..LoadOptions::default() })
    }
}

impl Running {
    /// Starts a job. If the engine died since the last one, that is said: nothing of a conversation
    /// is lost, but the next answer comes late.
    pub(crate) fn submit(&self, job: Job) -> anyhow::Result<Reply> {
        let say = |death: &Death| exit::say(format_args!("{death}; starting it again"));
        self.engine.submit(job, &mut { say }).map_err(|error| named(&self.model, error))
    }

    /// Runs one job to its end, handing every event but the last and the progress to `on_event`.
    pub(crate) fn finish(
        &self,
        app: &App,
        job: Job,
        mut on_event: impl FnMut(Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Stats> {
        self.follow(app, self.submit(job)?, &mut on_event)
    }

    /// What the model's file says about itself.
    pub(crate) fn describe(&self, app: &App) -> anyhow::Result<ModelCard> {
        let mut found = None;
        self.finish(app, Job::Describe, |event| {
            if let Event::Described { card, .. } = event {
                found = Some(*card);
            }
            Ok(())
        })?;
        let none = || exit::Failure::new(Code::Engine, "the engine gave no description");
        found.ok_or_else(none)
    }

    /// Reads a reply to its end; progress that takes long is shown.
    pub(crate) fn follow(
        &self,
        app: &App,
        reply: Reply,
        on_event: &mut dyn FnMut(Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Stats> {
        let mut progress = LongWork::new(app, Duration::from_secs(2));
        for event in reply {
            match event? {
                Event::Progress { stage, done, total, .. } => progress.show(stage, done, total),
                Event::Done { stats, .. } => return Ok(stats),
                Event::Failed { failure, .. } => return Err(failed(&self.model, failure)),
                other => {
                    progress.hide();
                    on_event(other)?;
                }
            }
        }
        anyhow::bail!("the engine's answer has no end: a defect of hearth")
    }
}

/// A bar for work that turns out to be long, so that short work shows none.
struct LongWork {
    since: Instant,
    patience: Duration,
    meter: Meter,
}

impl LongWork {
    fn new(app: &App, patience: Duration) -> Self {
        Self { since: Instant::now(), patience, meter: Meter::new(app) }
    }

    fn show(&mut self, stage: Stage, done: u64, total: u64) {
        if self.since.elapsed() < self.patience {
            return;
        }
        let (label, unit) = match stage {
            Stage::Load => ("loading", Unit::Bytes),
            Stage::Prefill => ("reading", Unit::Tokens),
            Stage::Perplexity => ("scoring", Unit::Chunks),
            Stage::Bench => ("measuring", Unit::Runs),
            Stage::Embed => ("embedding", Unit::Texts),
        };
        self.meter.set(label, unit, done, total);
        if done >= total {
            self.meter.clear();
        }
    }

    fn hide(&mut self) {
        self.meter.clear();
    }
}

/// What the engine could not do, as an error with its exit code.
fn failed(model: &OpenModel, failure: Failure) -> anyhow::Error {
    let Failure { kind, message } = with_path(model, failure);
    exit::Failure::new(code_of_failure(kind), message)
}

/// What is wrong with the model's file begins with the file's name, which the engine never learns.
fn with_path(model: &OpenModel, failure: Failure) -> Failure {
    let part = match failure.kind {
        FailureKind::Model | FailureKind::Unsupported => Some(1),
        FailureKind::Part(part) => Some(part),
        FailureKind::Request
        | FailureKind::TooLong
        | FailureKind::Memory
        | FailureKind::Internal => None,
    };
    match part.and_then(|part| model.paths.get(part.checked_sub(1)?)) {
        Some(path) => {
            Failure { message: format!("{}: {}", path.display(), failure.message), ..failure }
        }
        None => failure,
    }
}

/// An error of the cell; if the engine refused the model, with the file's name.
fn named(model: &OpenModel, error: CellError) -> anyhow::Error {
    match error {
        CellError::Load(failure) => CellError::Load(with_path(model, failure)).into(),
        other => other.into(),
    }
}

/// The exit code for an error of the cell.
pub(crate) fn code_of(error: &CellError) -> Code {
    match error {
        CellError::Weak { .. } => Code::Isolation,
        CellError::Load(failure) => code_of_failure(failure.kind),
        CellError::Request(_) => Code::TooLong,
        _ => Code::Engine,
    }
}

fn code_of_failure(kind: FailureKind) -> Code {
    match kind {
        FailureKind::Model | FailureKind::Part(_) | FailureKind::Unsupported => Code::Integrity,
        FailureKind::TooLong => Code::TooLong,
        FailureKind::Request | FailureKind::Memory | FailureKind::Internal => Code::Engine,
    }
}

/// Today's date in UTC as `YYYY-MM-DD`, for chat templates: the sealed child has no clock zone.
fn today() -> String {
    hearth_hub::now_rfc3339().chars().take_while(|&c| c != 'T').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_ten_characters() {
        let date = today();
        assert_eq!(date.len(), 10, "{date}");
        assert_eq!(date.matches('-').count(), 2, "{date}");
    }

    #[test]
    fn cache_types_have_the_names_of_the_settings() {
        assert_eq!("bf16".parse::<Kv>(), Ok(Kv::Bf16));
        assert!("q8_0".parse::<Kv>().unwrap_err().contains("f16"));
    }
}
