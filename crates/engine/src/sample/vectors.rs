//! Tests: the whole chain against llama.cpp's own samplers, step by step.
//!
//! The cases come from `xtask/oracle/sample_vectors.py`.

use serde::Deserialize;

use super::Sampler;
use crate::protocol::Sampling;

#[derive(Deserialize)]
struct Document {
    vocab: usize,
    ctx: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    settings: Sampling,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    accepted: u32,
    kept: Vec<(u32, f32)>,
}

fn document() -> Document {
    let path = format!("{}/../../testdata/sample.json.xz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut data = Vec::new();
    lzma_rs::xz_decompress(&mut file.as_slice(), &mut data).expect("an xz file");
    serde_json::from_slice(&data).expect("the document that the script writes")
}

/// The script's formula.
fn logit(token: u32, step: u32) -> f32 {
    let x = token.wrapping_mul(2_654_435_761).wrapping_add(step * 40_503 + 12_345);
    let x = (x ^ (x >> 15)).wrapping_mul(2_246_822_519);
    ((x ^ (x >> 13)) >> 8) as f32 / (1 << 20) as f32 - 8.0
}

#[test]
fn the_same_candidates_are_left_with_the_same_probabilities() {
    let Document { vocab, ctx, cases } = document();
    assert!(cases.len() >= 18);
    for Case { settings, steps } in cases {
        let mut sampler = Sampler::new(&settings, vocab, Vec::new(), ctx).unwrap();
        for (n, Step { accepted, kept }) in (0..).zip(steps) {
            sampler.accept(accepted);
            let mut logits: Vec<f32> = (0..vocab as u32).map(|token| logit(token, n)).collect();
            let token = sampler.sample(&mut logits).unwrap();
            let ours = &sampler.candidates.list;
            assert!(ours.iter().any(|candidate| candidate.id == token));
            let ids = |kept: &[u32]| format!("step {n} of {settings:?}: {kept:?}");
            let theirs: Vec<u32> = kept.iter().map(|(id, _)| *id).collect();
            let found: Vec<u32> = ours.iter().map(|candidate| candidate.id).collect();
            assert_eq!(found, theirs, "{}", ids(&theirs));
            for (candidate, (id, p)) in ours.iter().zip(kept) {
                let close = (candidate.p - p).abs() <= 1e-6 + 1e-5 * p;
                assert!(close, "token {id}: {} for {p}, {}", candidate.p, ids(&theirs));
            }
        }
    }
}

/// The chain at temperature 0 takes the best of what the others leave.
#[test]
fn temperature_zero_takes_the_best_candidate() {
    let Document { vocab, ctx, cases } = document();
    for Case { settings, steps } in
        cases.into_iter().filter(|case| case.settings.mirostat.is_none())
    {
        let settings = Sampling { temperature: 0.0, ..settings };
        let mut sampler = Sampler::new(&settings, vocab, Vec::new(), ctx).unwrap();
        for (n, Step { accepted, kept }) in (0..).zip(steps) {
            sampler.accept(accepted);
            let mut logits: Vec<f32> = (0..vocab as u32).map(|token| logit(token, n)).collect();
            let best = kept.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
            assert_eq!(sampler.sample(&mut logits), Ok(best), "step {n} of {settings:?}");
        }
    }
}
