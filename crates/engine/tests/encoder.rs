//! Encoders beside llama.cpp's, and a text's bits beside those it has in any company.

#[allow(dead_code)]
mod tiny;

use std::sync::atomic::AtomicBool;

use hearth_engine::encoder::Encoder;
use hearth_engine::gguf::Gguf;
use hearth_kernels::pool::Pool;
use hearth_kernels::quant::TensorType;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tiny::encoder as tiny_encoder;
use tiny::encoder::Encoder as Kind;

/// Seed of the models behind the goldens.
const SEED: u64 = 20_261_122;

macro_rules! goldens {
    ($($name:literal $kind:ident;)*) => {
        &[$(
            (
                include_str!(concat!("../../../testdata/golden/", $name, "-f32.json")),
                Kind::$kind,
                TensorType::F32,
                1e-5,
            ),
            (
                include_str!(concat!("../../../testdata/golden/", $name, "-q8_0.json")),
                Kind::$kind,
                TensorType::Q8_0,
                2e-3,
            ),
            (
                include_str!(concat!("../../../testdata/golden/", $name, "-q4_k.json")),
                Kind::$kind,
                TensorType::Q4_K,
                2e-3,
            ),
        )*]
    };
}

/// Each golden, its model, and how far from the other program's rows ours may be.
const GOLDENS: &[(&str, Kind, TensorType, f64)] = goldens! {
    "bert" Bert;
    "bert-rank" Reranker;
    "nomic-bert" Nomic;
};

fn load(file: Vec<u8>, repack: bool, threads: usize) -> Encoder {
    let gguf = Gguf::from_vec(file).expect("our own file");
    let config = Encoder::config(&gguf).expect("a configuration").expect("an encoder");
    let never = AtomicBool::new(false);
    Encoder::load(&gguf, config, repack, Pool::new(threads), &never, &mut |_, _| ()).expect("ours")
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number"))
}

/// Texts of 1 to 120 tokens.
fn texts() -> Vec<Vec<u32>> {
    let text = |length: usize| (0..length).map(move |at| ((at * 37 + length) % tiny::VOCAB) as u32);
    [1, 7, 64, 120, 33].map(|length| text(length).collect()).to_vec()
}

#[test]
fn rows_are_llama_cpps() {
    for (golden, kind, ty, limit) in GOLDENS {
        let golden: Value = serde_json::from_str(golden).expect("a golden");
        let file = tiny_encoder::encoder(*kind, *ty, SEED);
        let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            golden["model_sha256"], hash,
            "{kind:?} {ty}: the writer changed, not the arithmetic"
        );
        let all = golden["texts"].as_array().expect("texts");
        let ids = |text: &Value| numbers(&text["tokens"]).map(|id| id as u32).collect();
        let texts: Vec<Vec<u32>> = all.iter().map(ids).collect();
        let expected: Vec<f64> = all.iter().flat_map(|text| numbers(&text["row"])).collect();
        for repack in [true, false] {
            let encoder = load(file.clone(), repack, 2);
            let found = encoder.embed(&texts, &mut |_| ()).expect("not stopped").concat();
            assert_eq!(found.len(), expected.len());
            let square = |x: f64| x * x;
            let pairs = found.iter().zip(&expected);
            let error: f64 = pairs.map(|(a, b)| square(f64::from(*a) - b)).sum();
            let error = error / expected.iter().map(|b| square(*b)).sum::<f64>();
            println!("{kind:?} {ty}, packed {repack}: {error:.1e}");
            assert!(error <= *limit, "{kind:?} {ty}: NMSE {error:.1e}");
        }
    }
}

#[test]
fn a_texts_bits_do_not_depend_on_company_order_or_threads() {
    for kind in [Kind::Bert, Kind::Reranker, Kind::Nomic] {
        for ty in [TensorType::F32, TensorType::Q8_0, TensorType::Q4_K] {
            let file = tiny_encoder::encoder(kind, ty, 7);
            let texts = texts();
            let want = load(file.clone(), true, 2).embed(&texts, &mut |_| ()).expect("rows");
            for threads in 1..=3 {
                let encoder = load(file.clone(), true, threads);
                let backwards: Vec<_> = texts.iter().rev().cloned().collect();
                let mut found = encoder.embed(&backwards, &mut |_| ()).expect("rows");
                found.reverse();
                assert_eq!(found, want, "{kind:?} {ty} backwards, {threads} threads");
                for (text, want) in texts.iter().zip(&want) {
                    let one = encoder.embed(std::slice::from_ref(text), &mut |_| ());
                    assert_eq!(one.expect("a row")[0], *want, "{kind:?} {ty} alone");
                }
            }
        }
    }
}

#[test]
fn a_stopped_pool_stops_it() {
    let encoder = load(tiny_encoder::encoder(Kind::Bert, TensorType::F32, 7), true, 2);
    encoder.pool.stop_flag().store(true, std::sync::atomic::Ordering::Release);
    assert!(encoder.embed(&texts(), &mut |_| ()).is_err());
}
