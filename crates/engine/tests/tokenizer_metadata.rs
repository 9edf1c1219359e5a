//! Small vocabularies made here: what metadata means, special tokens, and files that lie.

use hearth_engine::gguf::{Gguf, Value, write::Writer};
use hearth_engine::tokenizer::{Tokenizer, TokenizerError};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER: i32 = 4;
const BYTE: i32 = 6;

/// A file of these keys; a key that comes again replaces the first.
fn file(keys: &[(&str, Value)]) -> Gguf {
    let mut writer = Writer::new();
    for (i, (key, value)) in keys.iter().enumerate() {
        if !keys[i + 1..].iter().any(|(later, _)| later == key) {
            writer.set(&format!("tokenizer.ggml.{key}"), value.clone());
        }
    }
    Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap()
}

fn build(keys: &[(&str, Value)]) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_gguf(&file(keys))
}

fn tokens(list: &[(&str, i32)]) -> [(&'static str, Value); 2] {
    let texts = Value::strings(list.iter().map(|(text, _)| text));
    [
        ("tokens", texts),
        ("token_type", list.iter().map(|&(_, kind)| kind).collect::<Vec<_>>().into()),
    ]
}

/// A BPE vocabulary that can say "ab".
fn bpe() -> Vec<(&'static str, Value)> {
    let mut keys = vec![("model", "gpt2".into()), ("pre", "gpt-2".into())];
    keys.extend(tokens(&[
        ("a", NORMAL),
        ("b", NORMAL),
        ("ab", NORMAL),
        ("Ġ", NORMAL),
        ("<|im_end|>", CONTROL),
        ("[tool]", USER),
    ]));
    keys.push(("merges", Value::strings(["a b"])));
    keys
}

/// A SentencePiece vocabulary that can say "ab".
fn spm() -> Vec<(&'static str, Value)> {
    let list = [
        ("<unk>", UNKNOWN),
        ("<s>", CONTROL),
        ("</s>", CONTROL),
        ("<0x0A>", BYTE),
        ("▁", NORMAL),
        ("a", NORMAL),
        ("b", NORMAL),
        ("ab", NORMAL),
        ("<", NORMAL),
        ("s", NORMAL),
        ("<s", NORMAL),
        (">", NORMAL),
    ];
    let mut keys = vec![("model", "llama".into())];
    keys.extend(tokens(&list));
    keys.push(("scores", (0..list.len()).map(|i| -(i as f32)).collect::<Vec<_>>().into()));
    keys
}

fn bert() -> Vec<(&'static str, Value)> {
    let mut keys = vec![("model", "bert".into())];
    keys.extend(tokens(&[
        ("[PAD]", CONTROL),
        ("[UNK]", CONTROL),
        ("[CLS]", CONTROL),
        ("[SEP]", CONTROL),
        ("▁un", NORMAL),
        ("able", NORMAL),
        ("▁,", NORMAL),
    ]));
    keys.push(("unknown_token_id", 1u32.into()));
    keys.push(("bos_token_id", 2u32.into()));
    keys.push(("seperator_token_id", 3u32.into()));
    keys
}

fn unigram() -> Vec<(&'static str, Value)> {
    let mut keys = vec![("model", "t5".into())];
    keys.extend(tokens(&[
        ("<pad>", CONTROL),
        ("</s>", CONTROL),
        ("<unk>", UNKNOWN),
        ("▁", NORMAL),
        ("a", NORMAL),
        ("▁a", NORMAL),
    ]));
    keys.push(("scores", vec![0.0f32, 0.0, 0.0, -2.0, -3.0, -4.0].into()));
    keys
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text.as_bytes(), false, false)
}

#[test]
fn special_tokens_in_text_are_text_unless_asked() {
    let bpe = build(&bpe()).unwrap();
    assert_eq!(ids(&bpe, "ab<|im_end|>a"), [2, 0], "letters without a token are left out");
    assert_eq!(bpe.encode(b"ab<|im_end|>a", false, true), [2, 4, 0]);
    assert_eq!(ids(&bpe, "a[tool]b"), [0, 5, 1], "added words are always found");
    let spm = build(&spm()).unwrap();
    assert_eq!(ids(&spm, "<s>"), [4, 10, 11], "merging does not make a control token either");
    assert_eq!(spm.encode(b"<s>", false, true), [1]);
}

