//! Environment variables are read in one file, so that nobody has to search for what steers the
//! program.

use super::{Problem, Tree};

/// The file.
const HOME: &str = "crates/app/src/config/env.rs";

const READS: &[&str] = &["env::var", "env::vars", "env::var_os", "env::vars_os", "env::set_var"];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust().filter(|(file, _)| file.path != HOME) {
        for (index, line) in rust.shipped() {
            if READS.iter().any(|read| line.contains(&format!("{read}("))) {
                let message = format!("the environment is read only in {HOME}");
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
    fn a_second_reader_is_found() {
        let text = "fn f() { std::env::var(\"HOME\"); env!(\"X\"); }\n";
        let tree = Tree::of(&[("crates/hub/src/lib.rs", text), (HOME, text)]);
        assert_eq!(check(&tree).len(), 1);
    }
}
