//! The samplers from outside: what a seed fixes, what cannot be chosen, what is refused.

use hearth_engine::protocol::Sampling;
use hearth_engine::sample::{SampleError, Sampler};
use proptest::prelude::*;

const VOCAB: usize = 300;

fn sampler(settings: &Sampling) -> Sampler {
    Sampler::new(settings, VOCAB, vec![vec![0]], 64).expect("valid settings")
}

/// Tokens drawn one after the other from changing logits.
fn tokens(settings: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
    let mut sampler = sampler(settings);
    let step = |n: usize| {
        let mut logits = logits.to_vec();
        logits.rotate_left(n);
        let token = sampler.sample(&mut logits).expect("a token");
        sampler.accept(token);
        token
    };
    (0..count).map(step).collect()
}

prop_compose! {
    /// Any valid settings, each sampler on or off.
    fn settings()(
        (temperature, top_k, top_p, min_p, typical_p) in
            (0.0f32..3.0, 0usize..400, 0.0f32..=1.0, 0.0f32..=1.0, 0.0f32..=1.0),
        (repeat_penalty, repeat_last_n, frequency_penalty, presence_penalty) in
            (0.1f32..3.0, -1i32..100, -2.0f32..2.0, -2.0f32..2.0),
        (dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n) in
            (0.0f32..2.0, 1.0f32..3.0, 0i32..5, -1i32..100),
        (xtc_probability, xtc_threshold) in (0.0f32..=1.0, 0.0f32..=1.0),
        mirostat in prop::option::of((0.1f32..8.0, 0.01f32..1.0)),
        logit_bias in prop::collection::vec((0u32..VOCAB as u32, -5.0f32..5.0), 0..4),
        seed in any::<u64>(),
    ) -> Sampling {
        Sampling {
            temperature, top_k, top_p, min_p, typical_p, repeat_penalty, repeat_last_n,
            frequency_penalty, presence_penalty, dry_multiplier, dry_base, dry_allowed_length,
            dry_penalty_last_n, dry_sequence_breakers: Vec::new(), xtc_probability, xtc_threshold,
            mirostat, logit_bias, seed,
        }
    }
}

proptest! {
    #[test]
    fn a_seed_fixes_the_tokens(
        settings in settings(),
        logits in prop::collection::vec(-20.0f32..20.0, VOCAB),
    ) {
        prop_assert_eq!(tokens(&settings, &logits, 30), tokens(&settings, &logits, 30));
    }

    #[test]
    fn a_masked_token_is_never_chosen(
        settings in settings(),
        logits in prop::collection::vec(-20.0f32..20.0, VOCAB),
        open in prop::collection::btree_set(0..VOCAB, 1..20),
    ) {
        let mut sampler = sampler(&settings);
        for _ in 0..20 {
            let mut logits = logits.clone();
            for id in (0..VOCAB).filter(|id| !open.contains(id)) {
                logits[id] = f32::NEG_INFINITY;
            }
            let token = sampler.sample(&mut logits).expect("a token");
            prop_assert!(open.contains(&(token as usize)));
            sampler.accept(token);
        }
    }

    #[test]
    fn any_logits_give_a_token_or_an_error(
        settings in settings(),
        bits in prop::collection::vec(any::<u32>(), VOCAB),
    ) {
        let mut logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        if let Ok(token) = sampler(&settings).sample(&mut logits) {
            prop_assert!((token as usize) < VOCAB);
        }
    }

    #[test]
    fn extreme_but_finite_logits_give_a_token(
        settings in settings(),
        logits in prop::collection::vec(prop::sample::select(
            vec![-3.4e38f32, -1e30, -1.0, -0.0, 0.0, 1e-40, 1.0, 1e30, 1e38]), VOCAB),
    ) {
        sampler(&settings).sample(&mut logits.clone()).expect("a token");
    }
}

