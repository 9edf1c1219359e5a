//! scratch
use std::time::Instant;
#[allow(dead_code)]
#[path = "../tests/tokenizer_support/mod.rs"]
mod tokenizer_support;
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
fn main() {
    for name in ["command-r", "llama-bpe", "gemma-4"] {
        let v = tokenizer_support::vocabulary(name);
        let meta = v.gguf.meta();
        for _ in 0..3 {
            let t = cpu();
            let s = Instant::now();
            let _x = hearth_engine::tokenizer::Tokenizer::from_gguf(&v.gguf).unwrap();
            println!("{name} all {} wall {:?}", (cpu() - t) / 1000, s.elapsed());
            let t = cpu();
            let types = meta.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
            println!("types {}", (cpu() - t) / 1000);
            let t = cpu();
            let toks = meta.strs("tokenizer.ggml.tokens").unwrap().unwrap();
            println!("tokens {}", (cpu() - t) / 1000);
            let t = cpu();
            let m = meta.strs("tokenizer.ggml.merges").unwrap().unwrap();
            println!("merges {}", (cpu() - t) / 1000);
            let t = cpu();
            use std::hash::BuildHasher;
            let h = std::hash::RandomState::new();
            let mut x = 0;
            for k in toks.iter() {
                x ^= h.hash_one(k);
            }
            println!("hash {} {x}", (cpu() - t) / 1000);
            let t = cpu();
            let mut x = 0;
            for k in m.iter() {
                x ^= k.iter().skip(1).position(|&b| b == b' ').unwrap();
            }
            println!("find {} {x} {}", (cpu() - t) / 1000, types.len());
        }
    }
}
