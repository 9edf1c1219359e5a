//! No instruction-set name outside the kernels: everything above them asks for a result, not for a
//! way.

use super::rust::words;
use super::{Problem, Tree};

const PREFIXES: &[&str] =
    &["avx", "vnni", "neon", "sse2", "sse3", "sse4", "ssse3", "f16c", "amx_", "dotprod", "i8mm"];

/// The kernels, and this crate, which measures and lists them.
const HOMES: &[&str] = &["crates/kernels/", "xtask/"];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        if HOMES.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        let strings = rust.strings.iter().map(|(line, text)| (*line, text.as_str()));
        for (index, text) in rust.lines().chain(strings) {
            for word in words(text) {
                let lower = word.to_lowercase();
                if PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
                    let message = format!("`{word}` names an instruction set outside the kernels");
                    problems.push(Problem::new(&file.path, index + 1, message));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_code_and_strings_are_found() {
        let text =
            "fn has_it() { cpu::Avx2::new(); }\nconst S: &str = \"avx512vnni\";\nlet sse = 1;\n";
        let tree = Tree::of(&[("crates/engine/src/a.rs", text), ("crates/kernels/src/a.rs", text)]);
        let lines: Vec<usize> = check(&tree).into_iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2]);
    }
}