#[test]
fn tokens_at_the_start_and_end() {
    let with = |mut keys: Vec<(&'static str, Value)>, more: &[(&'static str, Value)]| {
        keys.extend_from_slice(more);
        build(&keys).unwrap().encode(b"ab", true, false)
    };
    let (yes, no) = (Value::from(true), Value::from(false));
    assert_eq!(with(bpe(), &[]), [2]);
    let both = [("bos_token_id", 3u32.into()), ("eos_token_id", 4u32.into())];
    assert_eq!(with(bpe(), &both), [2]);
    let llama = [both[0].clone(), ("pre", "llama-bpe".into())];
    assert_eq!(with(bpe(), &llama), [3, 2], "Llama 3 adds one where the file is silent");
    let told = [
        both[0].clone(),
        both[1].clone(),
        ("add_bos_token", yes.clone()),
        ("add_eos_token", yes.clone()),
    ];
    assert_eq!(with(bpe(), &told), [3, 2, 4]);
    assert_eq!(with(spm(), &[]), [1, 4, 7]);
    assert_eq!(with(spm(), &[("add_bos_token", no.clone()), ("add_eos_token", yes)]), [4, 7, 2]);
    assert_eq!(with(spm(), &[("add_space_prefix", no)]), [1, 7]);
    assert_eq!(build(&bert()).unwrap().encode(b"un", true, false), [2, 4, 3]);
    assert_eq!(build(&unigram()).unwrap().encode(b"a", true, false), [4, 1]);
    assert_eq!(build(&spm()).unwrap().encode(b"", true, false), [1]);
}

#[test]
fn wordpiece_cuts_cleans_and_gives_up_on_a_word() {
    let tokenizer = build(&bert()).unwrap();
    assert_eq!(ids(&tokenizer, "UNÀBLE, únable unx,"), [4, 5, 6, 4, 5, 1, 6]);
    assert_eq!(ids(&tokenizer, " \u{200b}un\0 "), [4]);
    assert_eq!(tokenizer.decode(&[4, 5, 6]), "unable ,");
    let mut cased = bert();
    cased.push(("normalizer.lowercase", false.into()));
    assert_eq!(ids(&build(&cased).unwrap(), "UN ún un"), [1, 1, 4]);
}

#[test]
fn unigram_takes_the_best_sum_and_joins_unknown_characters() {
    let mut keys = unigram();
    keys.push(("add_space_prefix", true.into()));
    let tokenizer = build(&keys).unwrap();
    assert_eq!(ids(&tokenizer, "a"), [5]);
    assert_eq!(ids(&tokenizer, "a xy a"), [5, 3, 2, 5]);
    assert_eq!(tokenizer.decode(&[5, 5]), "a a");
    let stray = tokenizer.encode(b"a\xff\xe4\xbda", false, false);
    assert_eq!(stray, ids(&tokenizer, "a\u{fffd}a"), "stray bytes are unknown characters");
    keys.push(("remove_extra_whitespaces", true.into()));
    assert_eq!(ids(&build(&keys).unwrap(), "  a   a  "), [5, 5]);
}

#[test]
fn ends_of_generation_by_key_and_by_name() {
    let mut keys = bpe();
    keys.push(("eos_token_id", 0u32.into()));
    keys.push(("eom_token_id", 1u32.into()));
    let tokenizer = build(&keys).unwrap();
    let ends: Vec<u32> = (0..7).filter(|&id| tokenizer.is_eog(id)).collect();
    assert_eq!(ends, [0, 1, 4]);
    assert_eq!((tokenizer.eos(), tokenizer.eot(), tokenizer.bos()), (Some(0), Some(4), None));
    // `</s>` ends only where it is a control token; `<|end|>` not beside `<|return|>` and
    // `<|call|>`.
    let ends = |list: &[(&str, i32)]| {
        let mut keys = bpe();
        keys.extend(tokens(list));
        keys.push(("merges", Value::strings([""; 0])));
        let tokenizer = build(&keys).unwrap();
        (0..list.len() as u32).filter(|&id| tokenizer.is_eog(id)).collect::<Vec<_>>()
    };
    assert_eq!(ends(&[("</s>", NORMAL), ("<eos>", NORMAL)]), [1]);
    assert_eq!(ends(&[("</s>", CONTROL)]), [0]);
    assert_eq!(ends(&[("</s>", USER), ("<s>", USER)]), [0; 0]);
    assert_eq!(ends(&[("</s>", USER), ("<s>", CONTROL)]), [0]);
    assert_eq!(ends(&[("<|end|>", CONTROL)]), [0]);
    assert_eq!(
        ends(&[("<|end|>", CONTROL), ("<|return|>", CONTROL), ("<|call|>", CONTROL)]),
        [1, 2]
    );
}

