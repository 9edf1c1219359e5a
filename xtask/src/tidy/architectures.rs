//! No architecture name outside `engine/src/arch`: everything above it reads a configuration.
//!
//! A name is found as a whole string, or as the first part of a metadata key. Tests may name what
//! they test; other places stand in the list with their reason.

use super::{Problem, Tree};

const HOME: &str = "crates/engine/src/arch/";

/// Architectures of the field, beyond those that have a file.
const NAMES: &[&str] = &[
    "llama",
    "llama4",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "qwen2",
    "qwen3",
    "qwen2moe",
    "qwen3moe",
    "phi2",
    "phi3",
    "smollm3",
    "granite",
    "olmo2",
    "lfm2",
    "bert",
    "mistral",
    "starcoder2",
    "falcon",
    "gpt2",
];

/// Where such a name means something else: path or folder, reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("fuzz/fuzz_targets/", "a target makes a file of its own"),
    ("crates/engine/src/import/family/", "a family of folders names what its files become"),
    ("crates/engine/src/import/vocabulary/", "GGUF names tokenizer kinds with the same words"),
    ("crates/engine/src/tokenizer/", "GGUF names tokenizer kinds with the same words"),
    ("crates/engine/src/template/", "fallback templates are named by family"),
    ("crates/hub/src/catalogue", "the catalogue states each model's family"),
    ("xtask/src/", "measurements name the shapes they build"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, rust) in tree.rust() {
        let path = &file.path;
        if path.starts_with(HOME) || ELSEWHERE.iter().any(|(place, _)| path.starts_with(place)) {
            continue;
        }
        for (line, text) in &rust.strings {
            let first = text.split('.').next().unwrap_or(text);
            if !rust.is_test(*line) && NAMES.contains(&first) {
                let message = format!("\"{text}\" names an architecture outside {HOME}");
                problems.push(Problem::new(path, line + 1, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_found() {
        let text = "const A: &str = \"gemma3\";\nconst B: &str = \"llama.block_count\";\n";
        let test = "#[cfg(test)]\nmod tests { const A: &str = \"llama\"; }\n";
        let tree = Tree::of(&[
            ("crates/engine/src/block.rs", text),
            ("crates/engine/src/arch/llama.rs", text),
            ("crates/engine/src/session.rs", test),
        ]);
        let lines: Vec<usize> = check(&tree).into_iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2]);
    }
}
