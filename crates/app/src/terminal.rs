//! What the terminal can show: colour and progress only where a person looks.
//!
//! Answers go to stdout without any decoration; notes, progress and errors go to stderr.

use clap::ValueEnum;
use std::io::IsTerminal;

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

/// What this terminal gets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terminal {
    /// May stderr carry colour?
    pub(crate) color: bool,
}

impl Terminal {
    /// Decides about colour. `plain` is true where the environment asks for no decoration.
    pub(crate) fn new(when: ColorWhen, plain: bool) -> Self {
        let color = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => !plain && std::io::stderr().is_terminal(),
        };
        Self { color }
    }

    /// The word before an error.
    pub(crate) fn error_word(self) -> &'static str {
        if self.color { "\x1b[1;31merror:\x1b[0m" } else { "error:" }
    }
}

/// A text from outside (a file's name, a model's metadata) without control characters, which could
/// move the cursor or change what the terminal shows.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
