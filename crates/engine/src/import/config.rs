//! What `config.json` says: hyperparameters by the names of the transformers library.
//!
//! That library fills in what a folder leaves out, so a family states what it means then. A value
//! of `null` counts as left out. Counts are bounded here; what a model may be is checked where it
//! is loaded.

use serde_json::{Map, Value as Json};

use super::ImportError;
use super::folder::Folder;

/// The file.
pub(super) const FILE: &str = "config.json";

/// No count of a model is larger; the engine has the same limit.
const LIMIT: u64 = 1 << 24;

/// What a value is where the file leaves it out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// A count.
    Count(u64),
    /// A number.
    Number(f64),
}

/// The hyperparameters of one model.
pub(super) struct Config {
    /// The file.
    whole: Map<String, Json>,
    /// The same with the part on text, if there is one, at the top.
    values: Map<String, Json>,
    defaults: &'static [(&'static str, Default)],
    /// How positions turn, under the names that this part has had since it has been one.
    rope: Map<String, Json>,
}

impl Config {
    /// Reads the file. Nothing is filled in before [`Config::complete`].
    pub(super) fn read(folder: &Folder) -> Result<Config, ImportError> {
        let whole =
            folder.json::<Map<String, Json>>(FILE)?.ok_or_else(|| ImportError::Missing {
                file: FILE.to_owned(),
                next:
                    "expected a model's folder as Hugging Face has it: config.json, the files of \
                   the tokenizer, *.safetensors"
                        .to_owned(),
            })?;
        let mut values = whole.clone();
        let text = whole.get("text_config").and_then(Json::as_object).into_iter().flatten();
        values.extend(text.map(|(key, value)| (key.clone(), value.clone())));
        values.retain(|_, value| !value.is_null());
        if let Some(quantised) = values.get("quantization_config").and_then(Json::as_object) {
            let method = quantised.get("quant_method").and_then(Json::as_str).unwrap_or("unknown");
            return Err(ImportError::Unsupported(format!(
                "{FILE}: the weights are quantised by the method \"{}\"; expected F32, F16 or \
                 BF16: import the weights that they were made from",
                method.escape_debug()
            )));
        }
        Ok(Config { whole, values, defaults: &[], rope: Map::new() })
    }

