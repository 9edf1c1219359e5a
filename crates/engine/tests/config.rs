//! What a file must say about its architecture, and what is said when it does not.

mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::arch::Config;
use hearth_engine::gguf::write::Writer;
use hearth_engine::gguf::{Gguf, Value};
use hearth_engine::model::Model;
use hearth_engine::protocol::{Failure, FailureKind, LoadOptions};
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;

const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";

/// A complete configuration but for one key, which is left out or has another value.
fn read(changed: &str, value: Option<Value>) -> Result<Config, String> {
    let mut writer = Writer::new();
    let mut set = |key: &str, usual: Value| {
        let value = if key == changed { value.clone() } else { Some(usual) };
        if let Some(value) = value {
            writer.set(key, value);
        }
    };
    set("general.architecture", Value::from("llama"));
    for (key, count) in [
        ("block_count", 2),
        ("context_length", 512),
        ("embedding_length", 64),
        ("feed_forward_length", 128),
        ("attention.head_count", 2),
    ] {
        set(&format!("llama.{key}"), Value::U32(count));
    }
    set(EPSILON, Value::F32(1e-5));
    let gguf = Gguf::from_vec(writer.to_vec(&[]).expect("no tensors")).expect("our own file");
    Config::read(gguf.meta()).map_err(|error| error.to_string())
}

#[test]
fn what_an_architecture_needs_is_never_guessed() {
    assert!(read("nothing", None).is_ok());
    for key in [EPSILON, "llama.block_count", "llama.attention.head_count", "general.architecture"]
    {
        let error = read(key, None).expect_err(key);
        assert!(error.contains(key) && error.contains("lacks"), "{error}");
    }
    let zero = read("llama.attention.head_count", Some(Value::U32(0))).expect_err("no heads");
    assert!(zero.contains("head_count` is 0, expected 1 to"), "{zero}");
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let error = read(EPSILON, Some(Value::F32(bad))).expect_err("a bad epsilon");
        assert!(error.contains("epsilon") && error.contains("finite"), "{error}");
    }
}

#[test]
fn experts_are_counted_and_never_passed_over() {
    let config = |arch: &str, keys: &[(&str, u32)]| {
        let mut writer = Writer::new();
        writer.set("general.architecture", arch);
        let usual = [
            ("block_count", 2),
            ("context_length", 512),
            ("embedding_length", 64),
            ("feed_forward_length", 128),
            ("attention.head_count", 2),
        ];
        for (key, count) in usual.iter().chain(keys) {
            writer.set(&format!("{arch}.{key}"), Value::U32(*count));
        }
        writer.set(&format!("{arch}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
        let gguf = Gguf::from_vec(writer.to_vec(&[]).expect("no tensors")).expect("our own file");
        Config::read(gguf.meta()).map_err(|error| error.to_string())
    };
    let error = config("qwen2", &[("expert_count", 8), ("expert_used_count", 2)]).unwrap_err();
    assert!(error.contains("qwen2.expert_count` has 8 experts"), "{error}");
    let error = config("qwen3moe", &[]).unwrap_err();
    assert!(error.contains("qwen3moe.expert_count"), "{error}");
    let error = config("llama", &[("expert_count", 8)]).unwrap_err();
    assert!(error.contains("llama.expert_used_count"), "{error}");
    for (count, used) in [(8, 9), (100_000, 2)] {
        let keys = [("expert_count", count), ("expert_used_count", used)];
        let error = config("llama", &keys).unwrap_err();
        assert!(error.contains("expert") && error.contains("at most"), "{error}");
    }
    let experts = [("expert_count", 8), ("expert_used_count", 2)];
    assert_eq!(config("llama", &experts).unwrap().experts.map(|e| (e.count, e.used)), Some((8, 2)));
}

#[test]
fn layers_that_share_keys_have_a_layer_to_share_with() {
    let config = |pattern: &[bool], shared: u32, kv: &[u32]| {
        let mut writer = Writer::new();
        writer.set("general.architecture", "gemma4");
        let mut set = |key: &str, value: Value| {
            writer.set(&format!("gemma4.{key}"), value);
        };
        for (key, count) in [
            ("block_count", pattern.len() as u32),
            ("context_length", 512),
            ("embedding_length", 64),
            ("feed_forward_length", 128),
            ("attention.head_count", 4),
            ("attention.sliding_window", 24),
            ("attention.shared_kv_layers", shared),
        ] {
            set(key, Value::U32(count));
        }
        set("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        set("attention.sliding_window_pattern", Value::from(pattern.to_vec()));
        set("attention.head_count_kv", Value::from(kv.to_vec()));
        let gguf = Gguf::from_vec(writer.to_vec(&[]).expect("no tensors")).expect("our own file");
        Config::read(gguf.meta()).map_err(|error| error.to_string())
    };
    let pattern = [true, true, false, true, false];
    let found = config(&pattern, 2, &[2, 2, 1, 2, 1]).expect("a configuration");
    assert_eq!([0, 1, 2, 3, 4].map(|layer| found.kv_of(layer)), [0, 1, 2, 1, 2]);
    assert_eq!((found.heads.kv, found.heads_windowed.kv, found.kv_layers), (1, 2, 3));
    for shared in [1, 3, 4, 5, 6, u32::MAX] {
        let error = config(&pattern, shared, &[2, 2, 1, 2, 1]).expect_err("nobody to share with");
        assert!(error.contains("attention.shared_kv_layers"), "{shared}: {error}");
    }
    for kv in [&[2, 2, 1, 1, 1][..], &[2, 2, 1, 2, 2], &[2, 2], &[3, 3, 1, 3, 1], &[0; 5]] {
        let error = config(&pattern, 2, kv).expect_err("heads that fit nothing");
        assert!(error.contains("attention.head_count_kv"), "{kv:?}: {error}");
    }
}

#[test]
fn queries_grow_by_steps() {
    use hearth_engine::arch::Temperature;
    let growth = Temperature { interval: 8192, scale: 0.1, offset: 1, unturned_only: true };
    assert_eq!([0, 8190].map(|position| growth.factor(position)), [1.0, 1.0]);
    assert!((growth.factor(8191) - (1.0 + 0.1 * 2f32.ln())).abs() < 1e-6);
    assert!((growth.factor(5 * 8192) - (1.0 + 0.1 * 6f32.ln())).abs() < 1e-6);
}

#[test]
fn a_foreign_architecture_is_named_without_its_control_characters() {
    let name = format!("x\u{1b}]0;pwn\u{7}{}", "y".repeat(100_000));
    let error = read("general.architecture", Some(Value::from(name.as_str()))).expect_err("alien");
    assert!(error.contains("llama") && error.len() < 400, "{}", error.len());
    assert!(!error.contains('\u{1b}') && !error.contains('\u{7}'), "{error}");
}

#[test]
fn a_context_beyond_the_trained_one_is_the_callers_error() {
    let gguf = Gguf::from_vec(tiny::model(tiny::Shape::Llama, TensorType::F32, 1)).expect("ours");
    let never = AtomicBool::new(false);
    for asked in [0, 513] {
        let options = LoadOptions { ctx: Some(asked), ..LoadOptions::default() };
        let loaded = Model::load(&gguf, &options, Pool::new(1), &never, &mut |_, _| ());
        let failure = Failure::from(loaded.err().expect("an impossible context"));
        assert!(matches!(failure.kind, FailureKind::TooLong), "{failure:?}");
        assert!(failure.message.contains(&format!("{asked} tokens")), "{failure:?}");
        assert!(failure.message.contains("1 to 512"), "{failure:?}");
    }
}
