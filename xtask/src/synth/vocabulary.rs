//! The tokenizer's keys of a synthetic model, taken from a real vocabulary and padded to the shape.

use anyhow::{Context, Result, ensure};
use hearth_engine::gguf::{Gguf, Value};

use crate::cargo::root;

/// llama.cpp's number for a token that is never produced.
const UNUSED: i32 = 5;

/// The vocabulary of this name in testdata.
pub(super) fn packed(name: &str) -> Result<Gguf> {
    let path = format!("testdata/vocab/{name}.gguf.xz");
    let packed =
        std::fs::read(root().join(&path)).with_context(|| format!("cannot read {path}"))?;
    let mut file = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut file)
        .map_err(|error| anyhow::anyhow!("cannot unpack {path}: {error:?}"))?;
    Ok(Gguf::from_vec(file)?)
}

/// The tokenizer's keys of `vocabulary`, its lists padded to `len` entries.
pub(super) fn keys(vocabulary: &Gguf, len: usize) -> Result<Vec<(String, Value)>> {
    let meta = vocabulary.meta();
    let tokens = meta.strs("tokenizer.ggml.tokens")?.context("the vocabulary has no tokens")?;
    let have = tokens.len();
    ensure!(have <= len, "the vocabulary has {have} tokens, but the shape has room for {len}");
    let mut keys = Vec::new();
    for (key, value) in meta.iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
        let value = match key {
            "tokenizer.ggml.tokens" => {
                let pads = (have..len).map(|i| format!("[PAD{i}]").into_bytes());
                Value::strings(tokens.iter().map(<[u8]>::to_vec).chain(pads))
            }
            "tokenizer.ggml.token_type" => {
                let mut types = meta.i32s(key)?.unwrap_or_default();
                types.resize(len, UNUSED);
                types.into()
            }
            "tokenizer.ggml.scores" => {
                let mut scores = meta.f32s(key)?.unwrap_or_default();
                scores.resize(len, -1000.0);
                scores.into()
            }
            _ => value.clone(),
        };
        keys.push((key.to_owned(), value));
    }
    Ok(keys)
}
