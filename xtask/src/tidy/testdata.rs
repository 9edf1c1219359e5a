//! Test data stays small enough to clone: 20 MB in all.

use super::{Problem, Tree};

const LIMIT_BYTES: u64 = 20_000_000;

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let is_data = |path: &str| path.starts_with("testdata/") || path.contains("/testdata/");
    let total: u64 =
        tree.files.iter().filter(|file| is_data(&file.path)).map(|file| file.bytes).sum();
    if total <= LIMIT_BYTES {
        return Vec::new();
    }
    let message = format!("{total} bytes of test data; the cap is {LIMIT_BYTES}");
    vec![Problem::new("testdata", 0, message)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts() {
        let half = "x".repeat(10_000_000);
        let mut files = vec![("testdata/a", half.as_str()), ("crates/x/testdata/b", &half)];
        assert_eq!(check(&Tree::of(&files)).len(), 0);
        files.push(("testdata/c", "y"));
        assert_eq!(check(&Tree::of(&files)).len(), 1);
    }
}
