//! Finds the template of a model file: its own, the variant for tools, or a family's fallback.

use super::{ChatTemplate, TemplateError, fallback};
use crate::gguf::Gguf;

impl ChatTemplate {
    /// The chat template of a file: `tokenizer.chat_template`, with
    /// `tokenizer.chat_template.tool_use` beside it for requests that bring tools; without them a
    /// family's template, if the file says that it is an instruct model of that family. `None` for
    /// everything else: a base model has no template.
    ///
    /// # Errors
    /// A key of the wrong type, or a template that cannot be used.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>, TemplateError> {
        const KEY: &str = "tokenizer.chat_template";
        let meta = gguf.meta();
        let bos = special(gguf, "tokenizer.ggml.bos_token_id")?;
        let eos = special(gguf, "tokenizer.ggml.eos_token_id")?;
        let own = meta.str(KEY)?.filter(|text| !text.trim().is_empty());
        let for_tools =
            meta.str(&format!("{KEY}.tool_use"))?.filter(|text| !text.trim().is_empty());
        let mut template = match (own, for_tools) {
            (Some(text), _) | (None, Some(text)) => Self::new(text, &bos, &eos)?,
            (None, None) => match fallback::find(gguf)? {
                Some((family, text)) => {
                    Self { family: Some(family), ..Self::new(&text, &bos, &eos)? }
                }
                None => return Ok(None),
            },
        };
        if let (Some(_), Some(text)) = (own, for_tools) {
            template.tool_use = Some(Box::new(Self::new(text, &bos, &eos)?));
        }
        Ok(Some(template))
    }
}

/// The text of the token whose id stands under `key`; empty if the file has none.
fn special(gguf: &Gguf, key: &str) -> Result<String, TemplateError> {
    let (Some(id), Some(tokens)) =
        (gguf.meta().u32(key)?, gguf.meta().strs("tokenizer.ggml.tokens")?)
    else {
        return Ok(String::new());
    };
    let id = id as usize;
    if id >= tokens.len() {
        return Err(TemplateError::Token { key: key.to_owned(), found: id, tokens: tokens.len() });
    }
    Ok(String::from_utf8_lossy(tokens.get(id)).into_owned())
}
