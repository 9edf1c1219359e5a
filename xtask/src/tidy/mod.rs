//! Rules on the source tree: a command, a step of the gate and a test of this crate.
//!
//! One rule per file; each rule's exceptions stand at the top of its file with their reason, and a
//! rule complains about an exception that is no longer needed. Rules on dependencies are in `deps`.

mod architectures;
mod caps;
mod directions;
mod environment;
mod globals;
mod headers;
mod hosts;
mod instruction_sets;
mod json;
mod leftovers;
mod outside;
mod outward;
mod registry;
mod rust;
mod spaces;
mod testdata;
mod tree;
mod unsafety;

use crate::cargo::root;
use anyhow::{Result, bail};
use tree::Tree;

/// One finding: where, and what was found against what was expected.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    /// Counted from 1; 0 means the whole file.
    line: usize,
    message: String,
}

type Rule = fn(&Tree) -> Vec<Problem>;

/// Every rule, by the name it is reported with.
const RULES: &[(&str, Rule)] = &[
    ("architectures", architectures::check),
    ("caps", caps::check),
    ("directions", directions::check),
    ("environment", environment::check),
    ("globals", globals::check),
    ("headers", headers::check),
    ("hosts", hosts::check),
    ("instruction_sets", instruction_sets::check),
    ("json", json::check),
    ("leftovers", leftovers::check),
    ("outside", outside::check),
    ("outward", outward::check),
    ("registry", registry::check),
    ("spaces", spaces::check),
    ("testdata", testdata::check),
    ("unsafety", unsafety::check),
];

/// Applies every rule to the tree and prints what breaks them.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(root())?;
    let mut found = 0;
    for (name, rule) in RULES {
        let mut problems = rule(&tree);
        problems.sort();
        found += problems.len();
        for Problem { path, line, message } in problems {
            println!("{path}:{line}: {message} [{name}]");
        }
    }
    if found > 0 {
        bail!("{found} rules of the source tree are broken; each line above names its file");
    }
    Ok(())
}

impl Problem {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    /// `cargo test` alone already guards the tree.
    #[test]
    fn the_tree_is_tidy() {
        super::run().expect("the findings are printed above");
    }
}
