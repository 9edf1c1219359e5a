//! Embedding and reranking, with a tiny BERT of letters.

use std::path::PathBuf;

use hearth_engine::gguf::Value as Meta;
use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::TensorType;
use serde_json::Value;

use super::tiny::{Kind, Random};
use super::{Home, piped};

const EMBD: usize = 64;
const FF: usize = 96;
const CONTEXT: usize = 24;
/// Four special tokens, then each letter as a word's beginning and as its rest.
const VOCAB: usize = 4 + 2 * 26;

/// A home whose model is the encoder; `scores` if it is a reranker.
fn home(scores: bool) -> Home {
    let home = Home::new(Kind::Chat);
    let model = home.file("bert.gguf", &bert(scores));
    Home { model, ..home }
}

fn bert(scores: bool) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "bert");
    for (key, value) in [
        ("block_count", 1),
        ("context_length", CONTEXT),
        ("embedding_length", EMBD),
        ("feed_forward_length", FF),
        ("attention.head_count", 2),
        ("pooling_type", if scores { 4 } else { 1 }),
    ] {
        writer.set(&format!("bert.{key}"), value as u32);
    }
    writer.set("bert.attention.layer_norm_epsilon", Meta::F32(1e-12));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let letters = ('a'..='z').flat_map(|letter| [format!("▁{letter}"), letter.to_string()]);
    let tokens: Vec<String> = special.into_iter().chain(letters).collect();
    let types: Vec<i32> = (0..VOCAB).map(|id| if id < 4 { 3 } else { 1 }).collect();
    writer.set("tokenizer.ggml.model", "bert");
    writer.set("tokenizer.ggml.tokens", Meta::strings(&tokens));
    writer.set("tokenizer.ggml.token_type", types);
    for (key, id) in [("bos", 2u32), ("cls", 2), ("seperator", 3), ("unknown", 1), ("padding", 0)] {
        writer.set(&format!("tokenizer.ggml.{key}_token_id"), id);
    }
    let mut random = Random(7);
    let mut data = Vec::new();
    let mut add = |name: &str, dims: &[usize]| {
        writer.tensor(name, TensorType::F32, dims).expect("a valid shape");
        let middle = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let count: usize = dims.iter().product();
        let values = (0..count).flat_map(|_| (middle + 0.3 * random.next()).to_le_bytes());
        data.push(values.collect::<Vec<u8>>());
    };
    add("token_embd.weight", &[EMBD, VOCAB]);
    add("position_embd.weight", &[EMBD, CONTEXT]);
    for norm in ["token_embd", "blk.0.attn_output", "blk.0.layer_output"] {
        add(&format!("{norm}_norm.weight"), &[EMBD]);
        add(&format!("{norm}_norm.bias"), &[EMBD]);
    }
    for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
        add(&format!("blk.0.{part}.weight"), &[EMBD, EMBD]);
    }
    add("blk.0.ffn_up.weight", &[EMBD, FF]);
    add("blk.0.ffn_down.weight", &[FF, EMBD]);
    if scores {
        add("cls.output.weight", &[EMBD, 1]);
    }
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    writer.to_vec(&data).expect("the planned tensors")
}

fn vectors(text: &str) -> Vec<Vec<f64>> {
    text.lines().map(|line| serde_json::from_str(line).expect("a list of numbers")).collect()
}

#[test]
fn texts_become_vectors_of_length_one_whatever_their_company() {
    let home = home(false);
    let all = vectors(&home.ok("embed", &["a cat", "a dog", "the sea"]));
    assert_eq!(all.len(), 3);
    for row in &all {
        assert_eq!(row.len(), EMBD);
        let length: f64 = row.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert!(all[0] != all[1] && all[1] != all[2]);
    assert_eq!(vectors(&home.ok("embed", &["the sea", "a cat"])), [all[2].clone(), all[0].clone()]);
    let lines = piped(home.command("embed", &[]), b"a cat\n\na dog\nthe sea\n");
    assert_eq!(vectors(&lines), all);
}

#[test]
fn nothing_is_cut_silently() {
    let home = home(false);
    let long = "abcdefghijklmnopqrstuvwxyz";
    let error = home.fails("embed", &["fine", long], 10);
    assert!(
        error.contains("text 2 of 2: the text has 28 tokens and the model reads 24"),
        "{error}"
    );
    let output = home.command("embed", &["--truncate", "fine", long]).output().unwrap();
    assert!(output.status.success());
    assert!(super::said(&output).contains("1 of 2 texts were cut"), "{}", super::said(&output));
    let whole = home.json("embed", &["--truncate", long]);
    let row = &whole["embeddings"][0];
    assert_eq!((&row["tokens"], &row["cut"]), (&Value::from(24), &Value::from(4)));
    assert_eq!(whole["dimensions"], EMBD);
    // What is left ends as a text does.
    let cut = home.json("embed", &[&long[..22]]);
    assert_eq!(cut["embeddings"][0]["embedding"], row["embedding"]);
}

#[test]
fn documents_come_best_first() {
    let home = home(true);
    let found = home.json("rerank", &["what is a cat", "a dog", "a cat", "sea"]);
    let results = found["results"].as_array().expect("results");
    let scores: Vec<f64> = results.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] > scores[2], "{scores:?}");
    for one in results {
        let document = ["a dog", "a cat", "sea"][one["index"].as_u64().unwrap() as usize];
        let alone = home.json("rerank", &["what is a cat", document]);
        assert_eq!(alone["results"][0]["score"], one["score"]);
    }
    let text = home.ok("rerank", &["what is a cat", "a dog", "a cat", "sea"]);
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn each_model_is_sent_where_it_belongs() {
    let (writes, embeds, scores) = (Home::new(Kind::Chat), home(false), home(true));
    assert!(writes.fails("embed", &["a"], 9).contains("gives no embeddings"));
    assert!(embeds.fails("run", &["--raw", "a"], 9).contains("hearth embed"));
    assert!(embeds.fails("rerank", &["a", "b"], 9).contains("hearth embed"));
    assert!(scores.fails("embed", &["a"], 9).contains("hearth rerank"));
    let empty = embeds.command("embed", &[]).output().unwrap();
    assert_eq!(empty.status.code(), Some(2), "{}", super::said(&empty));
    let path: PathBuf = embeds.model.clone();
    assert!(embeds.ok("show", &[]).contains("bert"), "{}", path.display());
}
