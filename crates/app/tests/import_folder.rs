//! `hearth import FOLDER` as a user runs it: the real program, its sealed child, a tiny model.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

const WIDTH: usize = 32;
const TOKENS: [&str; 8] = ["▁", "a", "b", "c", "ab", "abc", "▁abc", "▁a"];

struct Home(TempDir);

impl Home {
    /// A home with the folder of a model in it, called `Tiny-Model`.
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("Tiny-Model")).unwrap();
        let vocab = 3 + 256 + TOKENS.len();
        home.write("config.json", &json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH, "intermediate_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": vocab, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
            "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        }));
        home.write(
            "tokenizer_config.json",
            &json!({
                "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true,
                "chat_template": "{{ messages[0].content }}",
            }),
        );
        home.write("tokenizer.json", &tokenizer());
        fs::write(home.path("Tiny-Model/model.safetensors"), weights(decoder(vocab))).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.path("Tiny-Model").join(name), value.to_string()).unwrap();
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
        command.args(args).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Stdout of a run that must succeed.
    fn ok(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Stderr of a run that must end with `code`.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args, "");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// BPE over characters with bytes to fall back to, as the tokenizers library keeps Llama 2's.
fn tokenizer() -> Value {
    let specials = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let all = specials.clone().into_iter().chain(bytes).chain(TOKENS.map(str::to_owned));
    let vocab: Map<String, Value> = all.zip(0..).map(|(text, id)| (text, json!(id))).collect();
    let added = specials.iter().enumerate();
    let added: Vec<Value> = added
        .map(|(id, text)| json!({"id": id, "content": text, "special": true, "normalized": false}))
        .collect();
    json!({
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
            "pair": [],
        },
        "model": {
            "type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "vocab": vocab,
            "merges": ["a b", "ab c", ["▁", "abc"], ["▁", "a"]],
        },
    })
}

/// The tensors of a decoder of one layer.
fn decoder(vocab: usize) -> Vec<(String, Vec<usize>)> {
    let layer = [
        ("input_layernorm", vec![WIDTH]),
        ("self_attn.q_proj", vec![WIDTH, WIDTH]),
        ("self_attn.k_proj", vec![WIDTH / 2, WIDTH]),
        ("self_attn.v_proj", vec![WIDTH / 2, WIDTH]),
        ("self_attn.o_proj", vec![WIDTH, WIDTH]),
        ("post_attention_layernorm", vec![WIDTH]),
        ("mlp.gate_proj", vec![64, WIDTH]),
        ("mlp.up_proj", vec![64, WIDTH]),
        ("mlp.down_proj", vec![WIDTH, 64]),
    ];
    let layer = layer.map(|(name, shape)| (format!("model.layers.0.{name}.weight"), shape));
    let outside = [
        ("model.embed_tokens.weight".to_owned(), vec![vocab, WIDTH]),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
    ];
    layer.into_iter().chain(outside).collect()
}

/// The tensors of an encoder of one layer.
fn encoder(vocab: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors: Vec<(String, Vec<usize>)> =
        [("word", vocab), ("position", 16), ("token_type", 2)]
            .map(|(name, rows)| (format!("embeddings.{name}_embeddings.weight"), vec![rows, WIDTH]))
            .to_vec();
    let mut add = |name: &str, shape: &[usize]| {
        tensors.push((format!("{name}.weight"), shape.to_vec()));
        tensors.push((format!("{name}.bias"), shape[..1].to_vec()));
    };
    add("embeddings.LayerNorm", &[WIDTH]);
    for part in ["attention.self.query", "attention.self.key", "attention.self.value"] {
        add(&format!("encoder.layer.0.{part}"), &[WIDTH, WIDTH]);
    }
    add("encoder.layer.0.attention.output.dense", &[WIDTH, WIDTH]);
    add("encoder.layer.0.attention.output.LayerNorm", &[WIDTH]);
    add("encoder.layer.0.intermediate.dense", &[64, WIDTH]);
    add("encoder.layer.0.output.dense", &[WIDTH, 64]);
    add("encoder.layer.0.output.LayerNorm", &[WIDTH]);
    tensors
}

