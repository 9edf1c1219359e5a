//! What becomes of the rows of a text, from the files that sentence-transformers adds to a folder:
//! `modules.json`, the steps from a text to its row, and the settings of the one that pools.
//!
//! A folder without them is a bare model; the file says nothing then, as the converter has it.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::ImportError;
use super::folder::Folder;
use super::metadata::Metadata;

/// The list of steps.
const MODULES: &str = "modules.json";

/// Steps that the engine does: the last one always.
const STEPS: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

/// Ways to pool: as older files have them, each with a flag, as newer ones name them, and the
/// number that a GGUF file has for them.
const WAYS: [(&str, &str, u32); 3] = [
    ("pooling_mode_mean_tokens", "mean", 1),
    ("pooling_mode_cls_token", "cls", 2),
    ("pooling_mode_lasttoken", "lasttoken", 3),
];

/// A step.
#[derive(Deserialize)]
struct Module {
    /// Its class, with the modules that it is in.
    #[serde(rename = "type")]
    class: String,
    /// The folder of its settings.
    path: String,
}

/// Sets the key, if the folder says how to pool.
pub(super) fn keys(folder: &Folder, out: &mut Metadata) -> Result<(), ImportError> {
    let Some(modules) = folder.json::<Vec<Module>>(MODULES)? else { return Ok(()) };
    let step = |module: &Module| module.class.rsplit('.').next().unwrap_or_default().to_owned();
    if let Some(other) = modules.iter().map(step).find(|step| !STEPS.contains(&step.as_str())) {
        return Err(ImportError::Unsupported(format!(
            "{MODULES}: a step from text to embedding is \"{}\"; expected {}",
            other.escape_debug(),
            STEPS.join(", ")
        )));
    }
    if let Some(module) = modules.iter().find(|module| step(module) == "Pooling") {
        let file = format!("{}/config.json", module.path);
        let settings = folder.json::<Map<String, Json>>(&file)?;
        let settings = settings.ok_or_else(|| ImportError::Missing {
            file: file.escape_debug().to_string(),
            next: format!("{MODULES} names it: get it from where the model is from"),
        })?;
        out.count("pooling_type", way(&file, &settings)?.into());
    }
    Ok(())
}

/// The number of the one way to pool. More than one would make a row of several.
fn way(file: &str, settings: &Map<String, Json>) -> Result<u32, ImportError> {
    let is_on = |(key, value): &(&String, &Json)| {
        key.starts_with("pooling_mode_") && value.as_bool() == Some(true)
    };
    let flags: Vec<&str> = settings.iter().filter(is_on).map(|(key, _)| key.as_str()).collect();
    let word = settings.get("pooling_mode").and_then(Json::as_str);
    let found = match (flags.as_slice(), word) {
        ([flag], _) => WAYS.iter().find(|(known, ..)| known == flag),
        ([], Some(word)) => WAYS.iter().find(|(_, known, _)| *known == word),
        _ => None,
    };
    found.map(|(.., number)| *number).ok_or_else(|| {
        let found =
            if flags.is_empty() { word.unwrap_or("nothing").to_owned() } else { flags.join(", ") };
        ImportError::Unsupported(format!(
            "{file}: the rows of a text become one by \"{}\"; expected one of mean, cls, lasttoken",
            found.escape_debug()
        ))
    })
}
