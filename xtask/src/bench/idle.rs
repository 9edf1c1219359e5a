//! What a conversation costs while it waits for its next line: no processor time at all, right
//! after the model is loaded and after an answer.

use super::{Args, processes};
use crate::cargo::program;
use crate::hearth;
use crate::record::Row;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// From what is seen last until all is done that belongs to it.
const SETTLED: Duration = Duration::from_secs(1);

/// What the conversation shows when it waits, and in the last line of its figures.
const PROMPT: &str = ">>> ";
const FIGURES: &str = "context ";

/// Lends a program the terminal that a conversation needs.
const TERMINAL: &str = "import pty, sys; pty.spawn(sys.argv[1:])";

/// Measures the default model.
pub(super) fn run(args: &Args) -> Result<Vec<Row>> {
    let models = hearth::models()?;
    let model = models.first().context("no model")?;
    let threads = args.threads.to_string();
    let mut command = hearth::hearth(&["run", model.name, "--verbose", "--no-history"]);
    command.args(["--max-tokens", "16", "--threads", &threads]);
    let mut conversation = Conversation::start(&command)?;
    conversation.wait_for(PROMPT)?;
    let loaded = conversation.idle()?;
    conversation.say("Hello")?;
    conversation.wait_for(FIGURES)?;
    conversation.wait_for(PROMPT)?;
    let answered = conversation.idle()?;
    let row = |when: &str, ticks: u64| Row {
        what: format!("idle {when}, {}, {threads} threads", model.name),
        figure: format!("{ticks} ticks of 10 ms in {} s", WATCHED.as_secs()),
        target: "no tick".to_owned(),
        holds: ticks == 0,
    };
    Ok(vec![row("after loading", loaded), row("after an answer", answered)])
}

/// A conversation on a terminal of its own; ends with this value.
struct Conversation(Child);

impl Conversation {
    fn start(command: &Command) -> Result<Self> {
        let mut python = program("python3", &["-c", TERMINAL]);
        python.arg(command.get_program()).args(command.get_args()).env("TERM", "xterm");
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(python.spawn().context("cannot start python3")?))
    }

    /// Reads what it shows up to this text.
    fn wait_for(&mut self, text: &str) -> Result<()> {
        let shown = self.0.stdout.as_mut().context("no output")?;
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(text.as_bytes()) {
            let some = shown.read(&mut byte)?;
            let all = String::from_utf8_lossy(&seen);
            ensure!(some > 0, "the conversation ended before it showed {text:?}: {all}");
            seen.extend(byte);
        }
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let typed = self.0.stdin.as_mut().context("no input")?;
        Ok(write!(typed, "{line}\r")?)
    }

    /// Ticks of processor time that all its processes use while it waits.
    fn idle(&self) -> Result<u64> {
        std::thread::sleep(SETTLED);
        let before = processes::ticks(self.0.id());
        std::thread::sleep(WATCHED);
        let after = processes::ticks(self.0.id());
        ensure!(before > 0, "the system tells no processor time of the conversation");
        ensure!(after >= before, "a process of the conversation has ended");
        Ok(after - before)
    }
}

impl Drop for Conversation {
    /// Without its terminal the program ends by itself.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
