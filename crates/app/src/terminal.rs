//! What the terminal can show: colour and progress only where a person looks.
//!
//! Answers go to stdout without any decoration; notes, progress and errors go to stderr.

use crate::config::Env;
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
    /// May stderr carry progress, which is drawn over itself?
    pub(crate) bars: bool,
}

impl Terminal {
    /// Decides by the user's wish, by the environment and by what stderr is.
    pub(crate) fn new(when: ColorWhen, env: &Env) -> Self {
        let bars = std::io::stderr().is_terminal() && !env.dumb;
        let color = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => bars && !env.no_color,
        };
        Self { color, bars }
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
