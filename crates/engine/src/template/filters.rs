//! jinja2's filters over single values; those over sequences are in `filters_seq.rs`.
//!
//! The HTML-minded ones (`urlize`, `striptags`, `xmlattr` ...) and `random` are left out: no chat
//! template has a use for them, and a template that names one is refused with the filter's name.

use super::access::attribute;
use super::args::{Args, flag, optional_int, optional_string, string};
use super::filters_seq;
use super::meter::{Meter, Outcome, refuse};
use super::methods;
use super::ops::{described, escape};
use super::printf::percent;
use super::text::{JsonStyle, to_str, write_json};
use super::value::{Dict, SeqKind, Value};

/// Filters of this file.
const NAMES: &[&str] = &[
    "abs",
    "attr",
    "capitalize",
    "center",
    "d",
    "default",
    "e",
    "escape",
    "float",
    "forceescape",
    "format",
    "indent",
    "int",
    "items",
    "lower",
    "replace",
    "round",
    "safe",
    "string",
    "title",
    "tojson",
    "trim",
    "truncate",
    "upper",
    "wordcount",
];

/// Whether a filter of this name exists.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name) || filters_seq::NAMES.contains(&name)
}

/// `value | name(args)`.
pub(super) fn apply(name: &str, value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    meter.step()?;
    if filters_seq::NAMES.contains(&name) {
        return filters_seq::apply(name, value, args, meter);
    }
    match name {
        "default" | "d" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
            let missing =
                matches!(value, Value::Undefined(_)) || (flag(boolean.as_ref()) && !value.truth());
            Ok(if missing {
                default.unwrap_or_else(|| Value::Str("".into()))
            } else {
                value.clone()
            })
        }
        "tojson" => tojson(value, args, meter),
        "items" => {
            args.bind::<0>(name, [])?;
            match value {
                Value::Dict(dict) => Value::lazy(meter, methods::pairs(dict, meter)?),
                Value::Undefined(_) => Value::lazy(meter, Vec::new()),
                other => refuse(format!("items needs a mapping, not {}", described(other))),
            }
        }
        "attr" => {
            let [name] = args.bind(name, ["name"])?;
            let name = string("attr", name.as_ref())?;
            if matches!(value, Value::Dict(_)) && methods::method(value, &name).is_none() {
                return Ok(Value::Undefined(name));
            }
            attribute(value, &name, meter)
        }
        "abs" | "int" | "float" | "round" => numeric(name, value, args),
        "format" => {
            let args = if args.kw.is_empty() {
                Value::seq(meter, SeqKind::Tuple, args.pos)?
            } else {
                let entries =
                    args.kw.into_iter().map(|(key, value)| (Value::Str(key), value)).collect();
                Value::Dict(Dict::new(meter, entries)?.into())
            };
            percent(&to_str(value, meter)?, &args, meter)
        }
        _ => textual(name, value, args, meter),
    }
}

/// Filters that take the text of any value.
fn textual(name: &str, value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    match name {
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            methods::trimmed(value, optional_string(name, chars.as_ref())?.as_deref(), meter)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else {
                return refuse("replace needs the old and the new text");
            };
            let count = optional_int(name, count.as_ref())?.and_then(|n| usize::try_from(n).ok());
            let text = to_str(value, meter)?;
            methods::replace(&text, &to_str(&old, meter)?, &to_str(&new, meter)?, count, meter)
        }
        "indent" => indent(value, args, meter),
        "truncate" => truncate(value, args, meter),
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            let args = Args { pos: vec![width.unwrap_or(Value::Int(80))], kw: Vec::new() };
            methods::call(&Value::text(meter, to_str(value, meter)?)?, "center", args, meter)
        }
        _ => {
            args.bind::<0>(name, [])?;
            let text = to_str(value, meter)?;
            match name {
                "string" if matches!(value, Value::Str(_)) => Ok(value.clone()),
                "string" => Value::text(meter, text),
                "safe" => Ok(Value::Markup(text.into())),
                "upper" => Value::text(meter, text.to_uppercase()),
                "lower" => Value::text(meter, text.to_lowercase()),
                "capitalize" => Value::text(meter, methods::capitalize(&text)),
                "title" => {
                    let boundary = |c: char| c.is_whitespace() || "-({[<".contains(c);
                    Value::text(meter, methods::title(&text, boundary))
                }
                "escape" | "e" | "forceescape" => Ok(Value::Markup(escape(&text, meter)?.into())),
                "wordcount" => {
                    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                    Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i128))
                }
                _ => refuse(format!("the filter {name} is not supported")),
            }
        }
    }
}