#[test]
fn a_well_known_name_is_a_control_token_whatever_its_type() {
    let mut keys = bpe();
    keys.extend(tokens(&[("a", NORMAL), ("b", NORMAL), ("ab", NORMAL), ("<|eot_id|>", USER)]));
    let tokenizer = build(&keys).unwrap();
    assert!(tokenizer.is_control(3) && !tokenizer.is_control(2) && !tokenizer.is_control(9));
    assert_eq!(ids(&tokenizer, "a<|eot_id|>"), [0]);
    assert_eq!(tokenizer.find("<|eot_id|>"), Some(3));
}

#[test]
fn decoding_shows_text_and_on_demand_special_tokens() {
    let tokenizer = build(&spm()).unwrap();
    let decode = |mut decoder: hearth_engine::tokenizer::Decoder| {
        let mut text: String = [1, 4, 7, 4, 6, 2, 99].iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    };
    assert_eq!(decode(tokenizer.decoder()), "ab b");
    assert_eq!(decode(tokenizer.decoder().continuing()), " ab b");
    assert_eq!(decode(tokenizer.decoder().with_special()), "<s>ab b</s>");
    assert_eq!(tokenizer.token_text(4), "▁".as_bytes());
}

#[test]
fn half_a_character_is_held_back() {
    let mut keys = bpe();
    // The bytes of é are written Ã and ©.
    keys.extend(tokens(&[("Ã", NORMAL), ("©", NORMAL), ("a", NORMAL)]));
    keys.push(("merges", Value::strings([""; 0])));
    let tokenizer = build(&keys).unwrap();
    let mut decoder = tokenizer.decoder();
    assert_eq!(decoder.push(0), "");
    assert_eq!(decoder.push(1), "é");
    assert_eq!(decoder.push(0), "");
    assert_eq!(decoder.push(2), "\u{fffd}a");
    assert_eq!(decoder.push(1), "\u{fffd}");
    assert_eq!(decoder.push(0), "");
    assert_eq!(decoder.finish(), "\u{fffd}");
}

#[test]
fn phi_3_swallows_spaces_after_special_tokens_but_some() {
    let list = [
        ("<unk>", UNKNOWN),
        ("<s>", CONTROL),
        ("</s>", USER),
        ("▁", NORMAL),
        ("a", NORMAL),
        ("<|user|>", CONTROL),
    ];
    let mut writer = Writer::new();
    writer.set("general.name", "Phi-3 mini");
    writer.set("tokenizer.ggml.model", "llama");
    writer.set("tokenizer.ggml.scores", vec![0.0f32; list.len()]);
    for (key, value) in tokens(&list) {
        writer.set(&format!("tokenizer.ggml.{key}"), value);
    }
    let gguf = Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    assert_eq!(tokenizer.encode(b"<|user|> \n a", false, true), [5, 3, 4]);
    assert_eq!(tokenizer.encode(b"<s> a", false, true), [1, 3, 3, 4]);
    assert_eq!(tokenizer.encode(b"</s> \t", false, true), [2]);
}

