//! `--lora`: adapters for one command, as GGUF and as a folder of the PEFT library.

use std::path::Path;

use hearth_engine::gguf::write::Writer;
use hearth_kernels::quant::TensorType;

use super::tiny::Kind;
use super::{Home, str_of};

const EMBD: usize = 64;
const RANK: usize = 2;

/// Both matrices of a difference to a square matrix.
fn halves() -> [Vec<u8>; 2] {
    [3, 5].map(|step| {
        let value = |at: usize| ((at * step % 17) as f32 - 8.0) / 16.0;
        (0..RANK * EMBD).flat_map(|at| value(at).to_le_bytes()).collect()
    })
}

/// A difference to what attention gives in the first layer, for this architecture.
fn gguf(arch: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.type", "adapter").set("adapter.type", "lora");
    writer.set("general.architecture", arch).set("adapter.lora.alpha", 8.0f32);
    let name = "blk.0.attn_output.weight";
    writer.tensor(&format!("{name}.lora_a"), TensorType::F32, &[EMBD, RANK]).unwrap();
    writer.tensor(&format!("{name}.lora_b"), TensorType::F32, &[RANK, EMBD]).unwrap();
    let halves = halves();
    writer.to_vec(&[&halves[0], &halves[1]]).unwrap()
}

/// The same as a folder of the PEFT library.
fn peft(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":8,"bias":"none"}"#;
    std::fs::write(folder.join("adapter_config.json"), config).unwrap();
    let halves = halves();
    let bytes = halves[0].len();
    let name = "base_model.model.model.layers.0.self_attn.o_proj.lora";
    let header = format!(
        "{{\"{name}_A.weight\":{{\"dtype\":\"F32\",\"shape\":[2,64],\"data_offsets\":[0,{bytes}]}},\
         \"{name}_B.weight\":{{\"dtype\":\"F32\",\"shape\":[64,2],\"data_offsets\":[{bytes},{}]}}}}",
        2 * bytes
    );
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &halves[0], &halves[1]].concat();
    std::fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
}

#[test]
fn an_adapter_changes_logits_and_answers_as_strongly_as_is_said() {
    let home = Home::new(Kind::Chat);
    let adapter = home.file("a=b.gguf", &gguf("llama"));
    let folder = home.folder.path().join("peft");
    peft(&folder);
    let logits = |lora: &[&str]| {
        let out = home.folder.path().join("logits.f32");
        let args = [&["--tokens", "1,5,9", "--out", str_of(&out)], lora].concat();
        home.ok("logits", &args);
        std::fs::read(&out).unwrap()
    };
    let plain = logits(&[]);
    let whole = logits(&["--lora", str_of(&adapter)]);
    assert!(whole != plain && whole.len() == plain.len());
    assert!(logits(&["--lora", &format!("{}=1", str_of(&adapter))]) == whole);
    assert!(logits(&["--lora", &format!("{}=0", str_of(&adapter))]) == plain);
    assert!(logits(&["--lora", str_of(&folder)]) == whole);
    let half = format!("{}=0.5", str_of(&adapter));
    let halves = logits(&["--lora", &half]);
    assert!(halves != whole && halves != plain);
    let twice = logits(&["--lora", &half, "--lora", &half]);
    assert!(twice != halves && twice != plain);

    let args = ["--max-tokens", "24", "--temp", "0", "hello"];
    let answer = home.json("run", &args)["text"].clone();
    let strong = format!("{}=4", str_of(&adapter));
    let changed = home.json("run", &[&["--lora", &strong], &args[..]].concat());
    assert_ne!(changed["text"], answer);
}

#[test]
fn what_is_no_adapter_is_named_before_anything_is_answered() {
    let home = Home::new(Kind::Chat);
    let error = home.fails("run", &["--lora", "/nowhere/a.gguf", "hello"], 2);
    assert!(error.contains("/nowhere/a.gguf") && error.contains("adapter_config.json"), "{error}");
    let empty = home.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = home.fails("run", &["--lora", str_of(&empty), "hello"], 2);
    assert!(error.contains("empty/adapter_config.json"), "{error}");
    let other = home.file("other.gguf", &gguf("gemma3"));
    let error = home.fails("run", &["--lora", str_of(&other), "hello"], 9);
    assert!(error.contains("other.gguf") && error.contains("\"gemma3\""), "{error}");
    let error = home.fails("run", &["--lora", str_of(&home.model), "hello"], 9);
    assert!(error.contains("general.type"), "{error}");
}
