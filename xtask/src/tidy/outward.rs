//! Ways out of a process: sockets, HTTP clients, and starting programs. Only the ledger's module
//! may connect or start a program that does, and only the cell starts the sealed child.

use super::rust::words;
use super::{Problem, Tree};

/// Types and calls that reach out of the process.
const WAYS: &[&str] = &[
    "Command",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "ureq",
];

/// Who may use which of them: file or folder, word, reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("crates/hub/src/egress.rs", "Command", "writes the ledger, then starts the package client"),
    ("crates/hub/src/egress/", "ureq", "writes the ledger, then connects"),
    ("crates/cell/src/cell.rs", "Command", "starts the sealed child"),
    ("crates/app/src/", "Command", "the list of this program's own commands has that name"),
    ("xtask/", "Command", "a tool for developers, not shipped"),
];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        for (index, line) in rust.shipped() {
            for way in words(line).filter(|word| WAYS.contains(word)) {
                let allowed = |(place, word, _): &(&str, &str, &str)| {
                    file.path.starts_with(place) && *word == way
                };
                let starts_program =
                    line.contains("process::Command") || line.contains("Command::new");
                let in_app = file.path.starts_with("crates/app/") && starts_program;
                if in_app || !ALLOWED.iter().any(allowed) {
                    let message = format!("`{way}` reaches out of the process; see the list");
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
    fn a_way_out_is_found() {
        let text = "use std::net::TcpStream;\nlet c = Command::new(\"curl\");\n";
        let tree = Tree::of(&[
            ("crates/engine/src/lib.rs", text),
            ("crates/app/src/main.rs", text),
            ("crates/hub/src/egress.rs", "let c = Command::new(path);\n"),
            ("crates/hub/src/egress/line.rs", "use ureq::Agent;\n"),
            ("crates/hub/src/source/url.rs", "ureq::get(url);\n"),
            ("crates/app/src/options.rs", "command: Command,\n"),
        ]);
        let found: Vec<(String, usize)> =
            check(&tree).into_iter().map(|problem| (problem.path, problem.line)).collect();
        let expected = [
            ("crates/engine/src/lib.rs", 1),
            ("crates/engine/src/lib.rs", 2),
            ("crates/app/src/main.rs", 1),
            ("crates/app/src/main.rs", 2),
            ("crates/hub/src/source/url.rs", 1),
        ];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
