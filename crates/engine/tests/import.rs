//! Importing tiny folders of every family beside what llama.cpp's converter made of them
//! (`xtask/oracle/convert.py`): the same keys and the same tensors, byte by byte.

mod import_support;

use std::collections::{BTreeMap, BTreeSet};

use hearth_engine::gguf::{Gguf, Value};
use hearth_engine::protocol::MatrixType;
use import_support::{Case, names, sha256};
use serde_json::{Value as Json, json};

/// Keys that only describe, and that an import leaves out or fills otherwise: what the model is
/// called and after whom, which the converter guesses from the folder's name, and labels of sizes.
const DESCRIPTIVE: &[&str] = &[
    "general.name",
    "general.basename",
    "general.size_label",
    "general.version",
    "general.finetune",
];

/// The types of a golden's outputs.
const TYPES: [(&str, MatrixType); 5] = [
    ("f32", MatrixType::F32),
    ("f16", MatrixType::F16),
    ("bf16", MatrixType::Bf16),
    ("q8_0", MatrixType::Q8),
    ("auto", MatrixType::Auto),
];

#[test]
fn every_family_becomes_what_the_converter_makes_of_it() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for name in names() {
        let case = Case::read(&name);
        for (ty, matrices) in TYPES {
            let Some(expected) = case.golden["outputs"].get(ty) else { continue };
            compared += 1;
            match case.import(matrices) {
                Err(failure) => wrong.push(format!("{name} {ty}: {}", failure.message)),
                Ok(bytes) => {
                    let file = Gguf::from_vec(bytes).unwrap();
                    let found = keys(&file).into_iter().chain(tensors(&file));
                    let expected = expected_keys(expected).chain(expected_tensors(expected));
                    let differences = differences(found.collect(), expected.collect());
                    wrong
                        .extend(differences.into_iter().map(|text| format!("{name} {ty}: {text}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 70, "{compared} files were compared");
}

/// The converter leaves these keys out; readers would take the ids of another vocabulary then.
#[test]
fn a_vocabulary_in_lines_says_what_readers_would_not_guess() {
    let case = Case::read("bert-lines");
    case.edit("vocab.txt", "[unused0]\n", "");
    case.edit("tokenizer_config.json", "\"do_lower_case\": true", "\"do_lower_case\": false");
    let file = Gguf::from_vec(case.import(MatrixType::F32).unwrap()).unwrap();
    for (role, id) in [("bos", 100u32), ("seperator", 101), ("unknown", 99)] {
        let key = format!("tokenizer.ggml.{role}_token_id");
        assert_eq!(file.meta().u32(&key).unwrap(), Some(id), "{key}");
    }
    let lowercase = file.meta().bool("tokenizer.ggml.normalizer.lowercase").unwrap();
    assert_eq!(lowercase, Some(false));
}

/// What a file says, by what it says it of.
type Facts = BTreeMap<String, Json>;

fn differences(found: Facts, expected: Facts) -> Vec<String> {
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differ = |name: &&&String| found.get(**name) != expected.get(**name);
    let shown = |fact: Option<&Json>| fact.map_or("nothing".to_owned(), Json::to_string);
    let text = |name: &String| {
        let (found, expected) = (shown(found.get(name)), shown(expected.get(name)));
        format!("{name} is {found}, expected {expected}")
    };
    names.iter().filter(differ).map(|name| text(name)).collect()
}

fn keys(file: &Gguf) -> Facts {
    let keys = file.meta().iter().filter(|(key, _)| !DESCRIPTIVE.contains(key));
    keys.map(|(key, value)| (key.to_owned(), described(value))).collect()
}

fn expected_keys(golden: &Json) -> impl Iterator<Item = (String, Json)> {
    let keys = golden["keys"].as_object().unwrap().iter();
    keys.filter(|(key, _)| !DESCRIPTIVE.contains(&key.as_str())).map(|(key, value)| {
        // A number of 32 bits is written with the digits of 64.
        let value = match value {
            Json::Array(pair) if pair[0] == "FLOAT32" => {
                json!(["FLOAT32", f64::from(pair[1].as_f64().unwrap() as f32)])
            }
            other => other.clone(),
        };
        (key.clone(), value)
    })
}

/// A value as the golden has it.
fn described(value: &Value) -> Json {
    let kind = value.kind().name();
    match value {
        Value::Str(text) => json!([kind, String::from_utf8_lossy(text)]),
        Value::F32(number) => json!([kind, f64::from(*number)]),
        Value::Bool(flag) => json!([kind, flag]),
        Value::Array(array) => {
            let mut data = (array.len() as u64).to_le_bytes().to_vec();
            for value in array.values() {
                match value {
                    Value::I32(number) => data.extend(number.to_le_bytes()),
                    Value::F32(number) => data.extend(number.to_le_bytes()),
                    other => panic!("{other}"),
                }
            }
            for text in array.strings().iter().flat_map(|strings| strings.iter()) {
                data.extend((text.len() as u64).to_le_bytes());
                data.extend(text);
            }
            json!([kind, array.kind().name(), array.len(), sha256(&data)])
        }
        number => json!([kind, number.integer().unwrap() as i64]),
    }
}

/// Place, type, shape and hash of each tensor by its name.
fn tensors(file: &Gguf) -> Facts {
    let facts = file.tensors().iter().enumerate().map(|(place, tensor)| {
        let bytes = sha256(&file.bytes(tensor));
        (tensor.name().to_owned(), json!([place, tensor.ty().name(), tensor.dims(), bytes]))
    });
    facts.collect()
}

fn expected_tensors(golden: &Json) -> impl Iterator<Item = (String, Json)> {
    let tensors = golden["tensors"].as_array().unwrap().iter().enumerate();
    tensors.map(|(place, tensor)| {
        let name = tensor[0].as_str().unwrap().to_owned();
        (name, json!([place, tensor[1], tensor[2], tensor[3]]))
    })
}
