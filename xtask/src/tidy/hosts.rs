//! Only well-known public hosts are named in the tree: no file carries the mirror of one machine.

use super::{Problem, Tree};

/// Hosts that may appear in an address.
const KNOWN: &[&str] = &[
    "127.0.0.1",
    "ai.google.dev",
    "arxiv.org",
    "crates.io",
    "docs.python.org",
    "docs.rs",
    "doc.rust-lang.org",
    "example.com",
    "example.org",
    "github.com",
    "huggingface.co",
    "json-schema.org",
    "localhost",
    "pypi.org",
    "registry.ollama.ai",
    "rustup.rs",
    "spdx.org",
    "www.apache.org",
    "www.rust-lang.org",
];

/// Endings that can belong to nobody, for tests.
const RESERVED: &[&str] = &[".example", ".invalid", ".test"];

/// Written by cargo, which names the registry it used.
const SKIPPED: &[&str] = &["Cargo.lock"];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| !SKIPPED.contains(&file.path.as_str())) {
        for (index, line) in file.text.lines().enumerate() {
            let in_test = file.rust.as_ref().is_some_and(|rust| rust.is_test(index));
            for host in hosts(line).filter(|host| !is_known(host, in_test)) {
                let message = format!("`{host}` is not in the list of well-known hosts");
                problems.push(Problem::new(&file.path, index + 1, message));
            }
        }
    }
    problems
}

/// Tests may also use names that no public name server knows: without a dot, or an IPv6 address.
fn is_known(host: &str, in_test: bool) -> bool {
    KNOWN.contains(&host)
        || RESERVED.iter().any(|ending| host.ends_with(ending))
        || in_test && (!host.contains('.') || host.starts_with('['))
}

/// Hosts of the addresses on a line, without user or port. A `{` is a format argument, not a host.
fn hosts(line: &str) -> impl Iterator<Item = String> {
    line.split("://").skip(1).filter_map(|after| {
        let authority: String =
            after.chars().take_while(|c| c.is_alphanumeric() || ".-_@:[]".contains(*c)).collect();
        let host = authority.rsplit('@').next()?.split(':').next()?;
        let host = host.trim_end_matches('.').to_lowercase();
        (!host.is_empty()).then_some(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_host_is_found() {
        let bad = format!("see https:{}mirror.corp.internal:8443/simple and more\n", "//");
        let good = "see https://github.com/x/y, <https://docs.rs>.\n";
        let tree = Tree::of(&[("a.md", &bad), ("b.md", good), ("Cargo.lock", &bad)]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("mirror.corp.internal"));
    }
}
