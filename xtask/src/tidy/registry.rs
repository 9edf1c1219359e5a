//! A file in a folder of equals is also in its list: an architecture that nobody registered never
//! loads.

use super::{Problem, Tree};

/// Folder, and how `mod.rs` names a file of it (`@` stands for the file's name).
const FOLDERS: &[(&str, &[&str])] =
    &[("crates/engine/src/arch/", &["mod @;", "@::ARCH"]), ("xtask/src/tidy/", &["mod @;"])];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (folder, patterns) in FOLDERS {
        let list = tree.file(&format!("{folder}mod.rs"));
        for file in &tree.files {
            let Some(name) = file.path.strip_prefix(folder).and_then(|p| p.strip_suffix(".rs"))
            else {
                continue;
            };
            if name == "mod" || name.contains('/') {
                continue;
            }
            for pattern in *patterns {
                let wanted = pattern.replace('@', name);
                if !list.is_some_and(|list| list.text.contains(&wanted)) {
                    let message = format!("{folder}mod.rs does not say `{wanted}`");
                    problems.push(Problem::new(&file.path, 0, message));
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
    fn an_unregistered_file_is_found() {
        let tree = Tree::of(&[
            ("crates/engine/src/arch/mod.rs", "mod llama;\nmod lost;\n&[&llama::ARCH]\n"),
            ("crates/engine/src/arch/llama.rs", ""),
            ("crates/engine/src/arch/lost.rs", ""),
        ]);
        let messages: Vec<String> = check(&tree).into_iter().map(|p| p.message).collect();
        assert_eq!(messages, ["crates/engine/src/arch/mod.rs does not say `lost::ARCH`"]);
    }
}
