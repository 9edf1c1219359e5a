//! What the tokenizer tests share: the vocabularies of `testdata/vocab`, unpacked once for each
//! test binary, and mean random texts. The `tokenizers` crate as an oracle is in `oracle.rs`.

use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hearth_engine::gguf::{Gguf, write::Writer};
use hearth_engine::tokenizer::Tokenizer;

pub(crate) mod oracle;
pub(crate) mod random;

/// The vector sets; `qwen35` shares the vocabulary of `qwen2`.
pub(crate) const NAMES: [&str; 15] = [
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

/// A vocabulary of `testdata/vocab`: its file and its tokenizer.
pub(crate) struct Vocabulary {
    pub(crate) gguf: Gguf,
    pub(crate) tokenizer: Tokenizer,
}

/// The vocabulary of that name.
pub(crate) fn vocabulary(name: &str) -> Arc<Vocabulary> {
    static ALL: [OnceLock<Arc<Vocabulary>>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    let at = NAMES.iter().position(|&known| known == name).expect("a name of the list");
    let load = || {
        let gguf = match name {
            "qwen35" => with(&vocabulary("qwen2").gguf, "tokenizer.ggml.pre", "qwen35"),
            _ => Gguf::from_vec(unpacked(&format!("{name}.gguf"))).unwrap(),
        };
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        Arc::new(Vocabulary { gguf, tokenizer })
    };
    Arc::clone(ALL[at].get_or_init(load))
}

/// The same metadata but for one key.
pub(crate) fn with(gguf: &Gguf, key: &str, value: &str) -> Gguf {
    let mut writer = Writer::new();
    for (known, old) in gguf.meta().iter() {
        if known != key {
            writer.set(known, old.clone());
        }
    }
    writer.set(key, value);
    Gguf::from_vec(writer.to_vec(&[]).unwrap()).unwrap()
}

/// A file of `testdata/vocab`, without its `.xz`.
pub(crate) fn unpacked(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vocab");
    let file = std::fs::File::open(folder.join(format!("{name}.xz"))).expect("a file of the list");
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).expect("an xz file");
    bytes
}

/// The texts and token ids of a vector set.
pub(crate) fn vectors(name: &str) -> Vec<(String, Vec<u32>)> {
    let texts = String::from_utf8(unpacked(&format!("{name}.inp"))).unwrap();
    let ids = String::from_utf8(unpacked(&format!("{name}.out"))).unwrap();
    let ids =
        ids.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
    let texts: Vec<String> = texts.split("\n__ggml_vocab_test__\n").map(str::to_owned).collect();
    let ids: Vec<Vec<u32>> = ids.collect();
    // The last text may be an empty one that the file ends with.
    assert!(texts.len() == ids.len() || texts.len() == ids.len() + 1, "{name}");
    texts.into_iter().zip(ids).collect()
}
