//! Folders that are damaged, incomplete or of another kind: each is refused with the words that
//! help, nothing panics, and nothing is allocated that the file's own bytes do not pay for.

mod import_support;

use hearth_engine::import::ImportError;
use hearth_engine::import::safetensors::{Tensor, parse_header};
use hearth_engine::protocol::MatrixType;
use import_support::Case;
use proptest::prelude::*;

/// A good header, and the bytes of its data.
const GOOD: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
const DATA: u64 = 28;

fn parse(header: &str) -> Result<Vec<Tensor>, ImportError> {
    parse_header("x.safetensors", header.as_bytes(), 8 + header.len() as u64, DATA)
}

/// The words of the refusal, with a part of the good header replaced.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    match parse(&GOOD.replacen(from, to, 1)) {
        Ok(tensors) => panic!("{to}: {tensors:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_header_is_read_by_name() {
    let tensors = parse(GOOD).unwrap();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let start = 8 + GOOD.len() as u64;
    assert_eq!((tensors[1].at, tensors[1].bytes), (start + 4, 24));
    assert_eq!(tensors[1].shape, [2, 3]);
}

#[test]
fn each_damage_of_a_header_has_its_words() {
    for (what, from, to, words) in [
        ("no object", GOOD, "[]", "begins with \"[\""),
        ("nothing", GOOD, "", "an empty header"),
        ("a bomb", "{\"format\":\"pt\"}", &"[".repeat(100_000), "x.safetensors"),
        ("a name twice", "\"a\":", "\"b\":", "`b` comes twice"),
        ("metadata twice", "\"a\":{", "\"__metadata__\":{},\"a\":{", "comes twice"),
        ("a field twice", "\"dtype\":\"BF16\"", "\"dtype\":\"F16\",\"dtype\":\"BF16\"", "dtype"),
        ("an unknown field", "\"dtype\":\"BF16\"", "\"dtype\":\"BF16\",\"x\":1", "unknown field"),
        ("a missing field", "\"dtype\":\"BF16\",", "", "missing field"),
        ("an unknown type", "BF16", "Q3_NEW", "`a` is of type \"Q3_NEW\", which is not known"),
        ("a negative size", "\"shape\":[2,3]", "\"shape\":[-2,3]", "`b`"),
        ("a size that is no number", "\"shape\":[2,3]", "\"shape\":[2e300]", "`b`"),
        ("a product beyond 64 bits", "[2,3]", "[4294967296,4294967296]", "`b` with 24 bytes"),
        ("bits beyond 64 bits", "[2,3]", "[1152921504606846976]", "`b` with 24 bytes"),
        ("another size", "[2,3]", "[2,4]", "what F32 of shape [2, 4] takes"),
        ("half a byte", "\"BF16\",\"shape\":[2]", "\"F4\",\"shape\":[3]", "`a` with 4 bytes"),
        ("an end before the begin", "[4,28]", "[28,4]", "from byte 28 to 4"),
        ("an end beyond the data", "[4,28]", "[5,29]", "within the 28 bytes"),
        ("an end beyond 64 bits", "[4,28]", "[4,18446744073709551616]", "`b`"),
        ("an overlap", "[4,28]", "[0,24]", "`b` at byte 0, expected at byte 4"),
        ("three offsets", "[4,28]", "[4,28,28]", "`b`"),
        (
            "a gap",
            "\"shape\":[2],\"data_offsets\":[0,4]",
            "\"shape\":[1],\"data_offsets\":[0,2]",
            "`b` at byte 4, expected at byte 2",
        ),
        ("a gap at the end", "[4,28]", "[4,24]", "`b`"),
        ("text after the end", "[0,4]}}", "[0,4]}}x", "trailing"),
    ] {
        let found = refusal(from, to);
        assert!(found.contains(words), "{what}: {found}");
        assert!(found.len() < 600, "{what}: {} bytes of message", found.len());
    }
}

#[test]
fn a_header_cut_anywhere_is_refused() {
    for cut in 0..GOOD.len() {
        assert!(parse(&GOOD[..cut]).is_err(), "{cut}");
    }
}

proptest! {
    #[test]
    fn any_change_of_a_header_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (place, value) in changes {
            *place.get_mut(&mut bytes) = value;
        }
        if let Ok(tensors) = parse_header("x", &bytes, 8 + bytes.len() as u64, DATA) {
            let total: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
            prop_assert_eq!(total, DATA);
        }
    }
}

/// The words of the refusal of a folder.
fn refused(case: &Case) -> String {
    match case.import(MatrixType::Auto) {
        Ok(_) => panic!("it was imported"),
        Err(failure) => failure.message,
    }
}

