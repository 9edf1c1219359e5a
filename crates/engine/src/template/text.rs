//! The text forms of values: Python's `str` and `repr`, and `json.dumps`.

use super::meter::{Meter, Outcome, refuse};
use super::value::{SeqKind, Value};

/// Appends `str(value)`.
pub(super) fn write_str(value: &Value, meter: &Meter, out: &mut String) -> Outcome<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(s) | Value::Markup(s) => push(meter, out, s),
        other => write_repr(other, meter, out),
    }
}

/// `str(value)`.
pub(super) fn to_str(value: &Value, meter: &Meter) -> Outcome<String> {
    let mut out = String::new();
    write_str(value, meter, &mut out)?;
    Ok(out)
}

/// Appends a piece, charged.
fn push(meter: &Meter, out: &mut String, piece: &str) -> Outcome<()> {
    meter.step()?;
    meter.text(piece.len())?;
    out.push_str(piece);
    Ok(())
}

/// Appends `repr(value)`.
pub(super) fn write_repr(value: &Value, meter: &Meter, out: &mut String) -> Outcome<()> {
    match value {
        Value::Undefined(_) => push(meter, out, "Undefined"),
        Value::None => push(meter, out, "None"),
        Value::Bool(true) => push(meter, out, "True"),
        Value::Bool(false) => push(meter, out, "False"),
        Value::Int(i) => push(meter, out, &i.to_string()),
        Value::Float(f) => push(meter, out, &float(*f)),
        Value::Str(s) => push(meter, out, &quoted(s)),
        Value::Seq(seq) => {
            let (open, close) = match seq.kind {
                SeqKind::List => ("[", "]"),
                SeqKind::Tuple if seq.items.len() == 1 => ("(", ",)"),
                SeqKind::Tuple => ("(", ")"),
                SeqKind::Range => return push(meter, out, &range(&seq.items)),
                SeqKind::Keys => ("dict_keys([", "])"),
                SeqKind::Values => ("dict_values([", "])"),
                SeqKind::Items => ("dict_items([", "])"),
            };
            push(meter, out, open)?;
            for (i, item) in seq.items.iter().enumerate() {
                push(meter, out, if i > 0 { ", " } else { "" })?;
                write_repr(item, meter, out)?;
            }
            push(meter, out, close)
        }
        Value::Dict(dict) => {
            push(meter, out, "{")?;
            for (i, (key, item)) in dict.entries.iter().enumerate() {
                push(meter, out, if i > 0 { ", " } else { "" })?;
                write_repr(key, meter, out)?;
                push(meter, out, ": ")?;
                write_repr(item, meter, out)?;
            }
            push(meter, out, "}")
        }
        other => refuse(format!("a value of type {} has no text form here", other.type_name())),
    }
}

/// `repr` of a range from its items.
fn range(items: &[Value]) -> String {
    let at = |i: usize| items.get(i).and_then(Value::as_int).unwrap_or(0);
    let step = if items.len() > 1 { at(1) - at(0) } else { 1 };
    let stop = if items.is_empty() { 0 } else { at(items.len() - 1) + step.signum() };
    if step == 1 {
        format!("range({}, {stop})", at(0))
    } else {
        format!("range({}, {stop}, {step})", at(0))
    }
}

/// `repr` of a float: the shortest digits that read back, with an exponent outside 1e-4..1e16.
pub(super) fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{f:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if f != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = f.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// `repr` of a string.
fn quoted(s: &str) -> String {
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(s.len() + 2);
    out.push(quote);
    for c in s.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => match u32::from(c) {
                n @ ..0x100 => out.push_str(&format!("\\x{n:02x}")),
                n @ ..0x10000 => out.push_str(&format!("\\u{n:04x}")),
                n => out.push_str(&format!("\\U{n:08x}")),
            },
        }
    }
    out.push(quote);
    out
}

/// Python's `str.isprintable` for one character. Rust's debug escaping uses the same categories,
/// except that it also escapes a combining mark at the start of a string.
fn printable(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\')
        || ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

/// The arguments of `json.dumps` that templates use.
pub(super) struct JsonStyle {
    pub(super) ascii: bool,
    /// Text of one level of indentation; `None` writes one line.
    pub(super) indent: Option<String>,
    pub(super) item: String,
    pub(super) colon: String,
    pub(super) sort_keys: bool,
}

/// Appends `json.dumps(value)`; `level` is the nesting of the value.
pub(super) fn write_json(
    value: &Value,
    style: &JsonStyle,
    level: usize,
    meter: &Meter,
    out: &mut String,
) -> Outcome<()> {
    let newline = |level: usize, out: &mut String| match &style.indent {
        Some(indent) => {
            meter.text(1 + indent.len() * level)?;
            out.push('\n');
            (0..level).for_each(|_| out.push_str(indent));
            Ok(())
        }
        None => Ok(()),
    };
    match value {
        Value::None => push(meter, out, "null"),
        Value::Bool(b) => push(meter, out, if *b { "true" } else { "false" }),
        Value::Float(f) => push(meter, out, &json_float(*f)),
        Value::Int(_) => write_repr(value, meter, out),
        Value::Str(s) => push(meter, out, &json_text(s, style.ascii)),
        Value::Seq(seq) if matches!(seq.kind, SeqKind::List | SeqKind::Tuple) => {
            if seq.items.is_empty() {
                return push(meter, out, "[]");
            }
            push(meter, out, "[")?;
            for (i, item) in seq.items.iter().enumerate() {
                push(meter, out, if i > 0 { &style.item } else { "" })?;
                newline(level + 1, out)?;
                write_json(item, style, level + 1, meter, out)?;
            }
            newline(level, out)?;
            push(meter, out, "]")
        }
        Value::Dict(dict) => {
            if dict.entries.is_empty() {
                return push(meter, out, "{}");
            }
            let mut entries: Vec<(String, &Value)> = Vec::with_capacity(dict.entries.len());
            for (key, item) in &dict.entries {
                entries.push((json_key(key, meter)?, item));
            }
            if style.sort_keys {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            push(meter, out, "{")?;
            for (i, (key, item)) in entries.iter().enumerate() {
                push(meter, out, if i > 0 { &style.item } else { "" })?;
                newline(level + 1, out)?;
                push(meter, out, &json_text(key, style.ascii))?;
                push(meter, out, &style.colon)?;
                write_json(item, style, level + 1, meter, out)?;
            }
            newline(level, out)?;
            push(meter, out, "}")
        }
        other => refuse(format!("a value of type {} cannot be written as JSON", other.type_name())),
    }
}

/// A dict key as JSON text.
fn json_key(key: &Value, meter: &Meter) -> Outcome<String> {
    match key {
        Value::None => Ok("null".into()),
        Value::Bool(b) => Ok(if *b { "true".into() } else { "false".into() }),
        Value::Float(f) => Ok(json_float(*f)),
        other => to_str(other, meter),
    }
}

/// A float as JSON text, with Python's names for what JSON cannot say.
fn json_float(f: f64) -> String {
    match float(f).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        plain => plain.into(),
    }
}

/// A quoted JSON string.
fn json_text(s: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
