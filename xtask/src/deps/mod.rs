//! Rules on dependencies, read offline from `cargo metadata`: licences, sources, bans, duplicates.
//!
//! One rule per file; lists stand at the top of each with their reasons. Known vulnerabilities are
//! not checked, and [`advisories`] says so, because the database is not part of a clone.

mod bans;
mod duplicates;
mod graph;
mod licences;
mod sources;

use crate::cargo::{cargo, output};
use crate::check::Verdict;
use anyhow::{Context, Result, bail};
use graph::Graph;

type Rule = fn(&Graph) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("bans", bans::check),
    ("duplicates", duplicates::check),
    ("licences", licences::check),
    ("sources", sources::check),
];

/// Applies every rule and prints what breaks them.
pub(crate) fn run() -> Result<()> {
    let graph = read()?;
    let mut found = 0;
    for (name, rule) in RULES {
        for problem in rule(&graph) {
            found += 1;
            println!("{problem} [{name}]");
        }
    }
    if found > 0 {
        bail!("{found} rules on dependencies are broken; see the lines above");
    }
    Ok(())
}

/// The step that looks for known vulnerabilities. It has no database to look in, and says so.
pub(crate) fn advisories() -> Verdict {
    Verdict::NotChecked("no database".to_owned())
}

fn read() -> Result<Graph> {
    let args = ["metadata", "--offline", "--locked", "--format-version", "1"];
    let text = output(&mut cargo(&args))
        .context("crates of every platform are needed: run `cargo xtask fetch` once")?;
    Graph::parse(&text)
}

#[cfg(test)]
mod tests {
    /// The absences that ARCHITECTURE.md promises; this one needs no crate of another platform.
    #[test]
    fn the_sealed_crates_have_no_network_in_their_tree() {
        let version = crate::cargo::output(&mut crate::cargo::program("rustc", &["-vV"])).unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let mut metadata = crate::cargo::cargo(&["metadata", "--offline", "--locked"]);
        metadata.args(["--format-version", "1", "--filter-platform", host]);
        let graph = super::Graph::parse(&crate::cargo::output(&mut metadata).unwrap()).unwrap();
        assert_eq!(super::bans::check(&graph), Vec::<String>::new());
    }
}