const SHARD: &str = "model-00002-of-00003.safetensors";

#[test]
fn a_shard_cut_anywhere_is_refused() {
    let case = Case::read("tinyllama");
    let path = case.folder.path().join(SHARD);
    let whole = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let cuts = (0..header.min(400)).chain([header - 1, header, header + 1, whole.len() - 1]);
    for cut in cuts {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let found = refused(&case);
        assert!(found.starts_with(SHARD), "{cut}: {found}");
    }
}

#[test]
fn a_length_beyond_the_file_allocates_nothing() {
    let case = Case::read("tinyllama");
    let path = case.folder.path().join(SHARD);
    let mut bytes = std::fs::read(&path).unwrap();
    for length in [bytes.len() as u64 - 7, 1 << 40, u64::MAX] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let measured = allocation_counter::measure(|| {
            assert!(refused(&case).contains("a header of"));
        });
        assert!(measured.bytes_max < 4 << 20, "{} bytes", measured.bytes_max);
    }
}

#[test]
fn what_a_folder_lacks_is_named() {
    for (file, words) in [
        ("config.json", "the folder has no config.json; expected a model's folder"),
        (SHARD, "the folder has no model-00002-of-00003.safetensors; model.safetensors.index.json"),
        ("tokenizer.model", ""),
    ] {
        let case = Case::read("tinyllama");
        std::fs::remove_file(case.folder.path().join(file)).unwrap();
        if words.is_empty() {
            // Scores are made from the merges then.
            case.import(MatrixType::Auto).unwrap();
        } else {
            let found = refused(&case);
            assert!(found.starts_with(words), "{found}");
        }
    }
    let case = Case::read("llama3");
    std::fs::remove_file(case.folder.path().join("tokenizer.json")).unwrap();
    assert!(refused(&case).starts_with("the folder has no tokenizer.json or tokenizer.model"));
    let case = Case::read("llama3");
    std::fs::remove_file(case.folder.path().join("model.safetensors")).unwrap();
    assert!(refused(&case).starts_with("the folder has no model.safetensors; "));
}

