//! In the engine, `serde_json` is named only where templates, tokenizers, grammars and imports
//! need it: the engine has no wire types, and the folders that are imported consist of JSON. Which
//! crates below may bring it in is checked by `deps`.

use super::rust::words;
use super::{Problem, Tree};

/// The crates below the gateway.
const SEALED: &[&str] = &["crates/kernels/src/", "crates/engine/src/", "crates/train/src/"];

/// Modules that may name it.
const ALLOWED: &[&str] = &[
    "crates/engine/src/template",
    "crates/engine/src/tokenizer",
    "crates/engine/src/grammar",
    "crates/engine/src/import/",
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let under = |list: &[&str]| list.iter().any(|place| file.path.starts_with(place));
        if !under(SEALED) || under(ALLOWED) {
            continue;
        }
        for (index, line) in rust.shipped() {
            if words(line).any(|word| word == "serde_json") {
                let message = format!("`serde_json` may be named only in {ALLOWED:?}");
                problems.push(Problem::new(&file.path, index + 1, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_outside_its_modules_is_found() {
        let text = "use serde_json::Value;\n";
        let tree = Tree::of(&[
            ("crates/engine/src/session.rs", text),
            ("crates/engine/src/template/mod.rs", text),
            ("crates/app/src/main.rs", text),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
