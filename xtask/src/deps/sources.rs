//! Every dependency comes from crates.io, not from a repository or a private registry.

use super::graph::Graph;

/// How cargo names crates.io, whatever mirror serves it.
pub(crate) const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check(graph: &Graph) -> Vec<String> {
    let foreign = |source: &&String| source.as_str() != CRATES_IO;
    let mut problems = Vec::new();
    for package in graph.packages.values() {
        if let Some(source) = package.source.as_ref().filter(foreign) {
            problems.push(format!("{} {} comes from {source}", package.name, package.version));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::graph::of;
    use super::*;

    #[test]
    fn another_source_is_found() {
        let mut graph = of(&[("hearth-app", &["a", "b"])]);
        assert_eq!(check(&graph), Vec::<String>::new());
        let git = Some("git+https://github.com/x/y".to_owned());
        graph.packages.get_mut("b").unwrap().source = git;
        assert_eq!(check(&graph).len(), 1);
    }
}
