//! No global mutable state: what a thing needs is handed to it. A table that is computed once and
//! never again (`LazyLock`) is a constant.

use super::{Problem, Tree};

/// Statics that may change: file, name, reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("crates/cell/src/sys.rs", "REFUSED_CALLS", "a signal handler reaches nothing else"),
    ("crates/cell/src/sys.rs", "LAST_REFUSED", "a signal handler reaches nothing else"),
    ("fuzz/fuzz_targets/adapter.rs", "ENGINE", "one engine meets all inputs and has to go on"),
    ("crates/kernels/src/pool.rs", "IN_UNIT", "a thread's own mark against nested dispatch"),
];

const CELLS: &[&str] = &["Mutex", "RwLock", "OnceLock", "OnceCell", "Atomic", "RefCell", "Cell<"];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = unneeded(tree);
    for (file, rust) in tree.rust() {
        for (index, line) in rust.shipped() {
            let Some(name) = mutable(line) else { continue };
            if !ALLOWED.iter().any(|(path, listed, _)| (*path, *listed) == (&file.path, name)) {
                let message = format!("`{name}` is global mutable state");
                problems.push(Problem::new(&file.path, index + 1, message));
            }
        }
    }
    problems
}

/// Exceptions in a file of this tree that name nothing any more.
fn unneeded(tree: &Tree) -> Vec<Problem> {
    let gone = |(path, name, _): &&(&str, &str, &str)| {
        tree.file(path).is_some_and(|file| !file.text.contains(name))
    };
    let problem = |(path, name, _): &(&str, &str, &str)| {
        Problem::new(path, 0, format!("`{name}` is gone and needs no exception any more"))
    };
    ALLOWED.iter().filter(gone).map(problem).collect()
}

/// The name of a mutable static declared on this line, in a `thread_local!` or not.
fn mutable(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    let declared = line.strip_prefix("static ")?;
    let (name, kind) = declared.split_once(':')?;
    let changes = name.starts_with("mut ") || CELLS.iter().any(|cell| kind.contains(cell));
    changes.then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutable_statics_are_told_from_constant_ones() {
        assert_eq!(mutable("static mut X: u8 = 0;"), Some("mut X"));
        assert_eq!(mutable("    pub static LOCK: Mutex<()> = Mutex::new(());"), Some("LOCK"));
        assert_eq!(mutable("static TABLE: [u8; 4] = [0; 4];"), None);
        assert_eq!(mutable("fn f(x: &'static str, y: Mutex<u8>) {}"), None);
        let tree = Tree::of(&[("a.rs", "//! A.\nstatic N: AtomicU8 = AtomicU8::new(0);\n")]);
        assert_eq!(check(&tree).len(), 1);
    }
}
