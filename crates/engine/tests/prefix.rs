//! What one sequence has computed serves another that begins alike: the same bits, the right
//! length, nobody else's, and never more memory than the budget.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::block::{Scratch, head};
use hearth_engine::gguf::Gguf;
use hearth_engine::model::Model;
use hearth_engine::prefix::{PrefixCache, Scope};
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::session::{Part, Sequence, pass};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;
use tiny::{Shape, VOCAB};

fn load() -> Model {
    let gguf = Gguf::from_vec(tiny::model(Shape::Gemma3, TensorType::Q8_0, 7)).expect("our file");
    let never = AtomicBool::new(false);
    Model::load(&gguf, &LoadOptions::default(), Pool::new(2), &never, &mut |_, _| ())
        .expect("a model")
}

fn tokens(seed: usize, len: usize) -> Vec<u32> {
    (0..len).map(|i| ((i * 37 + seed * 101 + i * i % 13) % VOCAB) as u32).collect()
}

/// A sequence that begins with what is known of `tokens` and computes the rest; how much was known,
/// and the last logits as bits.
fn run(
    model: &Model,
    cache: &mut PrefixCache,
    salt: u64,
    tokens: &[u32],
) -> (Sequence, usize, Vec<u32>) {
    let mut sequence = Sequence::new(model, KvKind::F16);
    let known = &tokens[..tokens.len() - 1];
    let found = sequence.begin(known, |kv| cache.restore(&Scope::new(salt, &[]), known, kv));
    let (mut scratch, mut logits) = (Scratch::default(), Vec::new());
    let mut parts = [Part { sequence: &mut sequence, tokens: &tokens[found..] }];
    pass(model, &mut scratch, &mut parts).expect("not stopped");
    head(model, &mut scratch, &[tokens.len() - found - 1], None, &mut logits);
    (sequence, found, logits.iter().map(|x| x.to_bits()).collect())
}

fn store(cache: &mut PrefixCache, salt: u64, sequence: &Sequence) {
    cache.store(&Scope::new(salt, &[]), sequence.tokens(), sequence.kv());
}

#[test]
fn a_common_beginning_is_found_to_the_token() {
    let model = load();
    let mut cache = PrefixCache::new(100);
    let first = tokens(1, 200);
    let (sequence, found, _) = run(&model, &mut cache, 0, &first);
    assert_eq!(found, 0);
    store(&mut cache, 0, &sequence);
    assert_eq!(cache.len(), 4, "three whole blocks and a part");
    for (common, len) in [(0, 50), (1, 50), (63, 80), (64, 80), (65, 66), (150, 300), (199, 250)] {
        let mut other = first[..common].to_vec();
        other.extend(tokens(2, len - common).iter().map(|token| (token + 1) % VOCAB as u32));
        other[common] = (first[common] + 1) % VOCAB as u32;
        let (_, found, bits) = run(&model, &mut cache, 0, &other);
        assert_eq!(found, common);
        let (_, _, expected) = run(&model, &mut PrefixCache::new(0), 0, &other);
        assert!(bits == expected, "{common} of {len}");
    }
    // The last token is always left to compute.
    let (_, found, _) = run(&model, &mut cache, 0, &first);
    assert_eq!(found, 199);
}

#[test]
fn a_longer_end_replaces_a_shorter_one_and_memory_is_shared() {
    let model = load();
    let mut cache = PrefixCache::new(100);
    let all = tokens(3, 130);
    for len in [70, 100, 90, 130] {
        let (sequence, _, _) = run(&model, &mut cache, 0, &all[..len]);
        store(&mut cache, 0, &sequence);
    }
    assert_eq!(cache.len(), 3);
    let (_, found, _) = run(&model, &mut cache, 0, &tokens(3, 140));
    assert_eq!(found, 130);
}

#[test]
fn another_salt_finds_nothing() {
    let model = load();
    let mut cache = PrefixCache::new(100);
    let text = tokens(4, 100);
    let (sequence, _, _) = run(&model, &mut cache, 1, &text);
    store(&mut cache, 1, &sequence);
    assert_eq!(run(&model, &mut cache, 2, &text).1, 0);
    assert_eq!(run(&model, &mut cache, 1, &text).1, 99);
    cache.clear();
    assert_eq!(run(&model, &mut cache, 1, &text).1, 0);
    assert!(cache.is_empty());
}

#[test]
fn the_budget_holds_and_what_was_used_last_stays() {
    let model = load();
    let mut cache = PrefixCache::new(5);
    let texts: Vec<Vec<u32>> = (0..6).map(|i| tokens(10 + i, 129)).collect();
    for text in &texts[..2] {
        let (sequence, _, _) = run(&model, &mut cache, 0, text);
        store(&mut cache, 0, &sequence);
        // The first one is asked for again and again.
        run(&model, &mut cache, 0, &texts[0]);
    }
    assert_eq!(cache.len(), 5);
    assert_eq!(run(&model, &mut cache, 0, &texts[0]).1, 128);
    for text in &texts[2..] {
        let (sequence, _, _) = run(&model, &mut cache, 7, text);
        store(&mut cache, 7, &sequence);
        assert!(cache.len() <= 5);
    }
    assert_eq!(run(&model, &mut cache, 7, &texts[5]).1, 128);
    assert!(run(&model, &mut cache, 0, &texts[0]).1 < 128);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Texts that share beginnings of all lengths, in any order, with a budget that may be too
    /// small: every answer is that of a sequence on its own.
    #[test]
    fn shared_or_not_the_bits_are_the_same(
        texts in prop::collection::vec((0usize..140, 0usize..3, 1usize..80, 0u64..2), 1..7),
        budget in 0usize..8,
    ) {
        let model = load();
        let mut cache = PrefixCache::new(budget);
        let base = tokens(5, 140);
        for (common, branch, more, salt) in texts {
            let mut text = base[..common].to_vec();
            text.extend(tokens(20 + branch, more));
            let (sequence, found, bits) = run(&model, &mut cache, salt, &text);
            prop_assert!(found < text.len());
            let (_, _, expected) = run(&model, &mut PrefixCache::new(0), salt, &text);
            prop_assert!(bits == expected);
            store(&mut cache, salt, &sequence);
            prop_assert!(cache.len() <= budget);
        }
    }
}
