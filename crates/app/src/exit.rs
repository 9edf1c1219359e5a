//! Exit codes: the one list, how an error gets its code, and how an error is shown.

use crate::answer::harmless;
use crate::engine;
use crate::terminal::{ColorWhen, Terminal};
use hearth_cell::CellError;
use hearth_hub::HubError;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Every exit code of `hearth`. Scripts rely on the numbers: add at the end, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Anything without a code of its own.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No model of that name.
    NotFound = 3,
    /// A source did not deliver.
    Source = 4,
    /// Bytes are not what they should be.
    Integrity = 5,
    /// The store cannot be read or written.
    Store = 6,
    /// The model is in use by another process.
    Busy = 7,
    /// The machine cannot isolate the engine as required.
    Isolation = 8,
    /// The engine failed or died.
    Engine = 9,
    /// The input does not fit the context.
    TooLong = 10,
    /// Stopped by Ctrl-C or another signal that asks for the end.
    Interrupted = 130,
}

/// What each code means, in the order in which `--help` prints them.
const MEANINGS: [(Code, &str); 11] = [
    (Code::Failed, "failed for a reason without a code of its own"),
    (Code::Usage, "the command line or the configuration is wrong"),
    (Code::NotFound, "no such model"),
    (Code::Source, "a source did not deliver the model"),
    (Code::Integrity, "bytes are not what they should be"),
    (Code::Store, "the store cannot be read or written, or the disk is full"),
    (Code::Busy, "the model is in use by another process"),
    (Code::Isolation, "the engine cannot be isolated as required"),
    (Code::Engine, "the engine refused the request, failed or died"),
    (Code::TooLong, "the input does not fit the context"),
    (Code::Interrupted, "stopped by Ctrl-C or a signal to end"),
];

/// The text below `hearth --help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n    0  done");
    for (code, meaning) in MEANINGS {
        text.push_str(&format!("\n  {:>3}  {meaning}", code as u8));
    }
    text
}

/// An error with an exit code of its choice; context may be added around it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    /// An error that ends the program with `code`. The message says what was found, what was
    /// expected and what to do next.
    #[expect(clippy::new_ret_no_self, reason = "it is only ever used as an `anyhow::Error`")]
    pub(crate) fn new(code: Code, message: impl Into<String>) -> anyhow::Error {
        Self { code, message: message.into() }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error of an input that does not fit, with advice that helps where it came up in place of the
/// engine's, which knows flags alone. Other errors stay as they are.
pub(crate) fn advise(error: anyhow::Error, advice: &str) -> anyhow::Error {
    if code_of(&error) != Code::TooLong {
        return error;
    }
    let text = error.to_string();
    let found = text.split_once(". ").map_or(&*text, |(found, _)| found);
    Failure::new(Code::TooLong, format!("{found}. {advice}"))
}

/// The code of an error: that of the first cause that has one.
pub(crate) fn code_of(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.code;
        }
        if let Some(hub) = cause.downcast_ref::<HubError>() {
            return code_of_hub(hub);
        }
        if let Some(cell) = cause.downcast_ref::<CellError>() {
            return engine::code_of(cell);
        }
    }
    Code::Failed
}

fn code_of_hub(error: &HubError) -> Code {
    use hearth_hub::ErrorKind;
    match error.kind() {
        ErrorKind::Usage => Code::Usage,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Source => Code::Source,
        ErrorKind::Integrity => Code::Integrity,
        ErrorKind::Store => Code::Store,
        ErrorKind::Busy => Code::Busy,
        ErrorKind::Stopped => Code::Interrupted,
    }
}

/// Prints what clap has to say (help and version too) and gives its exit code.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let text = match asked_color(std::env::args_os().skip(1)) {
        Some(ColorWhen::Always) => Some(text.ansi().to_string()),
        Some(ColorWhen::Never) => Some(text.to_string()),
        Some(ColorWhen::Auto) | None => None,
    };
    // Nothing is left to do if the terminal is gone.
    let _ = match text {
        Some(text) if error.use_stderr() => write!(std::io::stderr(), "{text}"),
        Some(text) => write!(std::io::stdout(), "{text}"),
        None => error.print(),
    };
    if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS }
}

/// What `--color` says on a command line that could not be read as a whole.
fn asked_color(args: impl Iterator<Item = OsString>) -> Option<ColorWhen> {
    let mut args = args.take_while(|arg| arg != "--");
    while let Some(arg) = args.next() {
        let arg = arg.to_str().unwrap_or_default();
        let word = match arg.strip_prefix("--color") {
            Some("") => args.next()?.to_str()?.to_owned(),
            Some(rest) if rest.starts_with('=') => rest.trim_start_matches('=').to_owned(),
            _ => continue,
        };
        return word.parse().ok();
    }
    None
}

/// Longest text of one note or error, in characters: longer ones come from a file, not from us.
const LONGEST: usize = 2000;

/// Writes a line to stderr. The text may quote a model's file: it cannot steer the terminal. A
/// stderr that takes nothing changes neither what the program does nor its exit code.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", shown(&text.to_string()));
}

/// Writes an error with its causes to stderr, as [`say`] does.
pub(crate) fn say_error(error: &anyhow::Error, terminal: Terminal) {
    let text = shown(&format!("{error:#}"));
    let _ = writeln!(std::io::stderr(), "{} {text}", terminal.error_word());
}

/// A text as the terminal gets it: harmless, and not longer than a person reads.
fn shown(text: &str) -> String {
    let text = harmless(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Prints an error with its causes on stderr and gives its exit code.
pub(crate) fn report(error: &anyhow::Error, terminal: Terminal) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::from(Code::Failed as u8);
    }
    say_error(error, terminal);
    ExitCode::from(code_of(error) as u8)
}

/// The reader of our output went away (`hearth list | head -1`): no message is owed to anyone.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn code_survives_added_context() {
        let error = Err::<(), _>(Failure::new(Code::Busy, "in use")).context("rm").unwrap_err();
        assert_eq!(code_of(&error), Code::Busy);
        assert_eq!(code_of(&anyhow::anyhow!("other")), Code::Failed);
    }

    #[test]
    fn the_colour_is_found_on_a_line_that_is_wrong() {
        let asked = |line: &str| asked_color(line.split(' ').map(OsString::from));
        assert_eq!(asked("run --wrong --color never"), Some(ColorWhen::Never));
        assert_eq!(asked("--color=always rm"), Some(ColorWhen::Always));
        assert_eq!(asked("rm --color"), None);
        assert_eq!(asked("rm -- --color never"), None);
    }

    #[test]
    fn advice_replaces_that_of_the_engine() {
        let error = Failure::new(Code::TooLong, "9 tokens; 8 fit. Raise `--ctx`");
        let error = advise(error, "/clear starts anew");
        assert_eq!(error.to_string(), "9 tokens; 8 fit. /clear starts anew");
        assert_eq!(code_of(&error), Code::TooLong);
        let other = advise(Failure::new(Code::Engine, "it died. Sorry"), "/clear");
        assert_eq!(other.to_string(), "it died. Sorry");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shown("a\n\x1b[2J"), "a\n\u{fffd}[2J");
        let most = "é".repeat(LONGEST);
        assert_eq!(shown(&most), most);
        assert_eq!(shown(&format!("{most}é")), format!("{most}…"));
    }

    #[test]
    fn every_code_is_documented_once() {
        let help = help();
        for (code, meaning) in MEANINGS {
            assert_eq!(help.matches(&format!("{:>3}  {meaning}", code as u8)).count(), 1);
        }
    }
}
