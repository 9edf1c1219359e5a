//! What a model file says about itself, for `show` and `list`. Reads metadata only.

use std::collections::BTreeMap;

use crate::arch::{Arch, EncoderArch};
use crate::error::ModelError;
use crate::gguf::{Gguf, Value};
use crate::protocol::ModelCard;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Longest metadata value shown, in characters.
const SHOWN_CHARS: usize = 120;

/// The facts of a file. The tokenizer and the template may be absent or unusable: the card says so.
///
/// # Errors
/// `general.architecture` is missing or a standard key has a wrong type.
pub fn describe(
    gguf: &Gguf,
    tokenizer: Result<&Tokenizer, String>,
    template: Result<Option<&ChatTemplate>, String>,
) -> Result<ModelCard, ModelError> {
    let meta = gguf.meta();
    let text = |key: &str| meta.str(key).map(|value| value.map(str::to_owned));
    let architecture =
        text("general.architecture")?.ok_or_else(|| ModelError::missing("general.architecture"))?;
    let number = |key: &str| meta.u64(&format!("{architecture}.{key}"));
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    for tensor in gguf.tensors() {
        *types.entry(tensor.ty().to_string()).or_default() += tensor.bytes().len() as u64;
    }
    let mut tensor_types: Vec<(String, u64)> = types.into_iter().collect();
    tensor_types.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    Ok(ModelCard {
        name: text("general.name")?,
        license: text("general.license")?,
        parameters: gguf.tensors().iter().map(|tensor| tensor.elements() as u64).sum(),
        file_bytes: gguf.file_bytes(),
        tensor_types,
        context_length: number("context_length")?,
        embedding_length: number("embedding_length")?,
        block_count: number("block_count")?,
        vocab_size: match &tokenizer {
            Ok(tokenizer) => Some(tokenizer.vocab_size() as u64),
            Err(_) => number("vocab_size")?,
        },
        tokenizer: match tokenizer {
            Ok(tokenizer) => tokenizer.kind(),
            Err(reason) => format!("unusable: {reason}"),
        },
        chat_template: match &template {
            Ok(template) => template.map(|template| template.source().to_owned()),
            // A value that is no text is one of the reasons why it cannot be used.
            Err(_) => text("tokenizer.chat_template").unwrap_or_default(),
        },
        chat_template_sha256: match &template {
            Ok(template) => template.map(|template| template.sha256().to_owned()),
            Err(_) => None,
        },
        chat_template_error: template.err(),
        supported: Arch::find(&architecture).is_some()
            || EncoderArch::find(&architecture).is_some(),
        // A key for show only: one of a wrong type is as good as none.
        file_type: meta.u64("general.file_type").unwrap_or_default(),
        metadata: meta.iter().map(|(key, value)| (key.to_owned(), shown(value))).collect(),
        architecture,
    })
}

/// A value on one line, without its type: control characters escaped, long texts cut with their
/// length.
fn shown(value: &Value) -> String {
    let full = match value {
        Value::Str(text) => String::from_utf8_lossy(text).into_owned(),
        other => {
            let full = other.to_string();
            let kind = format!("{} ", other.kind().name());
            full.strip_prefix(&kind).map(str::to_owned).unwrap_or(full)
        }
    };
    let escaped: String = full.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    match full.chars().count() {
        n if n > SHOWN_CHARS => format!("{escaped}… ({n} characters)"),
        _ => escaped,
    }
}