#[test]
fn what_a_folder_says_and_cannot_be_is_refused() {
    for (name, file, from, to, words) in [
        (
            "llama3",
            "config.json",
            "LlamaForCausalLM",
            "MambaForCausalLM",
            "the architecture is \"MambaForCausalLM\"; expected one of LlamaForCausalLM",
        ),
        (
            "llama3",
            "config.json",
            "\"hidden_size\": 64",
            "\"hidden_size\": \"64\"",
            "`hidden_size`",
        ),
        ("llama3", "config.json", "\"hidden_size\": 64", "\"hidden_size\": 99999999999", "a count"),
        (
            "llama3",
            "config.json",
            "\"hidden_act\": \"silu\"",
            "\"hidden_act\": \"relu\"",
            "`hidden_act` is \"relu\", expected silu or swish",
        ),
        (
            "llama3",
            "config.json",
            "\"llama3\"",
            "\"spiral\"",
            "`rope_scaling.rope_type` is \"spiral\"",
        ),
        (
            "llama3",
            "config.json",
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "tensors of 2 layers, the last of them number 2, expected 3 layers",
        ),
        (
            "llama3",
            "config.json",
            "\"vocab_size\": 400",
            "\"vocab_size\": 16777216",
            "an embedding of 400 rows",
        ),
        (
            "llama3",
            "config.json",
            "\"vocab_size\": 400",
            "\"vocab_size\": 322",
            "expected less than 322",
        ),
        (
            "llama3",
            "config.json",
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 3",
            "an even number of rows for each head",
        ),
        (
            "llama3",
            "config.json",
            "\"architectures\"",
            "\"quantization_config\": {\"quant_method\": \"fp8\"}, \"architectures\"",
            "quantised by the method \"fp8\"",
        ),
        (
            "llama3",
            "tokenizer.json",
            "\"type\": \"BPE\"",
            "\"type\": \"WordLevel\"",
            "of the type \"WordLevel\"; expected BPE",
        ),
        ("llama3", "tokenizer.json", "Isolated", "Removed", "words are cut by"),
        ("llama3", "tokenizer.json", "\"id\": 321", "\"id\": 320", "with the id 320"),
        (
            "smollm3",
            "config.json",
            "\"no_rope_layer_interval\": 4",
            "\"no_rope_layer_interval\": 2",
            "`no_rope_layer_interval` is 2, expected 4",
        ),
        (
            "smollm3",
            "config.json",
            "\"no_rope_layers\": [\n  1",
            "\"no_rope_layers\": [\n  0",
            "expected 0 in every fourth layer",
        ),
        (
            "gemma2",
            "config.json",
            "\"query_pre_attn_scalar\": 32",
            "\"query_pre_attn_scalar\": 64",
            "`query_pre_attn_scalar` is 64, expected 32",
        ),
        ("bert", "config.json", "\"gelu\"", "\"gelu_new\"", "`hidden_act` is \"gelu_new\""),
        (
            "bert",
            "config.json",
            "\"absolute\"",
            "\"relative_key\"",
            "`position_embedding_type` is \"relative_key\", expected absolute",
        ),
        (
            "bert",
            "modules.json",
            "models.Normalize",
            "models.Dense",
            "a step from text to embedding is \"Dense\"; expected Transformer, Pooling, Normalize",
        ),
        (
            "bert",
            "modules.json",
            "1_Pooling",
            "2_Pooling",
            "the folder has no 2_Pooling/config.json; modules.json names it",
        ),
        (
            "bert",
            "1_Pooling/config.json",
            "max_tokens\": false",
            "max_tokens\": true",
            "by \"pooling_mode_mean_tokens, pooling_mode_max_tokens\"; expected one of mean",
        ),
        (
            "bert",
            "tokenizer.json",
            "\"handle_chinese_chars\": true",
            "\"handle_chinese_chars\": false",
            "text is normalised by",
        ),
        (
            "bert",
            "tokenizer.json",
            "subword_prefix\": \"##\"",
            "subword_prefix\": \"@@\"",
            "the rest of a word begins with \"@@\"",
        ),
        (
            "bert",
            "tokenizer.json",
            "\"WordPiece\",\n    \"unk",
            "\"Unigram\",\n    \"unk",
            "the type \"Unigram\"; expected WordPiece",
        ),
        ("bert-lines", "vocab.txt", "[SEP]", "[SEQ]", "no token \"[SEP]\", expected the sep_token"),
        ("bert-lines", "vocab.txt", "[unused7]", "[unused8]", "token \"[unused8]\" twice"),
        (
            "bert-lines",
            "config.json",
            "\"vocab_size\": 400",
            "\"vocab_size\": 379",
            "380 lines, expected at most 379",
        ),
        ("nomic-bert", "config.json", "\"prenorm\": false", "\"prenorm\": true", "`prenorm`"),
        (
            "nomic-bert",
            "config.json",
            "\"n_positions\": 8192",
            "\"n_positions\": 4096",
            "`n_positions` is 4096, expected 8192",
        ),
    ] {
        let case = Case::read(name);
        case.edit(file, from, to);
        let found = refused(&case);
        assert!(found.contains(words), "{name} {to}: {found}");
    }
}

#[test]
fn a_tensor_of_an_unknown_name_or_type_is_named() {
    let case = Case::read("llama3");
    let path = case.folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
    };
    replaced("layers.1.mlp.up_proj", "layers.1.mlp.up_prox");
    let found = refused(&case);
    assert!(found.contains("tensor `model.layers.1.mlp.up_prox.weight` has no place"), "{found}");
    replaced("\"dtype\":\"F32\"", "\"dtype\":\"I32\"");
    let found = refused(&case);
    assert!(found.contains("is of type I32; expected F32, F16 or BF16"), "{found}");
    replaced("layers.1.mlp.up_proj", "layers.9.mlp.up_proj");
    let found = refused(&case);
    assert!(found.contains("tensors of 3 layers, the last of them number 10"), "{found}");
    // Under the name of one that is left out.
    for name in ["model.norm.weight", "model.embed_tokens.weight"] {
        let other = ".attention.bias";
        replaced(name, &format!("{}{other}", "x".repeat(name.len() - other.len())));
        let found = refused(&case);
        assert!(found.contains(&format!("no tensor `{name}`")), "{found}");
    }
}

#[test]
fn deep_json_is_refused_everywhere() {
    let bomb = format!("{{\"normalizer\":{}", "[".repeat(1 << 20));
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    {
        let case = Case::read("llama3");
        std::fs::write(case.folder.path().join(file), &bomb).unwrap();
        let found = refused(&case);
        assert!(found.starts_with(file) && found.contains("recursion limit"), "{found}");
    }
}

#[test]
fn a_damaged_sentencepiece_model_is_read_or_refused() {
    let case = Case::read("phi3");
    let path = case.folder.path().join("tokenizer.model");
    let whole = std::fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let _ = case.import(MatrixType::Q8);
    }
    for place in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        let _ = case.import(MatrixType::Q8);
    }
}
