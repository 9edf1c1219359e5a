//! Compares random texts with the `tokenizers` crate: `tokenizer_oracle COUNT [VOCABULARY…]`.
//!
//! The tests do the same with fewer texts; this is for a million, and prints the time each side
//! took.

use std::process::ExitCode;
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "../tests/tokenizer_support/mod.rs"]
mod tokenizer_support;

use tokenizer_support::random::{self, Random};
use tokenizer_support::{oracle, vocabulary};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(count) = arguments.next().and_then(|count| count.parse::<usize>().ok()) else {
        eprintln!("usage: tokenizer_oracle COUNT [VOCABULARY…]");
        return ExitCode::FAILURE;
    };
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = ["llama-bpe", "gpt-2", "starcoder", "qwen2", "llama-spm", "phi-3", "bert-bge"]
            .map(str::to_owned)
            .to_vec();
    }
    let differ = names.iter().map(|name| compare(name, count)).sum::<usize>();
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Number of texts whose tokens differ; the first few are printed.
fn compare(name: &str, count: usize) -> usize {
    let vocabulary = vocabulary(name);
    let oracle = oracle::oracle(&vocabulary);
    let mut random = Random(1);
    let (mut differ, mut bytes) = (0, 0);
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count {
        let text = random::text(&mut random);
        if name == "phi-3" && oracle::strips_more(&text) {
            continue;
        }
        bytes += text.len();
        let start = Instant::now();
        let expected = oracle.encode_fast(text.as_str(), false).expect("any text");
        let middle = Instant::now();
        let found = vocabulary.tokenizer.encode(text.as_bytes(), false, false);
        theirs += middle - start;
        ours += middle.elapsed();
        if found != expected.get_ids() {
            differ += 1;
            if differ <= 5 {
                let expected = expected.get_ids();
                println!("{name} {text:?}\n  found    {found:?}\n  expected {expected:?}");
            }
        }
    }
    println!(
        "{name}: {count} texts, {bytes} bytes, {differ} differ; {:.1} s against {:.1} s",
        ours.as_secs_f64(),
        theirs.as_secs_f64()
    );
    differ
}
