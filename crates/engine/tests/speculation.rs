//! Speculation changes no token: the same answer with and without it, for every sampler, with
//! prompts that give it much to guess.

mod tiny;

use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{Event, Generate, Job, LoadOptions, Prompt, Sampling, Stats};
use hearth_engine::worker::Host;
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;
use tiny::{Shape, VOCAB};

fn engine(shape: Shape) -> Engine {
    let gguf = Gguf::from_vec(tiny::model(shape, TensorType::Q4_K, 7)).expect("our own file");
    Engine::load(gguf, &LoadOptions::default(), 2, "2026-11-21", &mut |_, _| ()).expect("a model")
}

/// The same, with another model of these shapes that guesses.
fn with_draft(shape: Shape, draft: Shape, seed: u64) -> Engine {
    let gguf = Gguf::from_vec(tiny::model(draft, TensorType::Q8_0, seed)).expect("our own file");
    engine(shape).with_draft(&gguf, &mut |_, _| ()).expect("a draft")
}

/// A token and what it was chosen from, as bits.
type Place = (u32, Vec<(u32, u32)>);

/// The answer, token by token.
fn answer(
    engine: &mut Engine,
    prompt: &[u32],
    sampling: &Sampling,
    max_tokens: usize,
    speculate: bool,
) -> (Vec<Place>, Stats) {
    let job = Job::Generate(Box::new(Generate {
        sampling: sampling.clone(),
        top_logprobs: Some(3),
        loop_detector: false,
        speculate,
        ..Generate::new(Prompt::Tokens(prompt.to_vec()), max_tokens)
    }));
    let mut places = Vec::new();
    let mut stats = None;
    let mut out = |event| match event {
        Event::Text { logprobs, .. } => places.extend(logprobs.into_iter().map(|place| {
            let top = place.top.iter().map(|(id, _, p)| (*id, p.to_bits())).collect();
            (place.token, top)
        })),
        Event::Done { stats: found, .. } => stats = Some(found),
        _ => {}
    };
    assert!(engine.handle(1, job, &mut out).expect("an answer").is_none());
    while !engine.running().is_empty() {
        engine.turn(&mut out);
    }
    (places, stats.expect("an end"))
}

/// A text that repeats, so that much of it can be guessed.
fn repeating(period: usize, length: usize) -> Vec<u32> {
    (0..length).map(|i| ((i % period) * 29 % VOCAB) as u32).collect()
}

#[test]
fn guesses_come_true_and_change_nothing() {
    for shape in [Shape::Llama, Shape::Gemma3] {
        let mut engine = engine(shape);
        let prompt = repeating(7, 60);
        let greedy = Sampling::default();
        let (plain, without) = answer(&mut engine, &prompt, &greedy, 200, false);
        let (guessed, with) = answer(&mut engine, &prompt, &greedy, 200, true);
        assert_eq!(plain.len(), 200);
        assert!(plain == guessed, "{shape:?}");
        assert_eq!((without.guessed_tokens, without.accepted_tokens), (0, 0));
        assert!(with.accepted_tokens > 0, "{with:?}");
        assert!(with.accepted_tokens <= with.guessed_tokens);
        assert_eq!(with.context, without.context);
        assert_eq!(with.context.0, 60 + 200 - 1);
    }
}

/// A draft that is the model itself is nearly always right; one that is another model never is. The
/// answers are those without.
#[test]
fn drafts_change_nothing() {
    let prompt: Vec<u32> = (0..40).map(|i| (i * i * 7 + 3) % VOCAB as u32).collect();
    for (draft, seed, right) in [(Shape::Llama, 7, true), (Shape::Gemma3, 3, false)] {
        for temperature in [0.0, 1.5] {
            let sampling = Sampling { temperature, seed: 5, ..Sampling::default() };
            let (plain, _) = answer(&mut engine(Shape::Llama), &prompt, &sampling, 60, false);
            let mut engine = with_draft(Shape::Llama, draft, seed);
            for again in [false, true] {
                let (drafted, stats) = answer(&mut engine, &prompt, &sampling, 60, true);
                assert!(plain == drafted, "{draft:?} at {temperature}");
                // Once its passes are timed, a draft as slow as the model is not worth asking.
                if right && temperature == 0.0 && !again {
                    assert!(stats.accepted_tokens > 5, "{stats:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// One engine answers with and without in turn, so that what a guess left in the cache would
    /// show in the next answer.
    #[test]
    fn every_sampler_chooses_the_same(
        gemma in any::<bool>(),
        period in 1usize..9,
        length in 1usize..90,
        max_tokens in 0usize..90,
        temperature in prop::sample::select(vec![0.0f32, 0.2, 0.7, 1.5]),
        seed in any::<u64>(),
        repeat_penalty in prop::sample::select(vec![1.0f32, 1.3]),
        dry_multiplier in prop::sample::select(vec![0.0f32, 0.8]),
        mirostat in prop::sample::select(vec![None, Some((3.0f32, 0.1f32))]),
        xtc_probability in prop::sample::select(vec![0.0f32, 0.5]),
    ) {
        let mut engine = engine(if gemma { Shape::Gemma3 } else { Shape::Llama });
        let sampling = Sampling {
            temperature, seed, repeat_penalty, dry_multiplier, mirostat, xtc_probability,
            ..Sampling::default()
        };
        let prompt = repeating(period, length);
        let (plain, without) = answer(&mut engine, &prompt, &sampling, max_tokens, false);
        for _ in 0..2 {
            let (guessed, with) = answer(&mut engine, &prompt, &sampling, max_tokens, true);
            prop_assert!(plain == guessed);
            prop_assert_eq!(with.finish, without.finish);
            prop_assert_eq!(with.context, without.context);
        }
        let (again, _) = answer(&mut engine, &prompt, &sampling, max_tokens, false);
        prop_assert!(plain == again);
    }
}
