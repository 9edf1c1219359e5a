//! Constraints over real vocabularies: what a tokenizer makes of a valid text is allowed token by
//! token, and the first wrong token is not. Small vocabularies and hostile grammars are tested
//! beside the module.

use std::path::Path;

use hearth_engine::gguf::Gguf;
use hearth_engine::grammar::{GrammarEnv, Matcher};
use hearth_engine::protocol::Constraint;
use hearth_engine::tokenizer::Tokenizer;

const SCHEMA: &str = r#"{"type":"object","properties":{"name":{"type":"string"},
    "age":{"type":"integer","minimum":0},"tags":{"type":"array","items":{"enum":["new","old"]}}},
    "required":["name","age"],"additionalProperties":false}"#;

fn tokenizer(name: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vocab");
    let packed = std::fs::read(folder.join(format!("{name}.gguf.xz"))).unwrap();
    let mut plain = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut plain).unwrap();
    Tokenizer::from_gguf(&Gguf::from_vec(plain).unwrap()).unwrap()
}

/// How many of the tokens of `text` the constraint allows, and whether the output may end then.
fn follow(tokenizer: &Tokenizer, env: &GrammarEnv, text: &str) -> (usize, usize, bool) {
    let mut matcher = Matcher::new(&Constraint::JsonSchema(SCHEMA.into()), env).unwrap();
    let tokens = tokenizer.encode(text.as_bytes(), false, false);
    let mut logits = vec![0.0; env.vocab_size()];
    for (done, &token) in tokens.iter().enumerate() {
        logits.fill(0.0);
        matcher.mask(&mut logits).unwrap();
        for end in (0..env.vocab_size() as u32).filter(|&id| tokenizer.is_control(id)) {
            assert!(logits[end as usize] < 0.0, "the control token {end} is no text");
        }
        if logits[token as usize] < 0.0 {
            assert!(matcher.accept(token).is_err());
            return (done, tokens.len(), false);
        }
        matcher.accept(token).unwrap();
    }
    let ends = matcher.may_end().unwrap();
    if ends {
        assert!(matcher.is_complete(), "nothing follows an object");
        logits.fill(0.0);
        matcher.mask(&mut logits).unwrap();
        for (token, logit) in logits.iter().enumerate() {
            assert_eq!(*logit == 0.0, tokenizer.is_eog(token as u32));
        }
    }
    (tokens.len(), tokens.len(), ends)
}

#[test]
fn real_vocabularies_follow_a_schema() {
    for name in ["gpt-2", "qwen2"] {
        let tokenizer = tokenizer(name);
        let env = GrammarEnv::new(&tokenizer).unwrap();
        for text in [
            r#"{"name": "Zoë 🙂 O'Neil \"Z\"", "age": 42, "tags": ["new", "old"]}"#,
            "{\n  \"name\": \"\",\n  \"age\": 0\n}",
            r#"{"name":"ab","age":7,"tags":[]}"#,
        ] {
            let (allowed, all, ends) = follow(&tokenizer, &env, text);
            assert!(allowed == all && ends, "{name}: {allowed} of {all} tokens of {text}");
        }
        for text in [
            r#"{"name": "x", "age": -1}"#,
            r#"{"name": "x", "age": 1.5}"#,
            r#"{"name": "x", "age": 1, "tags": ["used"]}"#,
            r#"{"name": "x", "age": 1, "more": 1}"#,
            r#"{"age": 1}"#,
            r#"{"name": "x"}"#,
            "Sure: {",
        ] {
            let (allowed, all, _) = follow(&tokenizer, &env, text);
            assert!(allowed < all, "{name}: all of {text} was allowed");
        }
        let (allowed, all, ends) = follow(&tokenizer, &env, r#"{"name": "x", "#);
        assert!(allowed == all && !ends, "{name}: a beginning is no end");
    }
}