fn numeric(name: &str, value: &Value, args: Args) -> Outcome<Value> {
    if let Value::Undefined(what) = value {
        return refuse(format!("{what} is undefined, so it has no number"));
    }
    match name {
        "abs" => {
            args.bind::<0>(name, [])?;
            match (value, value.as_int()) {
                (Value::Float(f), _) => Ok(Value::Float(f.abs())),
                (_, Some(i)) => Ok(Value::Int(i.saturating_abs())),
                _ => refuse(format!("abs needs a number, not {}", described(value))),
            }
        }
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let base = optional_int(name, base.as_ref())?.unwrap_or(10);
            let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
            let Some(base) = base else { return refuse("int needs a base from 2 to 36") };
            let parsed = match value {
                Value::Float(f) if f.is_finite() => Some(f.trunc() as i128),
                Value::Str(s) => whole(s.trim(), base),
                other => other.as_int(),
            };
            Ok(parsed.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let [default] = args.bind(name, ["default"])?;
            let parsed = match value {
                Value::Str(s) => s.trim().parse().ok(),
                other => other.as_f64(),
            };
            Ok(parsed.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        _ => round(value, args),
    }
}

/// An integer written in `base`, or a float cut to one.
fn whole(text: &str, base: u32) -> Option<i128> {
    let float = || text.parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| f.trunc() as i128);
    i128::from_str_radix(&text.replace('_', ""), base).ok().or_else(float)
}

fn round(value: &Value, args: Args) -> Outcome<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = optional_int("round", precision.as_ref())?.unwrap_or(0);
    let Some(places) = usize::try_from(precision).ok().filter(|p| *p <= 300) else {
        return refuse("round needs a precision from 0 to 300");
    };
    let method = optional_string("round", method.as_ref())?;
    let Some(f) = value.as_f64() else {
        return refuse(format!("round needs a number, not {}", described(value)));
    };
    let scale = 10f64.powi(places as i32);
    match method.as_deref().unwrap_or("common") {
        "common" => match value.as_int() {
            Some(i) => Ok(Value::Int(i)),
            // Formatting rounds the exact binary value half to even, as Python's round does.
            None => Ok(Value::Float(format!("{f:.places$}").parse().unwrap_or(f))),
        },
        "ceil" => Ok(Value::Float((f * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((f * scale).floor() / scale)),
        other => refuse(format!("round knows common, ceil and floor, not {other}")),
    }
}

/// `json.dumps` with the field's defaults: not ASCII only, nothing escaped for HTML.
fn tojson(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [ascii, indent, separators, sort] =
        args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent {
        Some(Value::Str(s)) if s.len() <= 64 => Some(s.to_string()),
        other => match optional_int("tojson(indent)", other.as_ref())? {
            None => None,
            Some(n) if n <= 64 => Some(" ".repeat(n.max(0) as usize)),
            Some(n) => return refuse(format!("tojson indents by at most 64, not {n}")),
        },
    };
    let (item, colon) = match &separators {
        None | Some(Value::None) if indent.is_some() => (",".into(), ": ".into()),
        None | Some(Value::None) => (", ".into(), ": ".into()),
        Some(pair) => match &pair.iterate(meter)?.items[..] {
            [item, colon] => (string("tojson", Some(item))?, string("tojson", Some(colon))?),
            _ => return refuse("tojson needs two separators"),
        },
    };
    let style = JsonStyle {
        ascii: flag(ascii.as_ref()),
        indent,
        item: item.to_string(),
        colon: colon.to_string(),
        sort_keys: flag(sort.as_ref()),
    };
    let mut out = String::new();
    write_json(value, &style, 0, meter, &mut out)?;
    Value::text(meter, out)
}

fn indent(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let pad: String = match width {
        Some(Value::Str(s)) => s.to_string(),
        other => {
            let width = optional_int("indent", other.as_ref())?.unwrap_or(4).clamp(0, 1000);
            " ".repeat(width as usize)
        }
    };
    let text = string("indent", Some(value))?;
    let lines = text.matches('\n').count() + 1;
    meter.text(text.len().saturating_add(lines.saturating_mul(pad.len() + 1)))?;
    let blank = flag(blank.as_ref());
    let mut out = if flag(first.as_ref()) { pad.clone() } else { String::new() };
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&pad);
            }
        }
        out.push_str(line);
    }
    Value::text(meter, out)
}

fn truncate(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [length, kill, end, leeway] =
        args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let count = |value: Option<&Value>, default: usize| {
        Ok(optional_int("truncate", value)?.map_or(default, |n| usize::try_from(n).unwrap_or(0)))
    };
    let (length, leeway) = (count(length.as_ref(), 255)?, count(leeway.as_ref(), 5)?);
    let end = optional_string("truncate", end.as_ref())?.unwrap_or_else(|| "...".into());
    let text = string("truncate", Some(value))?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !flag(kill.as_ref()) => words,
        _ => &kept,
    };
    Value::text(meter, [kept, &end].concat())
}
