//! What the sealed crates may not contain, as a fact about their dependency tree.
//!
//! `kernels`, `engine` and `train` have no socket, TLS, HTTP or async crate below them; JSON enters
//! the engine only through the crates listed here; no thread pool starts by itself.

use super::graph::Graph;

/// Crates that run inside the seal.
const SEALED: &[&str] = &["hearth-kernels", "hearth-engine", "hearth-train"];

/// Sockets, TLS, HTTP, async runtimes, ciphers (the sealed child keeps no secrets), and a thread
/// pool with a global instance. A trailing `*` matches every name with this beginning.
const BANNED: &[&str] = &[
    "actix*",
    "aead",
    "aes*",
    "async-*",
    "attohttpc",
    "axum*",
    "chacha20*",
    "cipher",
    "crossbeam-channel",
    "curl*",
    "futures*",
    "h2",
    "h3",
    "http*",
    "hyper*",
    "isahc",
    "mio",
    "native-tls",
    "openssl*",
    "polling",
    "quinn*",
    "rayon*",
    "reqwest",
    "ring",
    "rustls*",
    "schannel",
    "security-framework*",
    "smol*",
    "socket2",
    "surf",
    "tiny_http",
    "tokio*",
    "tonic*",
    "tower*",
    "tungstenite",
    "ureq*",
    "warp",
];

/// Crates of the engine's tree that may use `serde_json`, with the reason.
const JSON: &[(&str, &str)] = &[
    ("hearth-engine", "templates, tokenizers, grammars, imports alone; tidy names the modules"),
    ("llguidance", "JSON Schema is its input"),
    ("toktrie", "reads tokenizer files"),
];

pub(crate) fn check(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for sealed in graph.ours().filter(|package| SEALED.contains(&package.name.as_str())) {
        for package in graph.below(sealed) {
            let (top, name) = (&sealed.name, package.name.as_str());
            if BANNED.iter().any(|pattern| matches(pattern, name)) {
                problems.push(format!("{name} is in the tree of {top}, which must not have it"));
            }
            let uses_json = graph.uses(package).any(|used| used.name == "serde_json");
            if uses_json && !JSON.iter().any(|(allowed, _)| *allowed == name) {
                problems
                    .push(format!("{name} brings serde_json into {top} and is not in the list"));
            }
        }
    }
    problems
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::of;
    use super::*;

    #[test]
    fn a_socket_deep_in_the_tree_is_found() {
        let graph = of(&[
            ("hearth-engine", &["a"]),
            ("a", &["tokio-util", "serde_json"]),
            ("hearth-app", &["reqwest"]),
        ]);
        let problems = check(&graph);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
