//! Every dependency has a licence that lets the program be given away under Apache-2.0.

use super::graph::Graph;

/// Licences that ask for no more than a notice.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for package in graph.packages.values() {
        let name = format!("{} {}", package.name, package.version);
        match &package.license {
            None => problems.push(format!("{name} states no licence")),
            Some(licence) if !is_allowed(licence) => {
                problems
                    .push(format!("{name} has the licence `{licence}`, which is not in the list"));
            }
            Some(_) => {}
        }
    }
    problems
}

/// One alternative of each part must be allowed. `/` is the old way to write `OR`. Parentheses are
/// only known around alternatives, the one form that crates use; any other expression is refused.
fn is_allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ");
    let one_of = |part: &str| part.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim()));
    text.split(" AND ").all(|part| {
        let part = part.trim();
        match part.strip_prefix('(') {
            Some(inner) => inner.strip_suffix(')').is_some_and(&one_of),
            None => !part.contains(['(', ')']) && one_of(part),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        let allowed = [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "MIT OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ];
        let refused =
            ["GPL-3.0", "MIT AND GPL-3.0", "(MIT AND GPL-3.0) OR X", "", "(GPL-3.0 OR X) AND MIT"];
        assert!(allowed.iter().all(|text| is_allowed(text)));
        assert!(!refused.iter().any(|text| is_allowed(text)));
    }
}
