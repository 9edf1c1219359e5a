//! No notes to oneself, no skipped tests, no tests that wait for time to pass.

use super::{Problem, Tree};

/// What may not stand in code or comments, and what to do instead.
fn banned() -> [(String, &'static str); 6] {
    let word = |a: &str, b: &str| format!("{a}{b}");
    [
        (word("TO", "DO"), "do it now or write an issue"),
        (word("FIX", "ME"), "do it now or write an issue"),
        (word("to", "do!("), "write it"),
        (word("unimplemented", "!("), "write it"),
        (word("db", "g!("), "remove it"),
        (word("#[ign", "ore"), "every test runs; make it fast or move it to `check --full`"),
    ]
}

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let banned = banned();
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (index, line) in file.text.lines().enumerate() {
            for (text, advice) in &banned {
                if line.contains(text.as_str()) {
                    let message = format!("`{text}`: {advice}");
                    problems.push(Problem::new(&file.path, index + 1, message));
                }
            }
        }
    }
    for (file, rust) in tree.rust() {
        for (index, line) in rust.lines() {
            if rust.is_test(index) && line.contains("sleep(") {
                let message = "a test waits for an event, not for time to pass";
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
    fn each_leftover_is_found() {
        for (text, _) in banned() {
            let tree = Tree::of(&[("a.rs", &format!("//! A.\n// {text}\n"))]);
            assert_eq!(check(&tree).len(), 1, "{text}");
        }
        let call = format!("//! A.\nfn t() {{ thread::{}(ms); }}\n", "sleep");
        assert_eq!(check(&Tree::of(&[("x/tests/a.rs", &call)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("x/src/a.rs", &call)])).len(), 0);
    }
}
