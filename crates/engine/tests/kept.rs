//! A sequence that was handed out and taken in again goes on as if it had never left, to the bit;
//! and what is no such sequence leaves nothing behind (security class T10: cache files).

mod tiny;

use hearth_engine::gguf::Gguf;
use hearth_engine::host::Engine;
use hearth_engine::protocol::{
    Event, Failure, FailureKind, Finish, Generate, Job, Keep, KeptPart, KvKind, LoadOptions,
    Prompt, Stats,
};
use hearth_engine::worker::Host;
use hearth_kernels::quant::TensorType;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use tiny::{Shape, VOCAB};

const KINDS: [KvKind; 4] = [KvKind::F32, KvKind::F16, KvKind::Bf16, KvKind::Q8];
const SALT: u64 = 3;

fn engine(shape: Shape, kv: KvKind) -> Engine {
    let gguf = Gguf::from_vec(tiny::model(shape, TensorType::Q4_K, 7)).expect("our file");
    let options = LoadOptions { kv, ..LoadOptions::default() };
    Engine::load(gguf, &options, 2, "2026-11-21", &mut |_, _| ()).expect("a model")
}

fn tokens(len: usize) -> Vec<u32> {
    (0..len).map(|i| ((i * 37 + i * i % 13) % VOCAB) as u32).collect()
}

/// Tokens with the bits of their log-probabilities, and the figures.
type Answer = (Vec<(u32, u32)>, Stats);

fn generate(engine: &mut Engine, prompt: &[u32], salt: u64) -> Result<Answer, Failure> {
    let mut answer = Vec::new();
    let mut end = None;
    let mut take = |event| match event {
        Event::Text { logprobs, .. } => {
            answer.extend(logprobs.iter().map(|place| (place.token, place.logprob.to_bits())));
        }
        Event::Done { stats, .. } => end = Some(Ok(stats)),
        Event::Failed { failure, .. } => end = Some(Err(failure)),
        _ => {}
    };
    let job = Generate {
        top_logprobs: Some(2),
        loop_detector: false,
        salt,
        ..Generate::new(Prompt::Tokens(prompt.to_vec()), 12)
    };
    engine.handle(1, Job::Generate(Box::new(job)), &mut take)?;
    while !engine.running().is_empty() {
        engine.turn(&mut take);
    }
    end.expect("an end").map(|stats| (answer, stats))
}

fn hand_out(engine: &mut Engine, prompt: &[u32]) -> Vec<KeptPart> {
    let mut parts = Vec::new();
    let job = Job::Keep(Keep::Out { salt: SALT, prompt: Prompt::Tokens(prompt.to_vec()) });
    let stats = engine.handle(2, job, &mut |event| match event {
        Event::Kept { id: 2, part } => parts.push(part),
        event => panic!("{event:?}"),
    });
    let stats = stats.expect("handed out").expect("at once");
    let KeptPart::Begin { tokens, .. } = &parts[0] else { panic!("{:?}", parts[0]) };
    assert_eq!((stats.finish, stats.prompt_tokens), (Finish::Stop, tokens.len() as u64));
    parts
}

fn give(engine: &mut Engine, part: KeptPart) -> Result<Stats, Failure> {
    let job = Job::Keep(Keep::In { salt: SALT, part });
    let stats = engine.handle(3, job, &mut |event| panic!("{event:?}"));
    stats.map(|stats| stats.expect("at once"))
}

fn take_in(engine: &mut Engine, parts: &[KeptPart]) -> Result<Stats, Failure> {
    parts.iter().try_fold(Stats::ended(Finish::Stop), |_, part| give(engine, part.clone()))
}

/// What an engine handed out after it read a prompt of so many tokens, and the prompt.
fn kept(shape: Shape, kv: KvKind, len: usize) -> (Vec<u32>, Vec<KeptPart>) {
    let (prompt, mut engine) = (tokens(len), engine(shape, kv));
    generate(&mut engine, &prompt, SALT).expect("an answer");
    let parts = hand_out(&mut engine, &prompt);
    (prompt, parts)
}

