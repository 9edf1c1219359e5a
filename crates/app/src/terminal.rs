//! What the terminal can show: colour and progress only where a person looks.
//!
//! The decision is made once by [`init`]; everything else asks. Answers go to stdout without any
//! decoration; notes, progress and errors go to stderr.

use clap::ValueEnum;
use std::io::IsTerminal;
use std::sync::OnceLock;

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// The word for it, as options and settings take it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl std::str::FromStr for ColorWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false)
            .map_err(|_| "expected auto, always or never".to_owned())
    }
}

/// Set once at start, before any thread: may stderr be coloured. Errors found before that are plain.
static COLOR_STDERR: OnceLock<bool> = OnceLock::new();

/// Decides about colour. `plain` is true where the environment asks for no decoration.
pub(crate) fn init(when: ColorWhen, plain: bool) {
    let color = match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => !plain && std::io::stderr().is_terminal(),
    };
    // A second call would be a defect, but not one worth dying for.
    let _ = COLOR_STDERR.set(color);
}

/// May stderr carry colour?
pub(crate) fn stderr_color() -> bool {
    COLOR_STDERR.get().copied().unwrap_or(false)
}

/// The word before an error.
pub(crate) fn error_word() -> &'static str {
    if stderr_color() { "\x1b[1;31merror:\x1b[0m" } else { "error:" }
}

/// A text from outside (a file's name, a model's metadata) without control characters, which could
/// move the cursor or change what the terminal shows.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
