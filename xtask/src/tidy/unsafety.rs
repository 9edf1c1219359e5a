//! `unsafe` lives in the kernels, in the one line that maps a model file, and in one file of the
//! cell.

use super::rust::words;
use super::{Problem, Tree};

/// Where it may stand. The escape tests make the raw system calls that the seal must stop.
const HOMES: &[&str] =
    &["crates/kernels/", "crates/engine/src/gguf/map.rs", "crates/cell/tests/sealed/"];

/// A crate that may have one file with `unsafe`, whichever it is.
const ONE_FILE: &str = "crates/cell/src/";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut cell_file: Option<&str> = None;
    for (file, rust) in tree.rust() {
        let path = file.path.as_str();
        if HOMES.iter().any(|home| path.starts_with(home)) {
            continue;
        }
        for (index, line) in rust.lines() {
            if !words(line).any(|word| word == "unsafe") {
                continue;
            }
            if path.starts_with(ONE_FILE) && cell_file.is_none_or(|first| first == path) {
                cell_file = Some(path);
                continue;
            }
            let message =
                format!("`unsafe` may stand only in {HOMES:?} and one file of {ONE_FILE}");
            problems.push(Problem::new(path, index + 1, message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_homes_may_hold_it() {
        let text = "// unsafe in a comment\nfn f() { unsafe { g() } }\n";
        let tree = Tree::of(&[
            ("crates/app/src/main.rs", text),
            ("crates/cell/src/a.rs", text),
            ("crates/cell/src/b.rs", text),
            ("crates/kernels/src/lib.rs", text),
            ("crates/engine/src/gguf/map.rs", text),
        ]);
        let found: Vec<(String, usize)> =
            check(&tree).into_iter().map(|problem| (problem.path, problem.line)).collect();
        assert_eq!(
            found,
            [("crates/app/src/main.rs".into(), 2), ("crates/cell/src/b.rs".into(), 2)]
        );
    }
}