#[test]
fn a_sequence_that_comes_back_is_the_same_to_the_bit() {
    for shape in [Shape::Llama, Shape::Gemma3, Shape::Gemma4] {
        for kv in KINDS {
            let (first, mut before) = (tokens(200), engine(shape, kv));
            let (said, _) = generate(&mut before, &first, SALT).expect("an answer");
            // The next turn: all that was said, and more.
            let said = said.iter().map(|place| place.0);
            let next: Vec<u32> = first.into_iter().chain(said).chain(tokens(9)).collect();
            let parts = hand_out(&mut before, &next);
            let mut after = engine(shape, kv);
            let stats = take_in(&mut after, &parts).expect("taken in");
            assert_eq!(stats.prompt_tokens, 211, "all but the last token said");
            assert_eq!(hand_out(&mut after, &next), parts);
            let (found, stats) = generate(&mut after, &next, SALT).expect("an answer");
            assert_eq!(stats.cached_tokens, 211);
            let (expected, stats) =
                generate(&mut engine(shape, kv), &next, SALT).expect("an answer");
            assert_eq!(stats.cached_tokens, 0);
            assert!(found == expected, "{shape:?} {kv:?}");
        }
    }
}

#[test]
fn pieces_are_small_and_their_sizes_are_those_of_the_cache() {
    // Blocks of 64 positions, and in each 3 layers of keys and values of 2 heads.
    for (shape, kv, len, sizes) in [
        (Shape::Llama, KvKind::F16, 64, &[32 << 10][..]),
        (Shape::Llama, KvKind::F32, 65, &[64 << 10]),
        (Shape::Gemma3, KvKind::F32, 129, &[64 << 10, 64 << 10]),
        (Shape::Gemma3, KvKind::Q8, 1, &[34 << 10]),
    ] {
        let (_, parts) = kept(shape, kv, len);
        let (pieces, last) = (&parts[1..parts.len() - 1], &parts[parts.len() - 1]);
        assert_eq!(last, &KeptPart::End);
        assert_eq!(pieces.len(), len.div_ceil(64) * 3 * sizes.len(), "{shape:?} {kv:?}");
        for (i, piece) in pieces.iter().enumerate() {
            let KeptPart::Piece { number, bytes } = piece else { panic!("{piece:?}") };
            assert_eq!((*number, bytes.len()), (i as u64, sizes[i % sizes.len()]));
        }
    }
}

#[test]
fn what_is_not_known_is_not_handed_out() {
    let mut engine = engine(Shape::Llama, KvKind::F16);
    let parts = hand_out(&mut engine, &tokens(100));
    assert!(matches!(&parts[..], [KeptPart::Begin { tokens, .. }, KeptPart::End]
        if tokens.is_empty()));
    generate(&mut engine, &tokens(100), SALT + 1).expect("an answer");
    assert_eq!(hand_out(&mut engine, &tokens(100)).len(), 2, "another salt's");
}

#[test]
fn a_stopped_hand_out_has_no_end() {
    let mut engine = engine(Shape::Llama, KvKind::F16);
    generate(&mut engine, &tokens(100), SALT).expect("an answer");
    let (stop, mut parts) = (engine.stop_flag(), Vec::new());
    let job = Job::Keep(Keep::Out { salt: SALT, prompt: Prompt::Tokens(tokens(100)) });
    let stats = engine.handle(2, job, &mut |event| {
        let Event::Kept { part, .. } = event else { panic!("{event:?}") };
        parts.push(part);
        stop.store(parts.len() == 3, Ordering::Release);
    });
    assert_eq!(stats.expect("no error").expect("at once").finish, Finish::Cancelled);
    assert_eq!(parts.len(), 3);
}

/// Gives parts that must be refused somewhere, and finds an engine that knows nothing and works.
fn refused(engine: &mut Engine, parts: &[KeptPart], what: &str) {
    let failure = take_in(engine, parts).expect_err(what);
    assert!(
        matches!(failure.kind, FailureKind::Request | FailureKind::TooLong),
        "{what}: {failure:?}"
    );
    let again = give(engine, KeptPart::End).expect_err(what);
    assert!(again.message.contains("without its beginning"), "{what}: {again:?}");
    let (_, stats) = generate(engine, &tokens(20), SALT).expect("an answer");
    assert_eq!(stats.cached_tokens, 0, "{what}");
    engine.handle(9, Job::Clear, &mut |_| ()).expect("cleared");
}

