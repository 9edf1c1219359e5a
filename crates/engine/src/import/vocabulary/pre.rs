//! The name of the rule by which text is cut into words (`tokenizer.ggml.pre`), from the rule.
//!
//! The converter knows tokenizers by a hash of what they make of a text, and so none that it has
//! not met. Here the rule itself is looked up: a tokenizer trained anew is known by it.

use serde_json::Value as Json;

use super::super::ImportError;
use super::TOKENIZER;
use super::json::Tokenizer;

/// Expressions by which words are cut, and the names for them: where a begin token is put before
/// a text, and where not.
const PATTERNS: [(&str, &str, &str); 4] = [
    (
        concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "llama-bpe",
        "smaug-bpe",
    ),
    (
        concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "qwen2",
        "qwen2",
    ),
    (
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "gpt-4o",
        "gpt-4o",
    ),
    (
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "tekken",
        "tekken",
    ),
];

/// The name of the rule.
pub(super) fn name(tokenizer: &Tokenizer) -> Result<&'static str, ImportError> {
    let steps = Tokenizer::steps(&tokenizer.pre_tokenizer, "pretokenizers");
    let found: Vec<Step> = steps.into_iter().map(Step::read).collect();
    let bos = puts_bos(tokenizer);
    match found.as_slice() {
        [Step::Expression(expression), Step::Bytes { words: false }] => PATTERNS
            .iter()
            .find(|(known, ..)| known == expression)
            .map(|(_, with, without)| if bos { *with } else { *without }),
        [Step::Digits, Step::Bytes { words: true }] => Some("smollm"),
        [Step::Bytes { words: true }] => Some("gpt-2"),
        _ => None,
    }
    .ok_or_else(|| {
        let shown: String = tokenizer.pre_tokenizer.to_string().chars().take(300).collect();
        ImportError::Unsupported(format!(
            "{TOKENIZER}: words are cut by {shown}; expected the rule of Llama 3, Qwen 2, SmolLM, \
             GPT-4o, Tekken or GPT-2"
        ))
    })
}

/// One step of cutting.
enum Step<'a> {
    /// Words are what an expression finds.
    Expression(&'a str),
    /// Each digit is a word.
    Digits,
    /// Bytes become characters; before that words are cut as for GPT-2, or not.
    Bytes { words: bool },
    /// Anything else.
    Other,
}

impl Step<'_> {
    fn read(step: &Json) -> Step<'_> {
        let text = |key| step.get(key).and_then(Json::as_str);
        let flag = |key, default| step.get(key).and_then(Json::as_bool).unwrap_or(default);
        match text("type") {
            Some("Split") if text("behavior") == Some("Isolated") && !flag("invert", false) => {
                let pattern =
                    step.get("pattern").and_then(|pattern| pattern.get("Regex")?.as_str());
                pattern.map_or(Step::Other, Step::Expression)
            }
            Some("Digits") if flag("individual_digits", false) => Step::Digits,
            Some("ByteLevel") if !flag("add_prefix_space", true) => {
                Step::Bytes { words: flag("use_regex", true) }
            }
            _ => Step::Other,
        }
    }
}

/// Whether a begin token is put before a text.
fn puts_bos(tokenizer: &Tokenizer) -> bool {
    let steps = Tokenizer::steps(&tokenizer.post_processor, "processors");
    steps.into_iter().any(|step| {
        let first = step.get("single").and_then(|single| single.get(0));
        first.is_some_and(|first| first.get("SpecialToken").is_some())
    })
}