    /// The same, where what is left out means `defaults`.
    pub(super) fn complete(mut self, defaults: &'static [(&'static str, Default)]) -> Config {
        self.defaults = defaults;
        self.rope = self.read_rope();
        self
    }

    /// The name of the model's class, by which its family is known.
    pub(super) fn class(&self) -> Result<&str, ImportError> {
        let text = self.values.get("architectures").or_else(|| self.whole.get("architectures"));
        let name = text.and_then(|names| names.get(0)?.as_str());
        name.ok_or_else(|| wrong("architectures", "no name", "a list of one name"))
    }

    /// A count, if the file or the family has one.
    pub(super) fn count_if(&self, key: &str) -> Result<Option<u64>, ImportError> {
        match self.values.get(key) {
            None => Ok(self.defaults.iter().find_map(|(name, value)| match value {
                Default::Count(value) if *name == key => Some(*value),
                _ => None,
            })),
            Some(value) => match value.as_u64() {
                Some(count @ 1..=LIMIT) => Ok(Some(count)),
                _ => Err(wrong(key, value, format!("a count from 1 to {LIMIT}"))),
            },
        }
    }

    /// A count that must be there.
    pub(super) fn count(&self, key: &str) -> Result<u64, ImportError> {
        self.count_if(key)?.ok_or_else(|| wrong(key, "nothing", "a count"))
    }

    /// A number, if the file or the family has one.
    pub(super) fn number_if(&self, key: &str) -> Result<Option<f64>, ImportError> {
        match self.values.get(key) {
            None => Ok(self.defaults.iter().find_map(|(name, value)| match value {
                Default::Number(value) if *name == key => Some(*value),
                _ => None,
            })),
            Some(value) => finite(key, value).map(Some),
        }
    }

    /// A number that must be there.
    pub(super) fn number(&self, key: &str) -> Result<f64, ImportError> {
        self.number_if(key)?.ok_or_else(|| wrong(key, "nothing", "a number"))
    }

    /// A word, if the file has one.
    pub(super) fn word(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// The heads that share keys and values: as many as there are heads, if the file does not say.
    pub(super) fn heads_kv(&self) -> Result<u64, ImportError> {
        let heads = self.count("num_attention_heads")?;
        Ok(self.count_if("num_key_value_heads")?.unwrap_or(heads))
    }

    /// The elements of a head: the embedding's divided among the heads, if the file does not say.
    pub(super) fn head_dim(&self) -> Result<u64, ImportError> {
        let (width, heads) = (self.count("hidden_size")?, self.count("num_attention_heads")?);
        Ok(self.count_if("head_dim")?.unwrap_or(width / heads))
    }

    /// A yes or no, if the file has one.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.values.get(key)?.as_bool()
    }

    /// A list of zeros and ones, if the file has one.
    pub(super) fn flags(&self, key: &str) -> Option<Vec<bool>> {
        let list = self.values.get(key)?.as_array()?;
        Some(list.iter().map(|value| value.as_u64() != Some(0)).collect())
    }

    /// The id of a special token: at the top of the file, else in the part on text.
    pub(super) fn special_id(&self, key: &str) -> Option<u64> {
        let value = self.whole.get(key).filter(|value| !value.is_null());
        value.or_else(|| self.whole.get("text_config")?.get(key))?.as_u64()
    }

    /// A word about how the positions turn in layers that see everything.
    pub(super) fn rope_word(&self, key: &str) -> Option<&str> {
        self.full_rope().get(key)?.as_str()
    }

    /// A number likewise.
    pub(super) fn rope_number(&self, key: &str) -> Result<Option<f64>, ImportError> {
        let value = self.full_rope().get(key).filter(|value| !value.is_null());
        value.map(|value| finite(key, value)).transpose()
    }

    /// A number that must be there likewise.
    pub(super) fn needed_rope_number(&self, key: &str) -> Result<f64, ImportError> {
        let found = self.rope_number(key)?;
        found.ok_or_else(|| wrong(&format!("rope_scaling.{key}"), "nothing", "a number"))
    }

    /// A list of numbers likewise; an empty one counts as none.
    pub(super) fn rope_numbers(&self, key: &str) -> Result<Option<Vec<f32>>, ImportError> {
        let Some(Json::Array(values)) = self.full_rope().get(key) else { return Ok(None) };
        let numbers = values.iter().map(|value| Ok(finite(key, value)? as f32));
        let numbers = numbers.collect::<Result<Vec<f32>, ImportError>>()?;
        Ok(Some(numbers).filter(|numbers| !numbers.is_empty()))
    }

    /// The base by which positions turn in layers with a window, if it is another one.
    pub(super) fn windowed_theta(&self) -> Result<Option<f64>, ImportError> {
        let theta = self.rope.get("sliding_attention").and_then(|part| part.get("rope_theta"));
        theta.map(|value| finite("rope_theta", value)).transpose()
    }

    fn full_rope(&self) -> &Map<String, Json> {
        self.rope.get("full_attention").and_then(Json::as_object).unwrap_or(&self.rope)
    }

    /// Older files have a part of it at the top, and only what stretches the context apart.
    fn read_rope(&self) -> Map<String, Json> {
        let part = ["rope_parameters", "rope_scaling"].iter().find_map(|key| self.values.get(*key));
        let mut rope = part.and_then(Json::as_object).cloned().unwrap_or_default();
        if rope.contains_key("full_attention") || rope.contains_key("sliding_attention") {
            return rope;
        }
        if let Some(theta) = self.value("rope_local_base_freq") {
            let part = Map::from_iter([("rope_theta".to_owned(), theta)]);
            rope.insert("sliding_attention".to_owned(), Json::Object(part));
        }
        if let Some(kind) = rope.get("type").cloned() {
            rope.entry("rope_type").or_insert(kind);
        }
        for key in ["rope_theta", "partial_rotary_factor", "original_max_position_embeddings"] {
            if let Some(value) = self.value(key) {
                rope.entry(key).or_insert(value);
            }
        }
        rope
    }

    /// A value or its default.
    fn value(&self, key: &str) -> Option<Json> {
        let default = self.defaults.iter().find(|(name, _)| *name == key);
        self.values.get(key).cloned().or_else(|| match default?.1 {
            Default::Count(count) => Some(count.into()),
            Default::Number(number) => Some(number.into()),
        })
    }
}

fn finite(key: &str, value: &Json) -> Result<f64, ImportError> {
    let number = value.as_f64().filter(|number| (*number as f32).is_finite());
    number.ok_or_else(|| wrong(key, value, "a finite number"))
}

/// A value that cannot be used.
pub(super) fn wrong(key: &str, found: impl ToString, expected: impl ToString) -> ImportError {
    // A value may be a long list.
    let found: String = found.to_string().chars().take(80).collect();
    ImportError::damaged(FILE, format!("`{key}` is {found}"), expected)
}
