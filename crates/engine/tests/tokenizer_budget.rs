//! What a vocabulary costs: memory against the bytes of its texts, and time to build. Alone in its
//! binary, so that no other test disturbs the clock.

use std::time::Duration;

use hearth_engine::gguf::{Gguf, Value, write::Writer};
use hearth_engine::tokenizer::Tokenizer;

#[expect(dead_code, reason = "other tests use the rest")]
mod tokenizer_support;

use tokenizer_support::random::Random;
use tokenizer_support::{NAMES, vocabulary};

/// Merges for which a build may take 100 ms.
const MERGES: usize = 280_000;

/// Time that this thread has run, so that what else the machine does is not counted.
fn running_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux's clock");
    let first = stat.split(' ').next().expect("the time comes first");
    Duration::from_nanos(first.parse().expect("nanoseconds"))
}

/// Checks memory, and the best time of five.
fn check(name: &str, gguf: &Gguf) {
    let strings = |key| gguf.meta().strs(key).unwrap();
    let bytes = |key| strings(key).map_or(0, |all| all.iter().map(<[u8]>::len).sum());
    let texts: usize = bytes("tokenizer.ggml.tokens") + bytes("tokenizer.ggml.merges");
    let merges = strings("tokenizer.ggml.merges").map_or(0, |all| all.len());
    let mut best = Duration::MAX;
    let mut memory = 0;
    for _ in 0..5 {
        let mut built = None;
        let start = running_time();
        let counted = allocation_counter::measure(|| built = Some(Tokenizer::from_gguf(gguf)));
        best = best.min(running_time() - start);
        memory = counted.bytes_current as usize;
        assert!(matches!(built, Some(Ok(_))), "{name}");
    }
    let share = memory as f64 / texts as f64;
    println!("{name}: {merges} merges, {memory} bytes, {share:.2} of the texts, {best:?}");
    assert!(memory <= 3 * texts, "{name}: {memory} bytes for {texts} bytes of text");
    // Twice the budget, as tests run with assertions and share caches with whatever else runs.
    let most = Duration::from_millis(200) * (merges / MERGES + 1) as u32;
    assert!(best <= most, "{name}: {best:?}");
}

#[test]
fn vocabularies_keep_the_budget() {
    check("synthetic", &synthetic());
    for name in NAMES {
        check(name, &vocabulary(name).gguf);
    }
}

/// A vocabulary with as many merges: each joins two random tokens to a new one.
fn synthetic() -> Gguf {
    let mut random = Random(3);
    let mut tokens: Vec<String> = (0..=255).map(letter).map(String::from).collect();
    let mut known: std::collections::HashSet<String> = tokens.iter().cloned().collect();
    let mut merges = Vec::with_capacity(MERGES);
    while merges.len() < MERGES {
        let recent = tokens.len().min(20_000);
        let (left, right) = (&tokens[random.below(recent)], &tokens[random.below(256)]);
        let joined = format!("{left}{right}");
        if known.insert(joined.clone()) {
            merges.push(format!("{left} {right}"));
            tokens.push(joined);
        }
    }
    let mut writer = Writer::new();
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", "llama-bpe");
    writer.set("tokenizer.ggml.bos_token_id", 0u32);
    writer.set("tokenizer.ggml.token_type", vec![1i32; tokens.len()]);
    writer.set("tokenizer.ggml.tokens", Value::strings(&tokens));
    writer.set("tokenizer.ggml.merges", Value::strings(&merges));
    Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap()
}

/// The alphabet of GPT-2's bytes.
fn letter(byte: u8) -> char {
    let offset = match byte {
        0..=0x20 => 0x100,
        0x7f..=0xa0 => 0x100 - 0x7f + 0x21,
        0xad => 0x143 - 0xad,
        _ => 0,
    };
    char::from_u32(u32::from(byte) + offset).expect("a letter")
}
