//! Answers that run together are those of each request on its own, token for token, whatever comes
//! and goes beside them.

mod tiny;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{Event, Finish, Generate, Job, LoadOptions, Prompt, Sampling, Stats};
use hearth_engine::worker::Host;
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;
use tiny::{Shape, VOCAB};

fn engine() -> Engine {
    let gguf = Gguf::from_vec(tiny::model(Shape::Llama, TensorType::Q4_K, 7)).expect("our file");
    Engine::load(gguf, &LoadOptions::default(), 2, "2026-11-21", &mut |_, _| ()).expect("a model")
}

/// A request: the length of its prompt, its most tokens, its seed, and whether it guesses.
#[derive(Clone, Debug)]
struct Ask {
    prompt: usize,
    most: usize,
    seed: u64,
    speculate: bool,
}

impl Ask {
    fn job(&self) -> Job {
        let period = 5 + self.seed as usize % 7;
        let prompt = (0..self.prompt).map(|i| ((i % period) * 31 % VOCAB) as u32).collect();
        Job::Generate(Box::new(Generate {
            sampling: Sampling { temperature: 0.4, seed: self.seed, ..Sampling::default() },
            top_logprobs: Some(2),
            loop_detector: false,
            speculate: self.speculate,
            salt: self.seed % 2,
            ..Generate::new(Prompt::Tokens(prompt), self.most)
        }))
    }
}

/// What came for each request.
#[derive(Default)]
struct Came {
    tokens: BTreeMap<u64, Vec<(u32, u32)>>,
    ends: BTreeMap<u64, Stats>,
}

impl Came {
    fn take(&mut self, event: Event) {
        match event {
            Event::Text { id, logprobs, .. } => {
                let places = logprobs.iter().map(|place| (place.token, place.logprob.to_bits()));
                self.tokens.entry(id).or_default().extend(places);
            }
            Event::Done { id, stats } => {
                assert!(self.ends.insert(id, stats).is_none(), "one end for each");
            }
            Event::Progress { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}

/// The tokens of one request alone, in an engine that has seen nothing.
fn alone(ask: &Ask) -> Vec<(u32, u32)> {
    let (mut engine, mut came) = (engine(), Came::default());
    engine.handle(1, ask.job(), &mut |event| came.take(event)).expect("taken in");
    while !engine.running().is_empty() {
        engine.turn(&mut |event| came.take(event));
    }
    came.tokens.remove(&1).unwrap_or_default()
}

#[test]
fn a_prompt_that_was_answered_is_not_read_again() {
    let mut engine = engine();
    let ask = Ask { prompt: 300, most: 5, seed: 2, speculate: true };
    for cached in [0, 299] {
        let mut came = Came::default();
        engine.handle(1, ask.job(), &mut |event| came.take(event)).expect("taken in");
        while !engine.running().is_empty() {
            engine.turn(&mut |event| came.take(event));
        }
        assert_eq!(came.ends[&1].cached_tokens, cached);
        assert_eq!(came.tokens[&1], alone(&ask));
    }
}

#[test]
fn there_is_a_bound_and_what_is_unknown_cannot_be_cancelled() {
    let mut engine = engine();
    let ask = Ask { prompt: 5, most: 50, seed: 1, speculate: false };
    let mut came = Came::default();
    let mut id = 0;
    while !engine.is_full() {
        id += 1;
        assert!(id < 100);
        engine.handle(id, ask.job(), &mut |event| came.take(event)).expect("taken in");
    }
    assert_eq!(engine.running().len() as u64, id);
    engine.cancel(1000, &mut |event| came.take(event));
    engine.cancel(1, &mut |event| came.take(event));
    assert_eq!(came.ends[&1].finish, Finish::Cancelled);
    assert!(!engine.is_full());
    engine.reset();
    assert!(engine.running().is_empty());
    engine.turn(&mut |event| came.take(event));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Requests come at any turn; some are cancelled, and some turns are stopped in the middle.
    #[test]
    fn company_changes_no_answer(
        asks in prop::collection::vec(
            (
                (1usize..400, 0usize..40, 0u64..20, any::<bool>()),
                0usize..30,
                prop::option::of(0usize..60),
            ),
            1..6,
        ),
        stopped in prop::collection::vec(any::<bool>(), 20),
    ) {
        let (mut engine, mut came) = (engine(), Came::default());
        let stop = engine.stop_flag();
        let asks: Vec<(Ask, usize, Option<usize>)> = asks
            .into_iter()
            .map(|((prompt, most, seed, speculate), from, cancel)| {
                (Ask { prompt, most, seed, speculate }, from, cancel)
            })
            .collect();
        for turn in 0.. {
            for (id, (ask, from, cancel)) in asks.iter().enumerate() {
                if *from == turn {
                    engine.handle(id as u64, ask.job(), &mut |event| came.take(event)).expect("taken");
                }
                if *cancel == Some(turn) {
                    engine.cancel(id as u64, &mut |event| came.take(event));
                }
            }
            stop.store(stopped.get(turn) == Some(&true), Ordering::Release);
            if !engine.running().is_empty() {
                engine.turn(&mut |event| came.take(event));
            }
            stop.store(false, Ordering::Release);
            prop_assert!(turn < 1000, "it ends");
            if turn >= 60 && engine.running().is_empty() {
                break;
            }
        }
        for (id, (ask, ..)) in asks.iter().enumerate() {
            let id = id as u64;
            let stats = came.ends[&id];
            let found = came.tokens.remove(&id).unwrap_or_default();
            let expected = alone(ask);
            prop_assert_eq!(found.len() as u64, stats.output_tokens);
            prop_assert!(expected.starts_with(&found));
            if stats.finish != Finish::Cancelled {
                prop_assert_eq!(found.len(), expected.len());
            }
        }
    }
}
