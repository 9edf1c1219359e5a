//! Chat templates: from messages to the text a model was trained to continue.
//!
//! A template comes with the model file, so it is outside code. It runs as Python's jinja2 does in
//! the sandbox the field uses (`apply_chat_template`: trim_blocks, lstrip_blocks, loop controls,
//! `tojson`, `raise_exception`, `strftime_now`, `generation`), within limits on its size, nesting,
//! steps and memory. minijinja parses; `eval.rs` says why it does not also run it.
//! Left out: inheritance, imports and auto-escaping, which have no place in a chat template.
//! Where a template comes from is in `source.rs`.

mod access;
mod args;
mod check;
mod clock;
mod eval;
mod expr;
mod fallback;
mod filters;
mod filters_seq;
mod meter;
mod methods;
mod ops;
mod predicates;
mod printf;
mod source;
mod text;
mod value;

use std::collections::HashMap;
use std::rc::Rc;

use minijinja::machinery::{ast::Stmt, parse};
use minijinja::syntax::SyntaxConfig;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::gguf::GgufError;
use crate::protocol::Message;
use clock::Date;
use eval::Run;
use meter::{FaultKind, Meter, Outcome};
use value::{Dict, Value};

/// Why a template cannot be used or a conversation cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template text is longer than any sensible one.
    #[error(
        "the chat template has {found} bytes; at most {most} are accepted (--raw does without it)"
    )]
    TooLong {
        /// Bytes of the template.
        found: usize,
        /// Bytes accepted.
        most: usize,
    },
    /// The template is not valid, or nests too deep.
    #[error("the chat template cannot be read (line {line}): {message}")]
    Syntax {
        /// Line of the template, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template itself refuses, by `raise_exception`.
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
    /// The template does something that Python would not do either.
    #[error("the chat template failed (line {line}): {message}")]
    Failed {
        /// Line of the template, from 1.
        line: usize,
        /// What happened there.
        message: String,
    },
    /// The template ran into a limit on time, memory or nesting.
    #[error("the chat template was stopped (line {line}): {message}")]
    Limit {
        /// Line of the template, from 1.
        line: usize,
        /// Which limit.
        message: String,
    },
    /// Tool definitions or tool calls are not JSON.
    #[error("{what} is not valid JSON: {message}")]
    Input {
        /// Which input.
        what: &'static str,
        /// Where it breaks.
        message: String,
    },
    /// The file's metadata cannot be read.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A special token is not in the vocabulary.
    #[error("{key} is {found}, but the vocabulary has {tokens} tokens")]
    Token {
        /// The metadata key.
        key: String,
        /// The id found.
        found: usize,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// The date is not `YYYY-MM-DD`.
    #[error("found the date {0:?}, expected the form YYYY-MM-DD")]
    Date(String),
}

impl TemplateError {
    fn syntax(error: minijinja::Error) -> Self {
        let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        TemplateError::Syntax { line: error.line().unwrap_or(0), message }
    }
}

/// A template that was checked and can be rendered.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    /// The source with the corrections of `check.rs`: what is parsed.
    prepared: String,
    bos: String,
    eos: String,
    sha256: String,
    /// The variant for requests with tools, where the file has one.
    tool_use: Option<Box<ChatTemplate>>,
    /// The family, if the template is its fallback and not the file's own.
    family: Option<&'static str>,
}

