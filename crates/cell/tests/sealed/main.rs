//! Real sealed children under attack: this program is the parent (the tests) and, when it sees the
//! role argument, the child (`host.rs`).
//!
//! It brings its own runner, because the child must start before libtest has made threads.

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod life;
#[cfg(target_os = "linux")]
mod work;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("no seal is built for this system; nothing to attack");
}

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words == hearth_cell::ROLE {
        hearth_cell::child::main(host::serve);
    }
    if let ["--layer", layer, address] = words[..] {
        return attacks::alone(layer, address);
    }
    if words == ["--middle"] {
        return life::middle();
    }
    run(words.into_iter().find(|word| !word.starts_with('-')).unwrap_or_default());
}

/// Runs the tests whose names contain `filter`, one after the other.
#[cfg(target_os = "linux")]
fn run(filter: &str) {
    let all = [attacks::TESTS, life::TESTS, work::TESTS].concat();
    let mut failed = Vec::new();
    for (name, test) in all.into_iter().filter(|(name, _)| name.contains(filter)) {
        let well = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if well { "ok" } else { "FAILED" });
        if !well {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
