//! Strictness: refuses a JSON Schema that says more than the grammar can enforce.
//!
//! The compiler behind `Matcher` skips keywords that it does not know, as JSON Schema allows. Here
//! a keyword is either enforced, known to describe only, or an error that names it and its place.

use serde_json::{Value as Json, json};

use super::GrammarError;

/// Keywords that the grammar enforces.
const ENFORCED: &[&str] = &[
    "$ref",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "required",
    "type",
];
/// Keywords that describe and constrain nothing. Names beginning with `x-` are such by convention.
const DESCRIPTIVE: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "example",
    "examples",
    "id",
    "readOnly",
    "title",
    "writeOnly",
];
/// Formats that the grammar enforces.
const FORMATS: &[&str] =
    &["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

/// Reads a schema and refuses what the grammar would not honour.
pub(super) fn read(text: &str) -> Result<Json, GrammarError> {
    let schema =
        serde_json::from_str(text).map_err(|e| GrammarError::Json { message: e.to_string() })?;
    check(&schema, "")?;
    Ok(schema)
}

/// White space between two tokens of JSON: a blank, or a line feed and its indentation. The
/// compiler's own pattern has no bound, and a model that is unsure fills its whole answer with it.
const SPACE: &str = "\x20|\n(\x20{0,32}|\t{0,8})";

/// The schema with bounded white space in what matches it.
pub(super) fn compact(mut schema: Json) -> Json {
    if schema == Json::Bool(true) {
        schema = json!({});
    }
    if let Some(members) = schema.as_object_mut() {
        members.insert("x-guidance".to_owned(), json!({ "whitespace_pattern": SPACE }));
    }
    schema
}

/// Checks the schemas that a Lark grammar has after `%json`. One that is not JSON is left to the
/// compiler, which refuses it.
pub(super) fn check_inline(grammar: &str) -> Result<(), GrammarError> {
    for (start, mark) in grammar.match_indices("%json") {
        let mut values =
            serde_json::Deserializer::from_str(&grammar[start + mark.len()..]).into_iter::<Json>();
        if let Some(Ok(schema)) = values.next() {
            check(&schema, "")?;
        }
    }
    Ok(())
}

/// Checks a schema at `place` and all schemas in it. The parser has bounded the nesting.
fn check(schema: &Json, place: &str) -> Result<(), GrammarError> {
    let members = match schema {
        Json::Object(members) => members,
        Json::Bool(_) => return Ok(()),
        _ => {
            let message = format!("at {}: a schema is an object or a boolean", at(place));
            return Err(GrammarError::Invalid { message });
        }
    };
    for (keyword, value) in members {
        let inner = format!("{place}/{keyword}");
        match keyword.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    check(schema, &format!("{inner}/{name}"))?;
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (i, schema) in value.as_array().into_iter().flatten().enumerate() {
                    check(schema, &format!("{inner}/{i}"))?;
                }
            }
            "items" if value.is_array() => {
                for (i, schema) in value.as_array().into_iter().flatten().enumerate() {
                    check(schema, &format!("{inner}/{i}"))?;
                }
            }
            "items" | "additionalItems" | "additionalProperties" => check(value, &inner)?,
            "format" if !value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                return Err(GrammarError::Keyword {
                    keyword: format!("format: {value}"),
                    place: at(place),
                });
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if too_large(value) => {
                return Err(GrammarError::Keyword {
                    keyword: format!("{keyword}: {value}"),
                    place: at(place),
                });
            }
            known if ENFORCED.contains(&known) || DESCRIPTIVE.contains(&known) => {}
            // The compiler reads its own options from here.
            "x-guidance" => {
                return Err(GrammarError::Keyword { keyword: keyword.clone(), place: at(place) });
            }
            extension if extension.starts_with("x-") => {}
            _ => return Err(GrammarError::Keyword { keyword: keyword.clone(), place: at(place) }),
        }
    }
    Ok(())
}

/// Whether a bound is beyond the whole numbers that a float tells apart; the compiler would clamp
/// it in silence.
fn too_large(bound: &Json) -> bool {
    bound.as_f64().is_some_and(|bound| bound.abs() > (1u64 << 53) as f64)
}

/// A place in the schema for people.
fn at(place: &str) -> String {
    if place.is_empty() { "the top".to_owned() } else { place.to_owned() }
}