/// Small numbers for every tensor.
fn weights(tensors: Vec<(String, Vec<usize>)>) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        for i in 0..shape.iter().product::<usize>() {
            data.extend((((i * 2_654_435_761) % 97) as f32 / 97.0 - 0.4).to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert(name, entry);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

#[test]
fn a_folder_becomes_a_model_of_the_store_that_runs() {
    let home = Home::new();
    let said = home.ok(&["import", "Tiny-Model", "--type", "f32"], "");
    assert!(
        said.starts_with("tiny-model (") && said.ends_with(") is now in the store\n"),
        "{said}"
    );
    assert!(!said.contains("in place"), "{said}");

    let shown: Value =
        serde_json::from_str(&home.ok(&["show", "tiny-model", "--json"], "")).unwrap();
    assert_eq!(shown["quant"], "F32");
    assert_eq!(shown["architecture"], "llama");
    assert_eq!(shown["supported"], true);
    assert_eq!(shown["warnings"], json!([]));

    // "abc" with its space is one token: the merges count, though no score was there.
    let tokens = home.ok(&["tokenize", "tiny-model", "--json"], "abc ca");
    assert_eq!(tokens.trim(), "[1,265,259,262,260]");
    home.ok(&["logits", "tiny-model", "--tokens", "1,265,262", "--out", "rows.f32"], "");
    let rows = fs::read(home.path("rows.f32")).unwrap();
    assert_eq!(rows.len(), 3 * 267 * 4);
    let values = rows.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert!(values.clone().all(f32::is_finite) && values.clone().any(|value| value != 0.0));

    let again = home.ok(&["import", "Tiny-Model", "--type", "f32"], "");
    assert!(again.contains("was already in the store"), "{again}");
    let taken = home.fails(&["import", "Tiny-Model", "--type", "f16"], 2);
    assert!(taken.contains("is taken by a model from folder"), "{taken}");
    home.ok(&["import", "Tiny-Model", "--type", "q8_0", "--name", "tiny:q8"], "");
    assert!(home.ok(&["list"], "").contains("Q8_0"));
}

#[test]
fn a_folder_of_an_encoder_becomes_a_model_that_embeds() {
    let home = Home::new();
    fs::remove_file(home.path("Tiny-Model/tokenizer.json")).unwrap();
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "cat"];
    fs::write(home.path("Tiny-Model/vocab.txt"), words.join("\n")).unwrap();
    home.write("tokenizer_config.json", &json!({"tokenizer_class": "BertTokenizer"}));
    home.write(
        "config.json",
        &json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_size": WIDTH,
            "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
            "vocab_size": words.len(), "max_position_embeddings": 16,
        }),
    );
    let file = home.path("Tiny-Model/model.safetensors");
    fs::write(file, weights(encoder(words.len()))).unwrap();
    let step = |kind: &str, path: &str| json!({"type": format!("st.{kind}"), "path": path});
    home.write("modules.json", &json!([step("Transformer", ""), step("Pooling", "1_Pooling")]));
    fs::create_dir(home.path("Tiny-Model/1_Pooling")).unwrap();
    let rows = ["mean", "cls"].map(|way| {
        home.write("1_Pooling/config.json", &json!({"pooling_mode": way}));
        home.ok(&["import", "Tiny-Model", "--type", "f32", "--name", way], "");
        assert_eq!(home.ok(&["tokenize", way, "--json"], "Cat abb").trim(), "[2,8,5,7,7,3]");
        let rows = home.ok(&["embed", way, "Cat abb", "a b"], "");
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect::<Vec<Vec<f64>>>()
    });
    for row in rows.iter().flatten() {
        assert_eq!(row.len(), WIDTH);
        assert!((row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    }
    assert_ne!(rows[0], rows[1], "the settings of the pooling are read");
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_next_step() {
    let home = Home::new();
    fs::rename(home.path("Tiny-Model/model.safetensors"), home.path("kept")).unwrap();
    fs::write(home.path("Tiny-Model/pytorch_model.bin"), "x").unwrap();
    let said = home.fails(&["import", "Tiny-Model"], 5);
    assert!(said.contains("\"pytorch_model.bin\", a pickle"), "{said}");
    assert!(said.contains("Expected *.safetensors"), "{said}");

    let mut cut = fs::read(home.path("kept")).unwrap();
    cut.pop();
    fs::write(home.path("Tiny-Model/model.safetensors"), cut).unwrap();
    let said = home.fails(&["import", "Tiny-Model"], 5);
    assert!(said.contains("Tiny-Model: model.safetensors: tensor"), "{said}");

    home.write("config.json", &json!({"architectures": ["MambaForCausalLM"]}));
    let said = home.fails(&["import", "Tiny-Model"], 5);
    assert!(said.contains("expected one of LlamaForCausalLM, "), "{said}");

    fs::remove_file(home.path("Tiny-Model/config.json")).unwrap();
    let fifo = home.path("Tiny-Model/config.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(home.fails(&["import", "Tiny-Model"], 5).contains("is no regular file"));

    fs::write(home.path("a.gguf"), "GGUF").unwrap();
    let said = home.fails(&["import", "a.gguf", "--type", "f16"], 2);
    assert!(said.contains("`--type` is for folders"), "{said}");
    let listed: Value = serde_json::from_str(&home.ok(&["list", "--json"], "")).unwrap();
    assert_eq!(listed["stored"], json!([]));
}

#[test]
fn a_name_of_the_catalogue_is_not_given_away() {
    let home = Home::new();
    let said = home.fails(&["import", "Tiny-Model", "--name", "smollm2:135m"], 2);
    assert!(said.contains("smollm2:135m"), "{said}");
}