fn resized(part: &KeptPart, change: impl Fn(&mut Vec<u8>)) -> KeptPart {
    let KeptPart::Piece { number, mut bytes } = part.clone() else { panic!("{part:?}") };
    change(&mut bytes);
    KeptPart::Piece { number, bytes }
}

#[test]
fn t10_every_part_out_of_its_place_or_size_is_refused() {
    let (_, parts) = kept(Shape::Gemma3, KvKind::F32, 70);
    let mut engine = engine(Shape::Gemma3, KvKind::F32);
    let end = parts.len() - 1;
    for i in 0..parts.len() {
        let mut dropped = parts.clone();
        dropped.remove(i);
        if i == end {
            dropped.push(KeptPart::Begin { make: String::new(), tokens: vec![1] });
        }
        refused(&mut engine, &dropped, &format!("{i} left out"));
        for j in i + 1..parts.len() {
            let mut swapped = parts.clone();
            swapped.swap(i, j);
            refused(&mut engine, &swapped, &format!("{i} and {j} swapped"));
        }
    }
    for i in 1..end {
        let with = |part: KeptPart| [&parts[..i], &[part], &parts[i + 1..]].concat();
        let twice = [&parts[..i], &parts[i..=i], &parts[i..]].concat();
        refused(&mut engine, &twice, &format!("{i} twice"));
        let sizes: [fn(&mut Vec<u8>); 4] =
            [Vec::clear, |b| _ = b.pop(), |b| b.push(0), |b| b.extend(b.clone())];
        for change in sizes {
            refused(&mut engine, &with(resized(&parts[i], change)), &format!("{i} resized"));
        }
        let KeptPart::Piece { bytes, .. } = &parts[i] else { panic!("a piece") };
        for number in [0, i as u64, u64::MAX].into_iter().filter(|&n| n != i as u64 - 1) {
            let part = KeptPart::Piece { number, bytes: bytes.clone() };
            refused(&mut engine, &with(part), &format!("{i} as {number}"));
        }
    }
    let extra = KeptPart::Piece { number: end as u64 - 1, bytes: Vec::new() };
    refused(&mut engine, &[&parts[..end], &[extra], &parts[end..]].concat(), "one too many");
    assert_eq!(take_in(&mut engine, &parts).expect("all well").prompt_tokens, 70);
}

#[test]
fn t10_tokens_that_do_not_fit_model_context_or_pieces_are_refused() {
    let (_, parts) = kept(Shape::Llama, KvKind::F16, 70);
    let mut engine = engine(Shape::Llama, KvKind::F16);
    let KeptPart::Begin { make, .. } = &parts[0] else { panic!("a beginning") };
    let with = |make: &str, tokens: Vec<u32>| {
        let begin = KeptPart::Begin { make: make.to_owned(), tokens };
        [&[begin], &parts[1..]].concat()
    };
    for (tokens, what) in [
        (vec![], "no token"),
        (tokens(64), "fewer than the pieces hold"),
        (tokens(129), "more than the pieces hold"),
        (tokens(512), "many more"),
        (tokens(513), "more than the context"),
        (vec![VOCAB as u32; 70], "outside the vocabulary"),
        (vec![u32::MAX; 70], "far outside"),
    ] {
        refused(&mut engine, &with(make, tokens), what);
    }
    for other in ["", "hearth 0.0.0", &make.replace("F16", "Q8"), &format!("{make} ")] {
        refused(&mut engine, &with(other, tokens(70)), other);
    }
    // What other shapes and types of cache handed out is of another make.
    for (shape, kv) in [(Shape::Gemma3, KvKind::F16), (Shape::Llama, KvKind::Bf16)] {
        refused(&mut engine, &kept(shape, kv, 70).1, "another shape or type");
    }
}

