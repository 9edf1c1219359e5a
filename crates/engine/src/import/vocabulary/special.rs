//! Tokens with a role, whether they are put around a text, and the chat template.

use serde_json::{Map, Value as Json};

use super::super::ImportError;
use super::super::config::Config;
use super::super::folder::Folder;
use super::super::metadata::Metadata;
use super::json::Tokenizer;
use crate::gguf::Value;

/// Roles: the name in the folder, and the file's keys for the id and for whether it is put around
/// a text.
const ROLES: [(&str, &str, Option<&str>); 6] = [
    ("bos", "tokenizer.ggml.bos_token_id", Some("tokenizer.ggml.add_bos_token")),
    ("eos", "tokenizer.ggml.eos_token_id", Some("tokenizer.ggml.add_eos_token")),
    ("unk", "tokenizer.ggml.unknown_token_id", None),
    ("sep", "tokenizer.ggml.seperator_token_id", Some("tokenizer.ggml.add_sep_token")),
    ("pad", "tokenizer.ggml.padding_token_id", None),
    ("mask", "tokenizer.ggml.mask_token_id", None),
];

/// Names of the key for a chat template of that name.
const TEMPLATE: &str = "tokenizer.chat_template";

/// Sets the keys; ids from `tokens` on are left out.
pub(super) fn keys(
    folder: &Folder,
    config: &Config,
    tokenizer: Option<&Tokenizer>,
    settings: Map<String, Json>,
    tokens: usize,
    out: &mut Metadata,
) -> Result<(), ImportError> {
    let around = tokenizer.map(|tokenizer| Around::read(tokenizer, &settings)).unwrap_or_default();
    for (role, id_key, add_key) in ROLES {
        let named = around.token(role, &settings);
        let named = named.and_then(|text| {
            let added = tokenizer?.added_tokens.iter().find(|token| token.content == text)?;
            Some(u64::from(added.id))
        });
        let id = named.or_else(|| config.special_id(&format!("{role}_token_id")));
        if let Some(id) = id.filter(|id| *id < tokens as u64) {
            out.set(id_key, id as u32);
        }
        let told = settings.get(&format!("add_{role}_token")).and_then(Json::as_bool);
        if let (Some(key), Some(add)) = (add_key, around.adds(role).or(told)) {
            out.set(key, add);
        }
    }
    if let Some(id) = around.turn_end(tokenizer).filter(|id| (*id as usize) < tokens) {
        out.set("tokenizer.ggml.eot_token_id", id);
    }
    template(folder, &settings, out)
}

/// The texts of all tokens with a role.
pub(super) fn special_texts(settings: &Map<String, Json>) -> Vec<&str> {
    let roles = ROLES.iter().map(|(role, ..)| *role).chain(["cls"]);
    let named = roles.filter_map(|role| text_of(settings.get(&format!("{role}_token"))?));
    let more = settings.get("additional_special_tokens").and_then(Json::as_array);
    named.chain(more.into_iter().flatten().filter_map(text_of)).collect()
}

/// The text of a token, which stands alone or with what is said of it.
pub(super) fn text_of(token: &Json) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// What the steps after tokenizing put around a text.
#[derive(Default)]
struct Around {
    bos: Option<bool>,
    eos: Option<bool>,
    /// Whether one stands between two texts.
    sep: Option<bool>,
    /// The token at the end, if `tokenizer_config.json` names another one as the last: that ends
    /// a turn then.
    last: Option<String>,
    turn: Option<String>,
    /// The token in front, if `tokenizer_config.json` names none.
    first: Option<String>,
}

