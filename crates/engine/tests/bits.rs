//! Logits are the same bytes for any number of threads, any chunking, any company in a batch, and
//! after cut and resume. This is what makes speculation and batching exact.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::block::Scratch;
use hearth_engine::gguf::Gguf;
use hearth_engine::model::Model;
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::session::{Session, step_together};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;
use tiny::{Shape, VOCAB};

/// Long enough for several KV blocks, spans and windows.
const TOKENS: usize = 330;

fn load(shape: Shape, ty: TensorType, threads: usize) -> Model {
    let gguf = Gguf::from_vec(tiny::model(shape, ty, 7)).expect("our own file");
    let never = AtomicBool::new(false);
    Model::load(&gguf, &LoadOptions::default(), Pool::new(threads), &never, &mut |_, _| ())
        .expect("a model")
}

fn tokens(seed: usize) -> Vec<u32> {
    (0..TOKENS).map(|i| ((i * 37 + seed * 101 + i * i % 13) % VOCAB) as u32).collect()
}

/// The logits after every token, as bits.
fn all_bits(model: &Model, kv: KvKind, tokens: &[u32], chunk: usize) -> Vec<u32> {
    let mut session = Session::new(model, kv);
    let mut bits = Vec::new();
    session
        .all_logits(model, tokens, chunk, &mut |rows| bits.extend(rows.iter().map(|x| x.to_bits())))
        .expect("not stopped");
    bits
}

fn last(bits: &[u32]) -> &[u32] {
    &bits[bits.len() - VOCAB..]
}

#[test]
fn threads_and_chunks_change_no_bit() {
    for (shape, ty) in [
        (Shape::Llama, TensorType::Q4_K),
        (Shape::Llama, TensorType::F16),
        (Shape::Gemma3, TensorType::Q8_0),
        (Shape::Gemma3, TensorType::Q6_K),
        (Shape::Llama, TensorType::IQ4_XS),
        (Shape::Qwen2Moe, TensorType::Q4_K),
        (Shape::Llama4, TensorType::Q8_0),
        (Shape::Olmo3, TensorType::Q4_0),
        (Shape::Phi3, TensorType::F16),
        (Shape::Gemma3n, TensorType::Q4_K),
        (Shape::Gemma4, TensorType::Q8_0),
        (Shape::Gemma4Moe, TensorType::Q4_K),
    ] {
        let tokens = tokens(1);
        let expected = all_bits(&load(shape, ty, 1), KvKind::F16, &tokens, 512);
        assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()));
        for (threads, chunk) in [(1, 1), (2, 3), (3, 64), (4, 65), (2, 200), (4, 512)] {
            let found = all_bits(&load(shape, ty, threads), KvKind::F16, &tokens, chunk);
            assert!(found == expected, "{shape:?} {ty}: {threads} threads, chunks of {chunk}");
        }
    }
}

#[test]
fn every_cache_type_is_exact_in_itself() {
    for kv in [KvKind::F32, KvKind::F16, KvKind::Bf16, KvKind::Q8, KvKind::Q4] {
        let model = load(Shape::Gemma3, TensorType::Q4_0, 2);
        let expected = all_bits(&model, kv, &tokens(2), 512);
        assert!(all_bits(&model, kv, &tokens(2), 17) == expected, "{kv:?}");
    }
}

#[test]
fn smaller_caches_stay_near() {
    for shape in [Shape::Llama, Shape::Gemma3, Shape::Gemma4] {
        let model = load(shape, TensorType::F32, 2);
        let logits = |kv| -> Vec<f64> {
            let bits = all_bits(&model, kv, &tokens(2), 512);
            bits.iter().map(|&bits| f64::from(f32::from_bits(bits))).collect()
        };
        let exact = logits(KvKind::F32);
        let power: f64 = exact.iter().map(|x| x * x).sum();
        for (kv, most) in
            [(KvKind::F16, 1e-7), (KvKind::Bf16, 5e-6), (KvKind::Q8, 5e-5), (KvKind::Q4, 1e-2)]
        {
            let error: f64 = exact.iter().zip(logits(kv)).map(|(x, y)| (x - y).powi(2)).sum();
            assert!(error > 0.0 && error < most * power, "{shape:?} {kv:?}: {}", error / power);
        }
    }
}

#[test]
fn company_in_a_batch_changes_no_bit() {
    for shape in [
        Shape::Gemma3,
        Shape::Gemma3n,
        Shape::Gemma4,
        Shape::Qwen2Moe,
        Shape::Llama4,
        Shape::Mistral3,
    ] {
        company(&load(shape, TensorType::Q4_K, 3));
    }
}

fn company(model: &Model) {
    let lengths = [5, 64, 65, 129, 300];
    let alone: Vec<Vec<u32>> = lengths
        .iter()
        .enumerate()
        .map(|(i, &n)| all_bits(model, KvKind::F16, &tokens(i)[..n + 1], 512))
        .collect();
    let mut sessions: Vec<Session> = lengths
        .iter()
        .enumerate()
        .map(|(i, &n)| {
            let mut session = Session::new(model, KvKind::F16);
            session.prefill(model, &tokens(i)[..n], 50, &mut |_| ()).expect("not stopped");
            session
        })
        .collect();
    let mut steps: Vec<(&mut Session, u32)> = sessions
        .iter_mut()
        .zip(lengths)
        .enumerate()
        .map(|(i, (session, n))| (session, tokens(i)[n]))
        .collect();
    let mut logits = Vec::new();
    step_together(model, &mut steps, &mut Scratch::default(), &mut logits).expect("not stopped");
    for (row, alone) in logits.chunks_exact(VOCAB).zip(&alone) {
        let row: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
        assert!(row == last(alone));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Read some, cut back, read on in other chunks: as if nothing had happened.
    #[test]
    fn cut_and_resume_changes_no_bit(
        first in 1usize..TOKENS,
        cut in 0usize..TOKENS,
        chunk in 1usize..200,
        resumed in 1usize..200,
        gemma in any::<bool>(),
    ) {
        let shape = if gemma { Shape::Gemma3 } else { Shape::Llama };
        let model = load(shape, TensorType::Q4_K, 2);
        let tokens = tokens(3);
        let expected = all_bits(&model, KvKind::F16, &tokens, 512);
        let mut session = Session::new(&model, KvKind::F16);
        session.prefill(&model, &tokens[..first], chunk, &mut |_| ()).expect("not stopped");
        let cut = cut.min(first);
        session.truncate(cut);
        let logits = session.prefill(&model, &tokens[cut..], resumed, &mut |_| ()).expect("not stopped");
        let found: Vec<u32> = logits.iter().map(|x| x.to_bits()).collect();
        prop_assert!(found == last(&expected));
    }
}
