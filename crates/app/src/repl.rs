//! A conversation on a terminal: lines in, answers out, and the commands that start with `/`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hearth_engine::protocol::{Finish, Message, Prompt, Stats};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::answer::{Show, generate};
use crate::context::App;
use crate::engine::Running;
use crate::exit::{advise, say_error};
use crate::generation::{Recipe, SUMMARY_TOKENS};
use crate::interrupt::Interrupt;

const HELP: &str = "\
/help     show this list
/clear    forget the conversation
/compact  replace the conversation by a summary of it
/bye      leave (Ctrl-D too)
\"\"\"       start or end a text of several lines
Ctrl-C    stop the answer";

const SUMMARISE: &str = "Summarise our conversation so far in a few sentences. Keep names, \
    numbers, decisions and open questions.";

/// What has been said, as the next prompt needs it.
pub(crate) struct Conversation {
    system: Option<Message>,
    messages: Vec<Message>,
    raw: bool,
    /// Tokens in the context after the last answer, and its limit.
    context: (u64, u64),
}

impl Conversation {
    /// An empty conversation; `raw` sends each text alone and without a template.
    pub(crate) fn new(system: Option<String>, raw: bool) -> Self {
        Self {
            system: system.map(|text| Message::new("system", &text)),
            messages: Vec::new(),
            raw,
            context: (0, 0),
        }
    }

    /// The prompt that ends with this text of the user.
    fn prompt(&self, text: &str) -> Prompt {
        if self.raw {
            return Prompt::Raw(text.to_owned());
        }
        self.chat(&self.messages, text)
    }

    fn chat(&self, before: &[Message], text: &str) -> Prompt {
        let mut messages: Vec<Message> = self.system.iter().chain(before).cloned().collect();
        messages.push(Message::new("user", text));
        Prompt::Chat { messages, tools_json: String::new() }
    }

    /// The prompt that asks for a summary, and whether all of the conversation is in it. Where
    /// it would leave too little room for the summary, its newest part is.
    fn summary_prompt(&self) -> (Prompt, bool) {
        let size =
            |turns: &[Message]| turns.iter().map(|turn| turn.content.len() as u64).sum::<u64>();
        let (used, limit) = self.context;
        // A token has at least one byte, so the question has at most this many.
        let needed = (SUMMARY_TOKENS + SUMMARISE.len()) as u64;
        let room = limit.saturating_sub(needed.min(limit / 2));
        if used <= room {
            return (self.prompt(SUMMARISE), true);
        }
        // Bytes stand for tokens here, at the rate of the whole conversation.
        let most = size(&self.messages).saturating_mul(room) / used;
        let mut turns = &self.messages[..];
        // A question leaves with its answer: roles still alternate.
        while let Some(rest) = turns.get(2..).filter(|rest| !rest.is_empty() && size(turns) > most)
        {
            turns = rest;
        }
        let mut turns = turns.to_vec();
        let share = usize::try_from(most / 2).unwrap_or(usize::MAX);
        if size(&turns) > most {
            for turn in &mut turns {
                turn.content = ending(&turn.content, share).to_owned();
            }
        }
        (self.chat(&turns, SUMMARISE), false)
    }

    /// Takes up what was said, which left the context so full.
    fn add(&mut self, text: String, answer: String, context: (u64, u64)) {
        self.context = context;
        if !self.raw {
            let turns = [Message::new("user", &text), Message::new("assistant", &answer)];
            self.messages.extend(turns);
        }
    }

    /// The summary takes the place of everything before it; roles still alternate, as many
    /// templates demand.
    fn replace_by(&mut self, summary: String, tokens: u64) {
        self.messages.clear();
        let context = (tokens, self.context.1);
        self.add("What have we talked about so far?".to_owned(), summary, context);
    }
}

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
                    conversation.messages.clear();
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
            if let Some(path) = &history {
                // Losing the history is no reason to end a conversation.
                let _ = editor.append_history(path);
            }
        }
        Ok(())
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
                let advice = match conversation.messages.is_empty() {
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
        if conversation.messages.is_empty() {
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

/// The end of a text, of at most so many bytes.
fn ending(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let whole = (from..text.len()).find_map(|start| text.get(start..));
    whole.unwrap_or_default()
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
    fn a_conversation_alternates_also_after_a_summary() {
        let mut conversation = Conversation::new(Some("be brief".into()), false);
        conversation.add("hi".into(), "hello".into(), (9, 99));
        conversation.replace_by("they greeted".into(), 3);
        let Prompt::Chat { messages, .. } = conversation.prompt("and now?") else { panic!("chat") };
        let roles: Vec<&str> = messages.iter().map(|m| m.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(messages[2].content, "they greeted");
        assert_eq!(messages[3].content, "and now?");
    }

    #[test]
    fn a_full_conversation_leaves_room_for_its_summary() {
        let sent = |used| {
            let mut conversation = Conversation::new(Some("be brief".into()), false);
            for turn in 1..=4 {
                let text = turn.to_string().repeat(100);
                conversation.add(text.clone(), text, (used, 1000));
            }
            let (prompt, whole) = conversation.summary_prompt();
            let Prompt::Chat { messages, .. } = prompt else { panic!("chat") };
            let sizes: Vec<usize> = messages.iter().map(|m| m.content.len()).collect();
            assert_eq!((sizes[0], messages[1].role.as_str()), (8, "user"));
            (whole, sizes[1..sizes.len() - 1].to_vec())
        };
        assert_eq!(sent(500), (true, vec![100; 8]));
        assert_eq!(sent(1000), (false, vec![100; 4]));
        assert_eq!(sent(8000), (false, vec![25; 2]));
        assert_eq!(ending("aéb", 2), "b");
        assert_eq!(ending("aéb", 9), "aéb");
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
    fn raw_lines_stand_alone() {
        let mut conversation = Conversation::new(None, true);
        conversation.add("a".into(), "b".into(), (9, 99));
        assert!(matches!(conversation.prompt("c"), Prompt::Raw(text) if text == "c"));
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
