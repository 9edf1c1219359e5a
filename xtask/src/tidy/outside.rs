//! Nothing in the tree reads a folder outside it: a clone has none.

use super::{Problem, Tree};

/// Paths of one working machine. Written in two parts, so that this file does not break its own
/// rule.
fn banned() -> [String; 2] {
    [format!("../{}", "shared"), format!("/{}/", "work")]
}

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let banned = banned();
    let mut problems = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(path) = banned.iter().find(|path| line.contains(path.as_str())) {
                let message = format!("`{path}` lies outside the tree");
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
    fn a_path_outside_is_found() {
        for path in banned() {
            let text = format!("open(\"{path}/vocab\")\n");
            assert_eq!(check(&Tree::of(&[("a.py", &text)])).len(), 1, "{path}");
        }
    }
}
