//! `hearth run MODEL [PROMPT]`: one answer, or a conversation on a terminal.

use std::io::{ErrorKind, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use hearth_engine::protocol::Finish;

use super::show::print_json;
use crate::adapters::AdapterArgs;
use crate::answer::{Show, generate};
use crate::config::read_capped;
use crate::context::App;
use crate::conversation::Conversation;
use crate::engine::{EngineArgs, Need, Running};
use crate::exit::{Code, Failure, advise};
use crate::generation::{OutputArgs, Recipe, SamplingArgs};
use crate::repl::Repl;
use crate::session::Session;

/// Largest text that is read for the engine, in bytes; what a frame to it holds.
const INPUT_CAP: u64 = 16 << 20;

/// Ask a model, or talk with it
///
/// With a PROMPT, or when stdin is not a terminal, one answer is written to stdout; otherwise a
/// conversation starts. A PROMPT of `-`, or a word `-` in it, stands for what stdin holds.
#[derive(Args)]
pub(crate) struct Run {
    /// Name in the store or the catalogue, or a path [setting: model]
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// What to ask; several words are joined
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// Go on with the conversation in this file and keep it there, encrypted, with what was
    /// computed of it; the file is made if it is not there
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    session: Option<PathBuf>,
    /// What the model should know or be before it answers
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue the prompt as plain text: no chat template
    #[arg(long)]
    raw: bool,
    /// Context limit in tokens; 0 takes the model's own, but at most 8192 [setting: ctx]
    #[arg(long, value_name = "N")]
    ctx: Option<usize>,
    /// A smaller model of the same vocabulary, whose guesses are checked: faster where it is often
    /// right, the same output
    #[arg(long, value_name = "MODEL", conflicts_with = "no_speculation")]
    draft: Option<String>,
    /// Print the answer and its figures as JSON when it is complete
    #[arg(long)]
    json: bool,
    /// Timings and the isolation level on stderr
    #[arg(long, short)]
    verbose: bool,
    /// Keep no history of the lines typed in a conversation
    #[arg(long)]
    no_history: bool,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

impl Run {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = self.model(app)?;
        let prompt = self.prompt()?;
        let recipe = Recipe::new(&self.sampling, self.output.clone())?;
        let adapters = self.adapters.open()?;
        let interrupt = app.interrupt()?;
        let model = app.open_model(&name, &format!("run {name}"))?;
        let draft = match &self.draft {
            Some(draft) => Some(app.open_model(draft, &format!("run {name} --draft {draft}"))?),
            None => None,
        };
        let session = self.session.as_deref().map(|path| Session::open(app, path, &model));
        let mut session = session.transpose()?;
        let need = Need::Model { ctx: self.ctx };
        let mut running = self.engine.start_with(app, model, draft, need)?;
        running.adapters = adapters;
        // Now, and not with the first answer: what is wrong with one is said at once.
        running.adapters.give(app, &running)?;
        let mut conversation = Conversation::new(self.system.clone(), self.raw);
        if let Some(session) = &mut session {
            session.restore(&running, &mut conversation)?;
        }

        let Some(prompt) = prompt else {
            if !self.raw {
                require_template(app, &running)?;
            }
            let history = if self.no_history { None } else { app.settings.history.clone() };
            let repl = Repl { app, running: &running, interrupt, recipe: &recipe };
            return repl.run(conversation, session, history, self.verbose);
        };
        let show = if self.json { Show::Nothing } else { Show::Stream };
        let request = recipe.generate(conversation.prompt(&prompt));
        let answer = generate(app, &running, interrupt, request, show).map_err(|error| {
            if !conversation.is_empty() {
                return error;
            }
            // There are no older messages that `drop-oldest` could drop.
            advise(error, "Shorten it, raise `--ctx`, or choose `--overflow keep-end`")
        })?;
        if self.json {
            print_json(&answer.json(&running))?;
        }
        if self.verbose {
            answer.verbose(&running);
        }
        if answer.stats.finish == Finish::Cancelled {
            return Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C"));
        }
        answer.explain(app, &recipe);
        if let Some(session) = &mut session {
            conversation.add(prompt, answer.text, answer.stats.context);
            session.save(&running, interrupt, &conversation)?;
        }
        Ok(())
    }

    /// The model that is named, or that of the settings.
    fn model(&self, app: &App) -> anyhow::Result<String> {
        let name = match &self.model {
            Some(name) => name.clone(),
            None => app.settings.get("model")?,
        };
        if name.is_empty() {
            let text = "no MODEL: name one (`hearth list --all` shows them), or give the setting \
                        `model` a value";
            return Err(Failure::new(Code::Usage, text));
        }
        Ok(name)
    }

    /// The prompt, or `None` for a conversation.
    fn prompt(&self) -> anyhow::Result<Option<String>> {
        let prompt = if self.prompt.is_empty() {
            if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !self.json {
                return Ok(None);
            }
            self.stdin()?
        } else if self.prompt.iter().any(|word| word == "-") {
            let piped = self.stdin()?;
            let words = self.prompt.iter().map(|word| if word == "-" { &piped } else { word });
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        } else {
            self.prompt.join(" ")
        };
        if prompt.is_empty() {
            let text = "the prompt is empty; give it as an argument or on stdin";
            return Err(Failure::new(Code::Usage, text));
        }
        Ok(Some(prompt))
    }

    /// All of stdin; without the last line end, which `echo` adds, unless the prompt is raw.
    fn stdin(&self) -> anyhow::Result<String> {
        let bytes = read_input(std::io::stdin().lock(), "stdin")?;
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::new(Code::Usage, format!("stdin is not UTF-8 text (at byte {at})"))
        })?;
        if !self.raw && text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }
}

/// Refuses a conversation with a base model before anything is typed.
fn require_template(app: &App, running: &Running) -> anyhow::Result<()> {
    let card = running.describe(app)?;
    let reason = match (card.chat_template_error, card.chat_template) {
        (Some(error), _) => format!("its chat template cannot be used: {error}"),
        (None, None) => {
            "it has no chat template: it is a base model, which continues text".to_owned()
        }
        (None, Some(_)) => return Ok(()),
    };
    let text = format!("this model cannot chat: {reason}. Use `--raw` to continue plain text");
    Err(Failure::new(Code::Engine, text))
}

/// Reads a text for the engine to its end; `name` says in errors where it comes from.
pub(super) fn read_input(from: impl Read, name: &str) -> anyhow::Result<Vec<u8>> {
    read_capped(from, INPUT_CAP).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            let text = format!("more than {INPUT_CAP} bytes in {name}; shorten the input");
            Failure::new(Code::TooLong, text)
        }
        _ => anyhow::Error::new(error).context(format!("cannot read {name}")),
    })
}