#[test]
fn t10_what_is_half_in_is_lost_with_a_reset_another_salt_or_a_new_beginning() {
    let (prompt, parts) = kept(Shape::Llama, KvKind::F16, 70);
    let mut engine = engine(Shape::Llama, KvKind::F16);
    take_in(&mut engine, &parts[..3]).expect("well so far");
    engine.reset();
    refused(&mut engine, &parts[3..], "after a reset");
    take_in(&mut engine, &parts[..3]).expect("well so far");
    engine.handle(9, Job::Clear, &mut |_| ()).expect("cleared");
    refused(&mut engine, &parts[3..], "after a clear");
    take_in(&mut engine, &parts[..3]).expect("well so far");
    let job = Job::Keep(Keep::In { salt: SALT + 1, part: parts[3].clone() });
    engine.handle(3, job, &mut |_| ()).expect_err("another's");
    refused(&mut engine, &parts[3..], "after another's part");
    take_in(&mut engine, &parts[..3]).expect("well so far");
    take_in(&mut engine, &parts).expect("from the beginning");
    assert_eq!(generate(&mut engine, &prompt, SALT).expect("an answer").1.cached_tokens, 69);
    assert_eq!(generate(&mut engine, &prompt, SALT + 1).expect("an answer").1.cached_tokens, 0);
}

#[test]
fn t10_any_numbers_make_an_answer_or_an_error_of_the_request() {
    for kv in KINDS {
        let (prompt, parts) = kept(Shape::Gemma3, kv, 70);
        for fill in [0x00, 0x7c, 0x7f, 0x80, 0xff] {
            let mut engine = engine(Shape::Gemma3, kv);
            for part in &parts {
                let part = match part {
                    KeptPart::Piece { .. } => resized(part, |bytes| bytes.fill(fill)),
                    other => other.clone(),
                };
                give(&mut engine, part).expect("numbers are not looked at");
            }
            match generate(&mut engine, &prompt, SALT) {
                Ok((_, stats)) => assert_eq!(stats.cached_tokens, 69),
                Err(failure) => assert_eq!(failure.kind, FailureKind::Request, "{failure:?}"),
            }
        }
    }
}

/// Parts that are right, nearly right, or neither.
fn part(make: String) -> impl Strategy<Value = KeptPart> {
    let right = 32usize << 10;
    let size = prop_oneof![4 => Just(right), 1 => 0..2 * right];
    prop_oneof![
        1 => (prop::bool::weighted(0.9), 0usize..140).prop_map(move |(right, len)| {
            let make = if right { make.clone() } else { "another".to_owned() };
            KeptPart::Begin { make, tokens: tokens(len) }
        }),
        6 => (0u64..7, size, any::<u8>()).prop_map(|(number, size, fill)| {
            KeptPart::Piece { number, bytes: vec![fill; size] }
        }),
        1 => Just(KeptPart::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, only what was complete is found, and nothing panics.
    #[test]
    fn t10_any_parts_in_any_order_are_taken_or_refused(
        parts in {
            let KeptPart::Begin { make, .. } = kept(Shape::Llama, KvKind::F16, 1).1.remove(0) else {
                panic!("a beginning")
            };
            prop::collection::vec(part(make), 0..40)
        },
    ) {
        let mut engine = engine(Shape::Llama, KvKind::F16);
        let (mut open, mut most) = (None, 0);
        for part in parts {
            let well = give(&mut engine, part.clone()).is_ok();
            open = match part {
                KeptPart::Begin { tokens, .. } => well.then_some((tokens.len(), 0)),
                KeptPart::Piece { .. } => open.filter(|_| well).map(|(len, n)| (len, n + 1)),
                KeptPart::End => {
                    prop_assert_eq!(well, open.is_some_and(|(len, n)| n == len.div_ceil(64) * 3));
                    most = most.max(open.filter(|_| well).map_or(0, |(len, _)| len));
                    None
                }
            };
        }
        if let Ok((_, stats)) = generate(&mut engine, &tokens(200), SALT) {
            prop_assert_eq!(stats.cached_tokens, most as u64);
        }
    }
}