/// The keys with one more, which wins, and a part of the error.
#[test]
fn t7_lying_metadata_is_refused_with_what_was_found() {
    let one = || Value::strings(["a"]);
    type Base = fn() -> Vec<(&'static str, Value)>;
    let cases: Vec<(Base, &'static str, Value, &str)> = vec![
        (bpe, "model", "rwkv".into(), "unknown tokenizer `rwkv`"),
        (bpe, "model", "none".into(), "no tokenizer"),
        (bpe, "model", 7u32.into(), "tokenizer.ggml.model"),
        (bpe, "pre", "new-thing".into(), "unknown pre-tokenizer `new-thing`"),
        (bpe, "tokens", vec![1i32].into(), "tokenizer.ggml.tokens"),
        (bpe, "tokens", one(), "`tokenizer.ggml.token_type` has 6 entries for 1 tokens"),
        (bpe, "token_type", vec![1i32; 7].into(), "has 7 entries for 6 tokens"),
        (bpe, "token_type", vec![1.0f32; 6].into(), "tokenizer.ggml.token_type"),
        (bpe, "merges", Value::strings(["a b", "a"]), "merge 1 is `a`"),
        (bpe, "merges", Value::strings(["b a"]), "result is no token"),
        (bpe, "merges", "a b".into(), "tokenizer.ggml.merges"),
        (bpe, "bos_token_id", 6u32.into(), "`tokenizer.ggml.bos_token_id` is 6"),
        (bpe, "eot_token_id", u32::MAX.into(), "only 6 tokens"),
        (bpe, "fim_pad_token_id", 99u32.into(), "fim_pad_token_id"),
        (bpe, "eos_token_id", (-1i32).into(), "eos_token_id"),
        (bpe, "add_bos_token", true.into(), "does not name that token"),
        (bpe, "add_bos_token", 1u32.into(), "add_bos_token"),
        (bpe, "token_type", vec![6i32; 6].into(), "token 0 is marked as a byte, but is `a`"),
        (spm, "scores", vec![0.0f32; 3].into(), "`tokenizer.ggml.scores` has 3 entries"),
        (spm, "scores", vec![0i8; 12].into(), "tokenizer.ggml.scores"),
        (spm, "scores", vec![f32::NAN; 12].into(), "score of token 0"),
        (unigram, "unknown_token_id", 6u32.into(), "unknown_token_id"),
        (unigram, "precompiled_charsmap", vec![9u8, 0, 0, 0].into(), "precompiled_charsmap"),
        (bert, "seperator_token_id", 7u32.into(), "seperator_token_id"),
    ];
    for (base, key, value, part) in cases {
        let mut keys = base();
        keys.push((key, value));
        let error = build(&keys).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{key} was taken ({part})"));
        assert!(error.contains(part), "{key}: {error}");
    }
}

#[test]
fn missing_keys_are_named() {
    type Base = fn() -> Vec<(&'static str, Value)>;
    let cases: [(Base, &str, &str); 6] = [
        (bpe, "model", "tokenizer.ggml.model"),
        (bpe, "pre", "does not say how its tokenizer cuts words"),
        (bpe, "tokens", "tokenizer.ggml.tokens"),
        (bpe, "merges", "tokenizer.ggml.merges"),
        (spm, "scores", "tokenizer.ggml.scores"),
        (bert, "unknown_token_id", "tokenizer.ggml.unknown_token_id"),
    ];
    for (base, key, part) in cases {
        let keys: Vec<_> = base().into_iter().filter(|(known, _)| *known != key).collect();
        let error = build(&keys).unwrap_err().to_string();
        assert!(error.contains(part), "{key}: {error}");
    }
}

#[test]
fn t7_byte_tokens_must_name_a_byte() {
    for text in ["<0x-1>", "<0x100>", "<0xZZ>", "", "<0x1"] {
        let mut keys = spm();
        keys.extend(tokens(&[("<unk>", UNKNOWN), (text, BYTE)]));
        keys.push(("scores", vec![0.0f32; 2].into()));
        let error = build(&keys).unwrap_err();
        assert!(matches!(error, TokenizerError::ByteToken { id: 1, .. }), "{text}: {error}");
    }
}

#[test]
fn t7_odd_vocabularies_work_as_far_as_they_go() {
    // Empty tokens, equal tokens, types from the future, tokens that are no UTF-8, a huge token.
    let huge = vec![b'h'; 1 << 20];
    let texts: Vec<&[u8]> =
        vec![b"", b"a", b"a", b"\xff\xfe", &huge, "▁".as_bytes(), b"", b"\0", b"h"];
    for model in ["gpt2", "gemma4", "llama", "bert", "t5"] {
        let keys: Vec<(&str, Value)> = vec![
            ("model", model.into()),
            ("pre", "gpt-2".into()),
            ("tokens", Value::strings(&texts)),
            ("token_type", vec![1i32, 1, 1, 1, 1, 1, 77, -5, 1].into()),
            (
                "scores",
                vec![f32::INFINITY, -0.0, 0.0, f32::MIN, 1.0, -1.0, 0.0, 0.0, f32::NEG_INFINITY]
                    .into(),
            ),
            ("merges", Value::strings([""; 0])),
            ("bos_token_id", 0u32.into()),
            ("unknown_token_id", 0u32.into()),
        ];
        let tokenizer = build(&keys).unwrap_or_else(|error| panic!("{model}: {error}"));
        let text = [&huge[..5000], b" a\xff\xfe\0 a".as_slice()].concat();
        let ids = tokenizer.encode(&text, true, true);
        assert!(ids.contains(&1), "{model}: the first of equal tokens");
        assert!(!ids.contains(&2), "{model}");
        tokenizer.decode(&ids);
        for id in [0, 3, 4, 6, 9, u32::MAX] {
            tokenizer.token_bytes(id);
            assert!(!tokenizer.is_control(id));
        }
        assert!(tokenizer.kind().len() > 2 && tokenizer.vocab_size() == 9);
    }
}

#[test]
fn an_empty_vocabulary_says_nothing() {
    let list = [
        ("model", "gpt2".into()),
        ("pre", "gpt-2".into()),
        ("tokens", Value::strings([""; 0])),
        ("merges", Value::strings([""; 0])),
    ];
    let tokenizer = build(&list).unwrap();
    assert_eq!(tokenizer.encode(b"abc", true, true), [0; 0]);
    assert_eq!(tokenizer.decode(&[0, 1]), "");
}
