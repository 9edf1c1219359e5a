//! Every source file opens by saying what it holds: `//!` in Rust, a docstring in Python.

use super::{Problem, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let expected = |path: &str| match path.rsplit_once('.')?.1 {
        "rs" => Some("//! "),
        "py" => Some("\"\"\""),
        _ => None,
    };
    let bare = |file: &&super::tree::File| {
        expected(&file.path).is_some_and(|start| !file.text.starts_with(start))
    };
    let message = "the first line must say what the file holds (`//!`, or a docstring in Python)";
    tree.files.iter().filter(bare).map(|file| Problem::new(&file.path, 1, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_is_found() {
        let tree =
            Tree::of(&[("a.rs", "fn x() {}\n"), ("b.rs", "//! B.\n"), ("c.py", "import os\n")]);
        let paths: Vec<String> = check(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["a.rs", "c.py"]);
    }
}