impl ChatTemplate {
    /// Checks a template. `bos` and `eos` are the texts that it may write for these tokens.
    ///
    /// # Errors
    /// Too long, not valid, or nested too deep.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let prepared = check::prepare(source, &syntax())?;
        parse(&prepared, "chat template", syntax()).map_err(TemplateError::syntax)?;
        let hash = Sha256::digest(source.as_bytes());
        Ok(Self {
            source: source.to_owned(),
            prepared,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            tool_use: None,
            family: None,
        })
    }

    /// The template as the file has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// SHA-256 of [`ChatTemplate::source`] in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The family whose template stands in, because the file has none of its own.
    pub fn family(&self) -> Option<&'static str> {
        self.family
    }

    /// Renders a conversation. `tools_json` is a JSON array of OpenAI tool definitions or empty;
    /// `date` is `YYYY-MM-DD`; `add_generation_prompt` opens the assistant's answer.
    ///
    /// # Errors
    /// Invalid JSON, a conversation that the template refuses, or a limit.
    pub fn render(
        &self,
        messages: &[Message],
        tools_json: &str,
        date: &str,
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let messages = messages.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let tools = match tools_json.trim() {
            "" => Json::Null,
            text => read_json("the tool definitions", text)?,
        };
        let chosen = match &self.tool_use {
            Some(tool_use) if tools.as_array().is_some_and(|tools| !tools.is_empty()) => tool_use,
            _ => self,
        };
        let variables = json!({
            "messages": messages,
            "tools": tools,
            "documents": null,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self.bos,
            "eos_token": self.eos,
        });
        match variables {
            Json::Object(variables) => chosen.render_variables(&variables, date),
            _ => unreachable!("the object above"),
        }
    }

    /// Renders with these variables and no others, for callers that know what a template expects.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_variables(
        &self,
        variables: &Map<String, Json>,
        date: &str,
    ) -> Result<String, TemplateError> {
        let date = match date {
            "" => None,
            text => Some(Date::parse(text).ok_or_else(|| TemplateError::Date(text.to_owned()))?),
        };
        let tree =
            parse(&self.prepared, "chat template", syntax()).map_err(TemplateError::syntax)?;
        let Stmt::Template(tree) = &tree else {
            return Err(TemplateError::Syntax { line: 0, message: "found no template".into() });
        };
        let meter = Meter::new(weight(variables));
        let mut values = HashMap::new();
        for (name, variable) in variables {
            let value = from_json(variable, &meter).map_err(|fault| TemplateError::Input {
                what: "a template variable",
                message: fault.message,
            })?;
            values.insert(Rc::from(name.as_str()), value);
        }
        let run = Run::new(&meter, &self.prepared, values, date);
        run.render(&tree.children).map_err(|fault| match (fault.kind, fault.message) {
            (FaultKind::Raised, message) => TemplateError::Refused(message),
            (FaultKind::Refused, message) => {
                TemplateError::Failed { line: run.line.get(), message }
            }
            (FaultKind::Limit, message) => TemplateError::Limit { line: run.line.get(), message },
        })
    }
}

/// Jinja2's defaults with the two settings of `apply_chat_template`.
fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    // The builder fails only on clashing delimiters, and these are the default ones.
    builder.trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

fn read_json(what: &'static str, text: &str) -> Result<Json, TemplateError> {
    serde_json::from_str(text).map_err(|e| TemplateError::Input { what, message: e.to_string() })
}

/// A message as the dict that templates expect.
fn message(message: &Message) -> Result<Json, TemplateError> {
    let mut dict = Map::new();
    dict.insert("role".into(), message.role.as_str().into());
    dict.insert("content".into(), message.content.as_str().into());
    if let Some(name) = &message.name {
        dict.insert("name".into(), name.as_str().into());
    }
    if let Some(id) = &message.tool_call_id {
        dict.insert("tool_call_id".into(), id.as_str().into());
    }
    if let Some(calls) = &message.tool_calls_json {
        dict.insert("tool_calls".into(), read_json("the tool calls of a message", calls)?);
    }
    Ok(Json::Object(dict))
}

/// Bytes of text in the variables, which the limits grow with.
fn weight(variables: &Map<String, Json>) -> usize {
    fn of(value: &Json) -> usize {
        match value {
            Json::String(s) => s.len() + 16,
            Json::Array(items) => 16 + items.iter().map(of).sum::<usize>(),
            Json::Object(members) => {
                16 + members.iter().map(|(k, v)| k.len() + of(v)).sum::<usize>()
            }
            _ => 16,
        }
    }
    variables.values().map(of).sum()
}

/// JSON as template values.
fn from_json(value: &Json, meter: &Meter) -> Outcome<Value> {
    Ok(match value {
        Json::Null => Value::None,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(i), ..) => Value::Int(i.into()),
            (_, Some(u), _) => Value::Int(u.into()),
            (.., f) => Value::Float(f.unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::Str(s.as_str().into()),
        Json::Array(items) => {
            let items = items.iter().map(|item| from_json(item, meter)).collect::<Outcome<_>>()?;
            Value::list(meter, items)?
        }
        Json::Object(members) => {
            let entry = |(key, item): (&String, &Json)| {
                Ok((Value::Str(key.as_str().into()), from_json(item, meter)?))
            };
            let entries = members.iter().map(entry).collect::<Outcome<_>>()?;
            Value::Dict(Dict::new(meter, entries)?.into())
        }
    })
}

#[cfg(test)]
mod tests;
