//! Caps of the style page: lines in a file, lines in a function, columns. Tests are free of the
//! first two.
//!
//! The lists below only shrink: an entry names the size reached, so the file or function cannot
//! grow, and an entry that is no longer needed is itself a finding.

use super::tree::File;
use super::{Problem, Tree};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

/// Files above the cap: path, lines allowed, reason.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Functions above the cap: path, name, lines allowed, reason.
const LONG_FUNCTIONS: &[(&str, &str, usize, &str)] = &[];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = columns(tree);
    problems.extend(files(tree));
    problems.extend(functions(tree));
    problems
}

fn columns(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let sources = |path: &str| path.ends_with(".rs") || path.ends_with(".py");
    for file in tree.files.iter().filter(|file| sources(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            let width = line.chars().count();
            if width > COLUMNS && !is_test_string(file, index) {
                let message = format!("{width} columns; the cap is {COLUMNS}");
                problems.push(Problem::new(&file.path, index + 1, message));
            }
        }
    }
    problems
}

/// Whether the line is test code and only a string passes the cap: test data reads best as it is.
fn is_test_string(file: &File, line: usize) -> bool {
    let Some(rust) = file.rust.as_ref().filter(|rust| rust.is_test(line)) else { return false };
    let beyond = rust.code.get(line).into_iter().flat_map(|code| code.chars().skip(COLUMNS));
    beyond.into_iter().all(|c| " \"#,;(){}?".contains(c))
}

fn files(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let lines = rust.test.iter().filter(|&&test| !test).count();
        let listed = LONG_FILES.iter().find(|(path, ..)| *path == file.path);
        let allowed = listed.map_or(FILE_LINES, |&(_, allowed, _)| allowed);
        if lines > allowed {
            let message = format!("{lines} lines without tests; the cap is {allowed}: split it");
            problems.push(Problem::new(&file.path, 0, message));
        } else if listed.is_some() && lines <= FILE_LINES {
            problems.push(Problem::new(&file.path, 0, "needs no place in LONG_FILES any more"));
        }
    }
    problems
}

fn functions(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        for function in &rust.functions {
            if rust.is_test(function.lines.start) {
                continue;
            }
            let (name, lines) = (&function.name, function.lines.len());
            let listed =
                LONG_FUNCTIONS.iter().find(|(path, f, ..)| (*path, *f) == (&file.path, name));
            let allowed = listed.map_or(FUNCTION_LINES, |&(_, _, allowed, _)| allowed);
            let line = function.lines.start + 1;
            if lines > allowed {
                let message = format!("`{name}` has {lines} lines; the cap is {allowed}: split it");
                problems.push(Problem::new(&file.path, line, message));
            } else if listed.is_some() && lines <= FUNCTION_LINES {
                let message = format!("`{name}` needs no place in LONG_FUNCTIONS any more");
                problems.push(Problem::new(&file.path, line, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_is_found_and_tests_are_free() {
        let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(70));
        let wide = format!("// {}\n", "w".repeat(99));
        let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// t\n".repeat(700));
        let data = format!("#[cfg(test)]\nmod tests {{ f(\"{}\"); }}\n", "d".repeat(99));
        let full = format!("//! Full.\n{}", "// x\n".repeat(600));
        let tree = Tree::of(&[
            ("a.rs", &long),
            ("b.rs", &wide),
            ("c.rs", &test),
            ("d.rs", &full),
            ("e.rs", &data),
        ]);
        let found: Vec<(String, usize)> =
            check(&tree).into_iter().map(|problem| (problem.path, problem.line)).collect();
        assert_eq!(found, [("b.rs".into(), 1), ("d.rs".into(), 0), ("a.rs".into(), 1)]);
    }
}
