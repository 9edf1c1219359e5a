//! No trailing blanks, no tabs in sources, and a line break at the end of each text file.

use super::{Problem, Tree};

const KINDS: &[&str] = &[".rs", ".toml", ".md", ".py", ".csv", "run"];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| KINDS.iter().any(|kind| file.path.ends_with(kind)))
    {
        for (index, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                problems.push(Problem::new(&file.path, index + 1, "ends with a blank"));
            }
            if file.path.ends_with(".rs") && line.contains('\t') {
                problems.push(Problem::new(&file.path, index + 1, "holds a tab"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            problems.push(Problem::new(&file.path, 0, "does not end with a line break"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_tabs_and_a_missing_end_are_found() {
        let tree =
            Tree::of(&[("a.md", "x \ny\n"), ("b.rs", "\tx\n"), ("c.toml", "x"), ("d.bin", " ")]);
        let paths: Vec<String> = check(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["a.md", "b.rs", "c.toml"]);
    }
}
