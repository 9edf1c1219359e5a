//! A conversation on a terminal: lines in, answers out, and the commands that start with `/`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hearth_engine::protocol::{Finish, Stats};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::answer::{Show, generate};
use crate::context::App;
use crate::conversation::Conversation;
use crate::engine::Running;
use crate::exit::{advise, say_error};
use crate::generation::Recipe;
use crate::interrupt::Interrupt;
use crate::session::Session;

const HELP: &str = "\
/help     show this list
/clear    forget the conversation
/compact  replace the conversation by a summary of it
/bye      leave (Ctrl-D too)
\"\"\"       start or end a text of several lines
Ctrl-C    stop the answer";

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Empty,
    Help,
    Clear,
    Compact,
    Bye,
    Unknown(&'a str),
    /// `"""`, and what follows it on the line.
    Block(&'a str),
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let word = line.trim();
        match word {
            "" => Self::Empty,
            "/help" | "/?" => Self::Help,
            "/clear" => Self::Clear,
            "/compact" => Self::Compact,
            "/bye" | "/exit" | "/quit" => Self::Bye,
            _ if word.starts_with('/') && !word.contains(char::is_whitespace) => {
                Self::Unknown(word)
            }
            _ => match line.trim_start().strip_prefix("\"\"\"") {
                Some(rest) => Self::Block(rest),
                None => Self::Text(line),
            },
        }
    }
}

/// What a conversation needs around it.
pub(crate) struct Repl<'a> {
    pub(crate) app: &'a App,
    pub(crate) running: &'a Running,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) recipe: &'a Recipe,
}

impl Repl<'_> {
    /// Reads and answers until the user leaves.
    pub(crate) fn run(
        &self,
        mut conversation: Conversation,
        mut session: Option<Session<'_>>,
        history: Option<PathBuf>,
        verbose: bool,
    ) -> anyhow::Result<()> {
        let mut editor = DefaultEditor::new()?;
        let history = history.and_then(|path| self.open_history(&mut editor, path));
        self.app.note("/help lists the commands, Ctrl-D leaves");
        loop {
            let line = match editor.readline(">>> ") {
                Ok(line) => line,
                Err(ReadlineError::Eof) => break,
                Err(ReadlineError::Interrupted) => {
                    self.app.note("(Ctrl-D or /bye leaves)");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let line_kind = Line::of(&line);
            if !matches!(line_kind, Line::Empty | Line::Block(_)) {
                editor.add_history_entry(&line)?;
            }
            match line_kind {
                Line::Empty => {}
                Line::Bye => break,
                Line::Help => writeln!(std::io::stdout(), "{HELP}")?,
                Line::Clear => {
                    conversation.clear();
                    self.app.note("(the conversation is forgotten)");
                }
                Line::Compact => self.compact(&mut conversation)?,
                Line::Unknown(word) => self.app.note(format_args!("{word}? {HELP}")),
                Line::Text(text) => self.answer(&mut conversation, text.to_owned(), verbose)?,
                Line::Block(start) => {
                    if let Some(text) = block(&mut editor, start)? {
                        // As a whole: recalled, it is one entry that can be changed and sent again.
                        editor.add_history_entry(format!("\"\"\"{text}\"\"\""))?;
                        self.answer(&mut conversation, text, verbose)?;
                    }
                }
            }
            if let Some(session) = session.as_mut().filter(|_| conversation.take_change())
                && let Err(error) = session.save_text(&conversation)
            {
                self.show_error(error)?;
            }
            if let Some(path) = &history {
                // Losing the history is no reason to end a conversation.
                let _ = editor.append_history(path);
            }
        }
        match session {
            Some(session) => session.close(self.running, self.interrupt, &conversation),
            None => Ok(()),
        }
    }

    /// Answers one text; an error is shown and the conversation goes on.
    fn answer(
        &self,
        conversation: &mut Conversation,
        text: String,
        verbose: bool,
    ) -> anyhow::Result<()> {
        let request = self.recipe.generate(conversation.prompt(&text));
        match generate(self.app, self.running, self.interrupt, request, Show::Stream) {
            Err(error) => {
                let advice = match conversation.is_empty() {
                    true => "Shorten the text",
                    false => "/compact shortens the conversation, /clear starts anew",
                };
                return self.show_error(advise(error, advice));
            }
            Ok(answer) => {
                answer.explain(self.app, self.recipe);
                if verbose {
                    answer.verbose(self.running);
                }
                self.warn_near_limit(&answer.stats);
                if answer.stats.finish != Finish::Cancelled || !answer.text.is_empty() {
                    conversation.add(text, answer.text, answer.stats.context);
                }
            }
        }
        Ok(())
    }

    fn compact(&self, conversation: &mut Conversation) -> anyhow::Result<()> {
        if conversation.is_empty() {
            self.app.note("(nothing to shorten yet)");
            return Ok(());
        }
        let (prompt, whole) = conversation.summary_prompt();
        if !whole {
            self.app.note("(not all of the conversation fits: its newest part is summarised)");
        }
        let request = self.recipe.summary(prompt);
        match generate(self.app, self.running, self.interrupt, request, Show::Stream) {
            Err(error) => return self.show_error(advise(error, "/clear starts anew")),
            Ok(answer) => match useless(answer.stats.finish, &answer.text) {
                Some(why) => {
                    self.app.note(format_args!("({why}; the conversation is as it was)"));
                }
                None => {
                    conversation.replace_by(answer.text, answer.stats.output_tokens);
                    self.app.note("(the summary above stands for the conversation now)");
                }
            },
        }
        Ok(())
    }

    /// Shows an error that concerns one answer; others (stdout is gone) end the program.
    fn show_error(&self, error: anyhow::Error) -> anyhow::Result<()> {
        if error.is::<std::io::Error>() {
            return Err(error);
        }
        say_error(&error, self.app.terminal);
        Ok(())
    }

    fn warn_near_limit(&self, stats: &Stats) {
        if let Some(percent) = nearly_full(stats.context) {
            let (used, limit) = stats.context;
            self.app.note(format_args!(
                "(the context is {percent} % full, {used} of {limit} tokens; \
                 /compact shortens the conversation, /clear starts anew)"
            ));
        }
    }

    /// Reads the history file and makes it private; without one the conversation goes on.
    fn open_history(&self, editor: &mut DefaultEditor, path: PathBuf) -> Option<PathBuf> {
        let opened = private_file(&path).map_err(ReadlineError::from);
        match opened.and_then(|()| editor.load_history(&path)) {
            Ok(()) => Some(path),
            Err(error) => {
                self.app.note(format_args!("no history: {}: {error}", path.display()));
                None
            }
        }
    }
}

/// Why a summary cannot stand for the conversation.
fn useless(finish: Finish, summary: &str) -> Option<&'static str> {
    match finish {
        Finish::Cancelled => Some("stopped"),
        Finish::Length => Some("the summary got too long and was cut off"),
        Finish::Loop => Some("the summary repeats itself"),
        Finish::Stop => summary.trim().is_empty().then_some("the summary is empty"),
    }
}

