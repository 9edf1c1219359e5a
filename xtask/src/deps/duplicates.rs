//! One version of each crate in what is shipped; exceptions stand here with their reason.
//!
//! Crates that only tests use may differ: they cost build time, and nothing that runs.

use super::graph::Graph;
use std::collections::{BTreeMap, BTreeSet};

/// The program that is shipped.
const SHIPPED: &str = "hearth-app";

/// Crates with two versions, and who holds the older one back.
const ALLOWED: &[(&str, &str)] = &[
    ("embedded-io", "postcard names both as optional traits and uses neither"),
    ("getrandom", "ring 0.17 is behind; it only asks the system"),
    ("syn", "procedural macros, at build time only: strum, enumflags2 and zerocopy are behind"),
    ("windows-sys", "declarations for another system: ring 0.17 is behind"),
];

pub(crate) fn check(graph: &Graph) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for app in graph.ours().filter(|package| package.name == SHIPPED) {
        for package in graph.below(app) {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
    }
    let mut problems = Vec::new();
    for (name, versions) in &versions {
        let listed = ALLOWED.iter().any(|(allowed, _)| allowed == name);
        if versions.len() > 1 && !listed {
            problems.push(format!("{name} is shipped in the versions {versions:?}"));
        } else if versions.len() < 2 && listed {
            problems.push(format!("{name} has one version and needs no exception any more"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::graph::of;
    use super::*;

    #[test]
    fn two_versions_are_found() {
        let mut graph = of(&[(SHIPPED, &["a", "b"])]);
        assert_eq!(check(&graph), Vec::<String>::new());
        let b = graph.packages.get_mut("b").unwrap();
        (b.name, b.version) = ("a".to_owned(), "2.0.0".to_owned());
        assert_eq!(check(&graph).len(), 1);
    }
}
