//! Screening the head changes no choice: what a session leaves out of its logits is below what it
//! was asked for, and all else has the bits of the whole head.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::gguf::Gguf;
use hearth_engine::model::Model;
use hearth_engine::protocol::{KvKind, LoadOptions};
use hearth_engine::session::Session;
use hearth_kernels::matmul::Need;
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;
use tiny::{Shape, VOCAB};

/// Enough that the screen is learned and used, and for a rest and what follows it.
const TOKENS: usize = 300;

fn load(shape: Shape, ty: TensorType) -> Model {
    let gguf = Gguf::from_vec(tiny::model(shape, ty, 7)).expect("our own file");
    let never = AtomicBool::new(false);
    Model::load(&gguf, &LoadOptions::default(), Pool::new(2), &never, &mut |_, _| ())
        .expect("a model")
}

/// Decodes the same tokens with all logits and with those that are needed; tokens screened.
fn compare(model: &Model, need: Need) -> u64 {
    let tokens: Vec<u32> = (0..TOKENS).map(|i| ((i * 37 + i * i % 13) % VOCAB) as u32).collect();
    let mut full = Session::new(model, KvKind::F16);
    let mut screened = Session::new(model, KvKind::F16);
    screened.set_need(Some(need));
    for (i, token) in tokens.iter().enumerate() {
        let step = |session: &mut Session| {
            session.prefill(model, &[*token], 1, &mut |_| ()).expect("not stopped").to_vec()
        };
        let (all, some) = (step(&mut full), step(&mut screened));
        let mut sorted = all.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let least = sorted[need.top.max(1) - 1].max(sorted[0] - need.within);
        for (a, b) in all.iter().zip(&some) {
            let same = a.to_bits() == b.to_bits() || (*b == f32::NEG_INFINITY && *a < least);
            assert!(same, "token {i}: {b} instead of {a}, least {least}");
        }
    }
    assert_eq!(full.screened().tokens, 0);
    screened.screened().tokens
}

#[test]
fn what_is_needed_has_the_bits_of_the_whole_head() {
    let model = load(Shape::Llama, TensorType::Q8_0);
    for need in [Need::BEST, Need { top: 5, ..Need::BEST }, Need { top: 1, within: 0.5 }] {
        assert!(compare(&model, need) > 0, "{need:?}");
    }
}

#[test]
fn a_head_without_planes_is_not_screened() {
    assert_eq!(compare(&load(Shape::Llama, TensorType::Q4_K), Need::BEST), 0);
    assert_eq!(compare(&load(Shape::Gemma3, TensorType::Q8_0), Need::BEST), 0);
}
