//! A file in a folder of equals is also in its list: an architecture that nobody registered never
//! loads, a family is never imported.

use super::{Problem, Tree};

/// Folder, what a file of it holds, and how `mod.rs` then names it (`@` stands for its name).
const FOLDERS: &[(&str, &str, &str)] = &[
    ("crates/engine/src/arch/", "const ARCH", "&@::ARCH"),
    ("crates/engine/src/import/family/", "const FAMILY", "&@::FAMILY"),
    ("xtask/src/tidy/", "fn check(tree", "@::check"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (folder, held, pattern) in FOLDERS {
        let list = tree.file(&format!("{folder}mod.rs"));
        for file in tree.files.iter().filter(|file| file.text.contains(held)) {
            let name = file.path.strip_prefix(folder).and_then(|name| name.strip_suffix(".rs"));
            let Some(name) = name.filter(|name| *name != "mod") else { continue };
            let wanted = pattern.replace('@', name);
            if !list.is_some_and(|list| list.text.contains(&wanted)) {
                let message = format!("{folder}mod.rs does not say `{wanted}`");
                problems.push(Problem::new(&file.path, 0, message));
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
            ("crates/engine/src/arch/llama.rs", "pub const ARCH: Arch = x;"),
            ("crates/engine/src/arch/lost.rs", "pub const ARCH: Arch = x;"),
            ("crates/engine/src/arch/keys.rs", "struct Keys;"),
        ]);
        let messages: Vec<String> = check(&tree).into_iter().map(|p| p.message).collect();
        assert_eq!(messages, ["crates/engine/src/arch/mod.rs does not say `&lost::ARCH`"]);
    }
}
