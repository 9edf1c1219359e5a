//! The files of the working tree, read once for all rules.
//!
//! Build outputs and version control are left out. A file that is not UTF-8 has no text, only a
//! size.

use super::rust::Rust;
use anyhow::{Context, Result};
use std::path::Path;

/// Never part of the tree (`.git` is a file in a linked working tree).
const SKIPPED: &[&str] = &[".git", "target"];

/// The tree.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// One file.
pub(crate) struct File {
    /// From the root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Empty for binary files.
    pub(crate) text: String,
    /// The scanned source, for `.rs` files.
    pub(crate) rust: Option<Rust>,
}

impl Tree {
    /// Reads everything below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut tree = Self { files };
        tree.mark_test_modules();
        Ok(tree)
    }

    /// A tree made of these paths and texts, for tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::new(path, text.as_bytes())).collect();
        let mut tree = Self { files };
        tree.mark_test_modules();
        tree
    }

    /// Files that a parent declares as `#[cfg(test)] mod NAME;` are tests, whatever their name.
    fn mark_test_modules(&mut self) {
        let mut tests = Vec::new();
        for (file, rust) in self.rust() {
            let folder = folder_of_modules(&file.path);
            tests.extend(rust.test_modules().map(|name| format!("{folder}/{name}.rs")));
        }
        for file in self.files.iter_mut().filter(|file| tests.contains(&file.path)) {
            file.rust.iter_mut().for_each(Rust::mark_as_test);
        }
    }

    /// The `.rs` files with their scanned source.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// The file at a path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    fn new(path: &str, bytes: &[u8]) -> Self {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text.to_owned(),
            _ => String::new(),
        };
        let rust = path.ends_with(".rs").then(|| Rust::scan(&text, is_test_file(path)));
        Self { path: path.to_owned(), bytes: bytes.len() as u64, text, rust }
    }
}

/// Where the modules declared in a file lie: beside `lib.rs`, `main.rs` and `mod.rs`, else below.
fn folder_of_modules(path: &str) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder,
        _ => path.trim_end_matches(".rs"),
    }
}

/// Files that are not shipped: tests, and examples that show or make something for tests.
fn is_test_file(path: &str) -> bool {
    let folders = ["/tests/", "/examples/", "/benches/"];
    folders.iter().any(|folder| path.contains(folder)) || path.ends_with("/tests.rs")
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
            let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            files.push(File::new(&relative, &bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_parent_declares_for_tests_is_one() {
        let tree = Tree::of(&[
            ("a/src/x/mod.rs", "#[cfg(test)]\nmod vectors;\nmod other;\n"),
            ("a/src/x/vectors.rs", "fn f() {}\n"),
            ("a/src/x/other.rs", "fn f() {}\n"),
        ]);
        let tests: Vec<bool> = tree.rust().map(|(_, rust)| rust.is_test(0)).collect();
        assert_eq!(tests, [true, true, false]);
    }
}