impl Around {
    fn read(tokenizer: &Tokenizer, settings: &Map<String, Json>) -> Around {
        let named =
            |role: &str| settings.get(role).and_then(text_of).filter(|text| !text.is_empty());
        let (bos, eos) = (named("bos_token"), named("eos_token"));
        let mut around = Around::default();
        for step in Tokenizer::steps(&tokenizer.post_processor, "processors") {
            let kind = step.get("type").and_then(Json::as_str);
            if kind == Some("ByteLevel") {
                around.bos.get_or_insert(false);
                around.eos.get_or_insert(false);
            }
            if kind != Some("TemplateProcessing") {
                continue;
            }
            let (mut before, mut after) = (None, None);
            if let [first, .., last] = list(step, "single") {
                (before, after) = (token_of(first), token_of(last));
            }
            if let Some(first) = before {
                let is_first = |name: Option<&str>| name.is_none_or(|name| name == first);
                around.bos = Some(is_first(bos) || is_first(named("cls_token")));
                around.first = Some(first.to_owned()).filter(|_| bos.is_none());
            }
            if let Some(last) = after {
                around.eos = Some(true);
                around.turn = eos.filter(|eos| *eos != last).map(str::to_owned);
                around.last = Some(last.to_owned());
            }
            if let [between @ .., _] = between(list(step, "pair"), before, after)
                && let Some(first) = between.first()
            {
                let ends = [named("sep_token"), after.or(eos)];
                let is_end = |part| token_of(part).is_some_and(|text| ends.contains(&Some(text)));
                let second = between.get(1).filter(|_| between.len() == 2).is_some_and(is_end);
                around.sep = Some(is_end(first) && after.is_none() || second);
            }
        }
        around
    }

    /// The text of the token of a role.
    fn token<'a>(&'a self, role: &str, settings: &'a Map<String, Json>) -> Option<&'a str> {
        let found = match role {
            "bos" => self.first.as_deref(),
            "eos" => self.last.as_deref(),
            _ => None,
        };
        found.or_else(|| text_of(settings.get(&format!("{role}_token"))?))
    }

    fn adds(&self, role: &str) -> Option<bool> {
        match role {
            "bos" => self.bos,
            "eos" => self.eos,
            "sep" => self.sep,
            _ => None,
        }
    }

    fn turn_end(&self, tokenizer: Option<&Tokenizer>) -> Option<u32> {
        let text = self.turn.as_deref()?;
        let added = tokenizer?.added_tokens.iter().find(|token| token.content == text)?;
        Some(added.id)
    }
}

/// A list of parts of a step.
fn list<'a>(step: &'a Json, name: &str) -> &'a [Json] {
    step.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// The text of a part that is a token.
fn token_of(part: &Json) -> Option<&str> {
    part.get("SpecialToken")?.get("id")?.as_str()
}

/// What stands after the first of two texts, the second included; empty if it is no plain pair.
/// What is put around a single text does not count.
fn between<'a>(pair: &'a [Json], before: Option<&str>, after: Option<&str>) -> &'a [Json] {
    let mut pair = pair;
    if let [first, rest @ ..] = pair
        && before.is_some()
        && token_of(first) == before
    {
        pair = rest;
    }
    if let [rest @ .., last] = pair
        && after.is_some()
        && token_of(last) == after
    {
        pair = rest;
    }
    let is =
        |part: &Json, name| part.get("Sequence").and_then(|s| s.get("id")?.as_str()) == Some(name);
    match pair {
        [first, rest @ .., last] if is(first, "A") && is(last, "B") => {
            pair.get(1..).unwrap_or(rest)
        }
        _ => &[],
    }
}

/// The chat template: of `tokenizer_config.json`, else of the file of its own. There may be
/// several with names, of which the one called `default` is meant where none is named.
fn template(
    folder: &Folder,
    settings: &Map<String, Json>,
    out: &mut Metadata,
) -> Result<(), ImportError> {
    let apart = match folder.text("chat_template.jinja")? {
        Some(text) => Some(Json::String(text)),
        None => {
            let file: Option<Map<String, Json>> = folder.json("chat_template.json")?;
            file.and_then(|mut file| file.remove("chat_template"))
        }
    };
    match settings.get("chat_template").or(apart.as_ref()) {
        Some(Json::String(text)) => out.set(TEMPLATE, text.as_str()),
        Some(Json::Array(choices)) => {
            let mut names = Vec::new();
            for choice in choices {
                let text = |key| choice.get(key).and_then(Json::as_str);
                let (Some(name), Some(template)) = (text("name"), text("template")) else {
                    continue;
                };
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
                match name.chars().map(plain).collect::<String>() {
                    name if name.is_empty() => {}
                    name if name == "default" => out.set(TEMPLATE, template),
                    name => {
                        out.set(&format!("{TEMPLATE}.{name}"), template);
                        names.push(name);
                    }
                }
            }
            if !names.is_empty() {
                out.set("tokenizer.chat_templates", Value::strings(names));
            }
        }
        _ => {}
    }
    Ok(())
}