proptest! {
    /// What lets the head be screened: the choice is the same with only the logits that the sampler
    /// says it needs.
    #[test]
    fn what_is_not_needed_changes_no_choice(
        settings in settings(),
        (near, plain, draws) in any::<(bool, bool, bool)>(),
        whole in any::<bool>(),
        logits in prop::collection::vec(-20.0f32..20.0, VOCAB),
    ) {
        let settings = Sampling {
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            dry_multiplier: 0.0,
            logit_bias: Vec::new(),
            mirostat: None,
            temperature: if draws { settings.temperature } else { 0.0 },
            top_k: if near { 0 } else { settings.top_k },
            top_p: if near { 1.0 } else { settings.top_p },
            typical_p: if near || plain { 1.0 } else { settings.typical_p },
            xtc_probability: if plain { 0.0 } else { settings.xtc_probability },
            ..settings
        };
        let (mut full, mut screened) = (sampler(&settings), sampler(&settings));
        let need = full.need();
        prop_assert!(need.is_some() || settings.top_k == 0 && (settings.min_p == 0.0 || !near));
        for step in 0..20 {
            // Equal logits too.
            let round = |x: &f32| if whole { x.round() } else { *x };
            let mut all: Vec<f32> = logits.iter().map(round).collect();
            all.rotate_left(step);
            let mut some = all.clone();
            if let Some(need) = need {
                let mut sorted = all.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let rank = if need.top == 0 { VOCAB } else { need.top.min(VOCAB) };
                let least = sorted[rank - 1].max(sorted[0] - need.within);
                let out = some.iter_mut().filter(|logit| **logit < least);
                out.for_each(|logit| *logit = f32::NEG_INFINITY);
            }
            let token = full.sample(&mut all).expect("a token");
            prop_assert_eq!(screened.sample(&mut some), Ok(token));
        }
    }
}

#[test]
fn settings_that_look_at_every_logit_need_all() {
    let draw = Sampling { temperature: 1.0, ..Sampling::default() };
    let plain = Sampling { top_k: 0, min_p: 0.0, ..draw.clone() };
    let some: [Sampling; 4] = [
        Sampling::default(),
        draw.clone(),
        Sampling { top_p: 1.0, min_p: 0.1, ..plain.clone() },
        Sampling { xtc_probability: 0.5, typical_p: 0.5, ..draw.clone() },
    ];
    let all: [Sampling; 9] = [
        plain.clone(),
        Sampling { min_p: 0.1, top_p: 0.9, ..plain.clone() },
        Sampling { min_p: 0.1, top_p: 1.0, typical_p: 0.5, ..plain.clone() },
        Sampling { mirostat: Some((5.0, 0.1)), ..draw.clone() },
        Sampling { repeat_penalty: 1.1, ..Sampling::default() },
        Sampling { frequency_penalty: 0.1, ..Sampling::default() },
        Sampling { presence_penalty: 0.1, ..draw.clone() },
        Sampling { dry_multiplier: 0.8, ..Sampling::default() },
        Sampling { logit_bias: vec![(3, 1.0)], ..Sampling::default() },
    ];
    assert!(some.iter().all(|settings| sampler(settings).need().is_some()));
    for settings in &all {
        assert_eq!(sampler(settings).need(), None, "{settings:?}");
    }
}

#[test]
fn the_defaults_take_the_best_token() {
    let mut logits: Vec<f32> = (0..VOCAB).map(|id| ((id * 37) % 101) as f32).collect();
    logits[250] = 100.0;
    let first = logits.iter().position(|x| *x == 100.0).unwrap() as u32;
    assert_eq!(sampler(&Sampling::default()).sample(&mut logits), Ok(first));
}

#[test]
fn other_seeds_give_other_tokens() {
    let logits: Vec<f32> = (0..VOCAB).map(|id| (id % 13) as f32 / 4.0).collect();
    let with = |seed| {
        let settings =
            Sampling { temperature: 1.0, seed, top_p: 1.0, min_p: 0.0, ..Sampling::default() };
        tokens(&settings, &logits, 20)
    };
    assert_ne!(with(1), with(2));
}

#[test]
fn logits_that_cannot_be_used_are_refused() {
    let mut sampler = sampler(&Sampling::default());
    let error = sampler.sample(&mut [0.0; 10]).unwrap_err();
    assert_eq!(error, SampleError::Width { found: 10, expected: VOCAB });
    let error = sampler.sample(&mut [f32::NEG_INFINITY; VOCAB]).unwrap_err();
    assert_eq!(error, SampleError::NoneLeft);
    let mut logits = [0.0; VOCAB];
    logits[7] = f32::NAN;
    let error = sampler.sample(&mut logits).unwrap_err();
    assert!(matches!(error, SampleError::NotFinite { token: 7, .. }), "{error}");
    assert!(error.to_string().starts_with("the logit of token 7 is NaN"));
}
