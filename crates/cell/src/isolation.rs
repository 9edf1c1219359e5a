//! Isolation levels and the report of what a seal reached. Pure facts; `seal` acts on them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How well the engine process is closed in; ordered, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Isolation {
    /// A separate process only.
    None,
    /// No new privileges and a filter on system calls (and Landlock where the kernel has it).
    Syscall,
    /// The filter, Landlock, and a user and network namespace of its own.
    Full,
}

impl Isolation {
    /// Every level, weakest first.
    pub const ALL: [Self; 3] = [Self::None, Self::Syscall, Self::Full];

    /// The word used in flags and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Syscall => "syscall",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no isolation level.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no isolation level; expected `none`, `syscall` or `full`")]
pub struct UnknownIsolation(String);

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.name() == word);
        found.ok_or_else(|| UnknownIsolation(word.to_owned()))
    }
}

/// One layer of the seal and whether it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What the layer is, for example `network namespace`.
    pub name: String,
    /// In force.
    pub active: bool,
    /// Details when in force; why not, otherwise.
    pub note: String,
}

/// What the seal of one child reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealReport {
    /// The level in force.
    pub level: Isolation,
    /// Each layer, in the order in which they were closed.
    pub layers: Vec<Layer>,
}

impl SealReport {
    /// The layers that are missing, with the reasons, for an error message.
    #[must_use]
    pub fn missing(&self) -> String {
        let missing = self.layers.iter().filter(|layer| !layer.active);
        let lines: Vec<_> = missing.map(|l| format!("{} ({})", l.name, l.note)).collect();
        lines.join("; ")
    }
}

/// The level that these layers amount to.
#[must_use]
pub(crate) fn level_of(namespaces: bool, seccomp: bool, landlock: bool) -> Isolation {
    match (seccomp, namespaces && landlock) {
        (false, _) => Isolation::None,
        (true, false) => Isolation::Syscall,
        (true, true) => Isolation::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Isolation::None < Isolation::Syscall && Isolation::Syscall < Isolation::Full);
        for level in Isolation::ALL {
            assert_eq!(level.to_string().parse::<Isolation>().unwrap(), level);
        }
        let error = "strong".parse::<Isolation>().unwrap_err().to_string();
        assert!(error.contains("strong") && error.contains("syscall"), "{error}");
    }

    #[test]
    fn without_the_call_filter_nothing_counts() {
        assert_eq!(level_of(true, false, true), Isolation::None);
        assert_eq!(level_of(true, true, false), Isolation::Syscall);
        assert_eq!(level_of(false, true, true), Isolation::Syscall);
        assert_eq!(level_of(true, true, true), Isolation::Full);
    }

    #[test]
    fn the_report_names_what_is_missing() {
        let layer = |name: &str, active| Layer { name: name.into(), active, note: "why".into() };
        let layers = vec![layer("a", true), layer("b", false), layer("c", false)];
        let report = SealReport { level: Isolation::None, layers };
        assert_eq!(report.missing(), "b (why); c (why)");
    }
}
