//! Crates depend downwards only, and a crate appears here with the crates it may use.

use super::{Problem, Tree};

/// A crate's folder and the crates of ours it may name, in any kind of dependency.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("engine", &["kernels"]),
    ("cell", &["engine", "kernels"]),
    ("guard", &[]),
    ("hub", &[]),
    ("server", &["cell", "engine", "guard", "hub"]),
    ("train", &["cell", "engine", "kernels"]),
    ("app", &["cell", "engine", "guard", "hub", "kernels", "server", "train"]),
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        let Some(name) = crate_of(&file.path) else { continue };
        let Some((_, allowed)) = ALLOWED.iter().find(|(listed, _)| *listed == name) else {
            let message = format!("crate `{name}` has no place in the list of directions");
            problems.push(Problem::new(&file.path, 0, message));
            continue;
        };
        for (index, line) in file.text.lines().enumerate() {
            let Some(used) = line.trim().strip_prefix("hearth-") else { continue };
            let used: String = used.chars().take_while(|c| c.is_alphanumeric()).collect();
            if !allowed.contains(&used.as_str()) {
                let message = format!("`{name}` may use {allowed:?} of our crates, not `{used}`");
                problems.push(Problem::new(&file.path, index + 1, message));
            }
        }
    }
    problems
}

/// `kernels` for `crates/kernels/Cargo.toml`.
fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml").filter(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upward_dependency_is_found() {
        let tree = Tree::of(&[
            ("crates/kernels/Cargo.toml", "[dependencies]\nhearth-engine.workspace = true\n"),
            ("crates/engine/Cargo.toml", "[dependencies]\nhearth-kernels.workspace = true\n"),
            ("crates/extra/Cargo.toml", "[package]\n"),
        ]);
        let paths: Vec<String> = check(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["crates/kernels/Cargo.toml", "crates/extra/Cargo.toml"]);
    }
}