/// How full the context is in percent, when that is worth a word.
fn nearly_full((used, limit): (u64, u64)) -> Option<u64> {
    let percent = used.saturating_mul(100).checked_div(limit)?;
    (percent >= 80).then_some(percent)
}

/// Reads the lines of a text until `"""`; `None` if the user thought better of it.
fn block(editor: &mut DefaultEditor, start: &str) -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    let mut line = start.to_owned();
    loop {
        if let Some(end) = line.trim_end().strip_suffix("\"\"\"") {
            text.push_str(end);
            return Ok(Some(text).filter(|text| !text.trim().is_empty()));
        }
        if !(text.is_empty() && line.is_empty()) {
            text.push_str(&line);
            text.push('\n');
        }
        line = match editor.readline("... ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    }
}

/// Creates the file if it is not there, and lets nobody else read it.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(Line::of("  "), Line::Empty);
        assert_eq!(Line::of(" /help "), Line::Help);
        assert_eq!(Line::of("/exit"), Line::Bye);
        assert_eq!(Line::of("/cler"), Line::Unknown("/cler"));
        assert_eq!(Line::of("/usr/bin is a folder"), Line::Text("/usr/bin is a folder"));
        assert_eq!(Line::of("  hello "), Line::Text("  hello "));
        assert_eq!(Line::of("\"\"\"def f():"), Line::Block("def f():"));
    }

    #[test]
    fn a_summary_that_did_not_end_by_itself_is_useless() {
        assert_eq!(useless(Finish::Stop, "they greeted"), None);
        for finish in [Finish::Length, Finish::Loop, Finish::Cancelled] {
            assert!(useless(finish, "they gre").is_some(), "{finish:?}");
        }
        assert!(useless(Finish::Stop, " \n").is_some());
    }

    #[test]
    fn the_limit_is_named_in_time() {
        assert_eq!(nearly_full((79, 100)), None);
        assert_eq!(nearly_full((3300, 4096)), Some(80));
        assert_eq!(nearly_full((0, 0)), None);
    }

    #[test]
    fn the_history_is_private_even_if_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/history");
        private_file(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "old line\n").unwrap();
        private_file(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old line\n");
    }
}
