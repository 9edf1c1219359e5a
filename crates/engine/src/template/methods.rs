//! Methods of `str`, `dict`, `list` and `tuple`, as Python's. Those that change a value in place do
//! not exist here: the sandbox that templates are written for forbids them.

use std::rc::Rc;

use super::args::{Args, flag, optional_int, optional_string, string};
use super::meter::{Meter, Outcome, refuse};
use super::ops::described;
use super::printf::braces;
use super::text::to_str;
use super::value::{Dict, SeqKind, Value};

const STR: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const DICT: &[&str] = &["copy", "get", "items", "keys", "values"];
const LIST: &[&str] = &["copy", "count", "index"];
const LOOP: &[&str] = &["changed", "cycle"];

/// The method `name` of `receiver`, if its type has one.
pub(super) fn method(receiver: &Value, name: &str) -> Option<Value> {
    let names = match receiver {
        Value::Str(_) => STR,
        Value::Dict(_) => DICT,
        Value::Seq(seq) if seq.kind == SeqKind::List => LIST,
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => &LIST[1..],
        Value::Loop(_) => LOOP,
        _ => return None,
    };
    let name = names.iter().find(|known| **known == name)?;
    Some(Value::Method(Rc::new((receiver.clone(), name))))
}

/// Calls a method that [`method`] found.
pub(super) fn call(
    receiver: &Value,
    name: &'static str,
    args: Args,
    meter: &Meter,
) -> Outcome<Value> {
    match receiver {
        Value::Str(s) => {
            meter.scan(s.len())?;
            str_method(s, name, args, meter)
        }
        Value::Dict(dict) => dict_method(dict, name, args, meter),
        Value::Loop(state) if name == "cycle" => match args.pos.len() {
            0 => refuse("loop.cycle needs an argument"),
            n => Ok(args.pos[state.index.get() % n].clone()),
        },
        Value::Loop(state) => {
            if args.pos.iter().any(|v| matches!(v, Value::Loop(_) | Value::Namespace(_))) {
                return refuse("loop.changed cannot watch a loop or a namespace");
            }
            let now = Value::list(meter, args.pos.clone())?;
            let before = state.changed.replace(Some(args.pos));
            match before {
                Some(before) => Ok(Value::Bool(!Value::list(meter, before)?.equals(&now, meter)?)),
                None => Ok(Value::Bool(true)),
            }
        }
        list => list_method(list, name, args, meter),
    }
}

fn list_method(list: &Value, name: &str, args: Args, meter: &Meter) -> Outcome<Value> {
    if name == "copy" {
        return Ok(list.clone());
    }
    let [needle] = args.bind(name, ["value"])?;
    let Some(needle) = needle else { return refuse(format!("{name} needs an argument")) };
    let mut count = 0;
    for (i, item) in list.iterate(meter)?.items.iter().enumerate() {
        if item.equals(&needle, meter)? {
            if name == "index" {
                return Ok(Value::Int(i as i128));
            }
            count += 1;
        }
    }
    if name == "index" { refuse("the value is not in the list") } else { Ok(Value::Int(count)) }
}

fn dict_method(dict: &Rc<Dict>, name: &str, args: Args, meter: &Meter) -> Outcome<Value> {
    if name == "get" {
        let [key, default] = args.bind("get", ["key", "default"])?;
        let Some(key) = key else { return refuse("get needs a key") };
        return Ok(match dict.get(&key) {
            Some(value) => value.clone(),
            None => default.unwrap_or(Value::None),
        });
    }
    args.bind::<0>(name, [])?;
    match name {
        "keys" => {
            let keys = dict.entries.iter().map(|(key, _)| key.clone()).collect();
            Value::seq(meter, SeqKind::Keys, keys)
        }
        "values" => {
            let values = dict.entries.iter().map(|(_, value)| value.clone()).collect();
            Value::seq(meter, SeqKind::Values, values)
        }
        "items" => Value::seq(meter, SeqKind::Items, pairs(dict, meter)?),
        _ => Ok(Value::Dict(dict.clone())),
    }
}

/// The entries of a dict as tuples.
pub(super) fn pairs(dict: &Dict, meter: &Meter) -> Outcome<Vec<Value>> {
    let pair = |(key, value): &(Value, Value)| {
        Value::seq(meter, SeqKind::Tuple, vec![key.clone(), value.clone()])
    };
    dict.entries.iter().map(pair).collect()
}

fn str_method(s: &Rc<str>, name: &'static str, args: Args, meter: &Meter) -> Outcome<Value> {
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = optional_string(name, chars.as_ref())?;
            Value::text(meter, strip(s, chars.as_deref(), name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let [separator, most] = args.bind(name, ["sep", "maxsplit"])?;
            let separator = optional_string(name, separator.as_ref())?;
            let most = optional_int(name, most.as_ref())?.and_then(|n| usize::try_from(n).ok());
            split(s, separator.as_deref(), most, name == "rsplit", meter)
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            let lines = splitlines(s, flag(keep.as_ref()));
            texts(lines, meter)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let count = optional_int(name, count.as_ref())?.and_then(|n| usize::try_from(n).ok());
            replace(s, &string(name, old.as_ref())?, &string(name, new.as_ref())?, count, meter)
        }
        "join" => {
            let [items] = args.bind(name, ["iterable"])?;
            let Some(items) = items else { return refuse("join needs an argument") };
            let mut out = String::new();
            for (i, item) in items.iterate(meter)?.items.iter().enumerate() {
                let Some(item) = item.as_str() else {
                    return refuse(format!(
                        "join needs items of type str, found {}",
                        described(item)
                    ));
                };
                let glue = if i > 0 { &**s } else { "" };
                meter.text(out.len().max(glue.len() + item.len()))?;
                out.extend([glue, item]);
            }
            Value::text(meter, out)
        }
        "format" => braces(s, &args, meter),
        "center" | "ljust" | "rjust" | "zfill" => pad(s, name, args, meter),
        _ => searches(s, name, args, meter),
    }
}

/// Methods that look for a text in the text.
fn searches(s: &Rc<str>, name: &'static str, args: Args, meter: &Meter) -> Outcome<Value> {
    match name {
        "startswith" | "endswith" => {
            let [affix] = args.bind(name, ["prefix"])?;
            let fits = |affix: &str| {
                if name == "startswith" { s.starts_with(affix) } else { s.ends_with(affix) }
            };
            match &affix {
                Some(Value::Seq(seq)) if seq.kind == SeqKind::Tuple => {
                    for affix in &seq.items {
                        if fits(&string(name, Some(affix))?) {
                            return Ok(Value::Bool(true));
                        }
                    }
                    Ok(Value::Bool(false))
                }
                affix => Ok(Value::Bool(fits(&string(name, affix.as_ref())?))),
            }
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["affix"])?;
            let affix = string(name, affix.as_ref())?;
            let rest = if name == "removeprefix" {
                s.strip_prefix(&*affix)
            } else {
                s.strip_suffix(&*affix)
            };
            Value::text(meter, rest.unwrap_or(s))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [needle] = args.bind(name, ["sub"])?;
            find(s, name, &string(name, needle.as_ref())?)
        }
        "partition" | "rpartition" => {
            let [separator] = args.bind(name, ["sep"])?;
            let separator = string(name, separator.as_ref())?;
            let parts = match (name, s.split_once(&*separator), s.rsplit_once(&*separator)) {
                ("partition", Some((a, b)), _) | ("rpartition", _, Some((a, b))) => {
                    [a, &separator, b]
                }
                ("partition", ..) => [s, "", ""],
                _ => ["", "", s],
            };
            let parts =
                parts.iter().map(|part| Value::text(meter, part)).collect::<Outcome<_>>()?;
            Value::seq(meter, SeqKind::Tuple, parts)
        }
        _ => {
            args.bind::<0>(name, [])?;
            plain(s, name, meter)
        }
    }
}

/// Methods without arguments.
fn plain(s: &str, name: &str, meter: &Meter) -> Outcome<Value> {
    let all = |f: fn(char) -> bool| Ok(Value::Bool(!s.is_empty() && s.chars().all(f)));
    let cased = |keep: fn(char) -> bool, other: fn(char) -> bool| {
        Ok(Value::Bool(s.chars().any(keep) && !s.chars().any(other)))
    };
    match name {
        "upper" => Value::text(meter, s.to_uppercase()),
        "lower" | "casefold" => Value::text(meter, s.to_lowercase()),
        "capitalize" => Value::text(meter, capitalize(s)),
        "title" => Value::text(meter, title(s, |c| !c.is_alphabetic())),
        "swapcase" => {
            let swap = |c: char| {
                let text: String = c.to_string();
                if c.is_uppercase() { text.to_lowercase() } else { text.to_uppercase() }
            };
            Value::text(meter, s.chars().map(swap).collect::<String>())
        }
        "isdigit" | "isdecimal" => all(|c| c.is_ascii_digit()),
        "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_space),
        "isascii" => Ok(Value::Bool(s.is_ascii())),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "istitle" => Ok(Value::Bool(
            s.chars().any(char::is_alphabetic) && s == title(s, |c| !c.is_alphabetic()),
        )),
        _ => refuse(format!("the method {name} of str is not supported")),
    }
}

/// Python's white space of `str`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Strips characters (white space where `chars` is none) from the named ends.
pub(super) fn strip<'s>(s: &'s str, chars: Option<&str>, left: bool, right: bool) -> &'s str {
    let strippable = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let s = if left { s.trim_start_matches(strippable) } else { s };
    if right { s.trim_end_matches(strippable) } else { s }
}

/// First character upper case, the rest lower.
pub(super) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars.as_str().to_lowercase().chars()).collect(),
        None => String::new(),
    }
}

/// Upper case at the start of each word, lower case inside.
pub(super) fn title(s: &str, boundary: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(s.len());
    let mut start = true;
    for c in s.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        start = boundary(c);
    }
    out
}

/// A list of strings.
fn texts<'s>(parts: impl IntoIterator<Item = &'s str>, meter: &Meter) -> Outcome<Value> {
    let mut items = Vec::new();
    for part in parts {
        meter.alloc(40)?;
        items.push(Value::text(meter, part)?);
    }
    Value::list(meter, items)
}

fn split(
    s: &str,
    separator: Option<&str>,
    most: Option<usize>,
    right: bool,
    meter: &Meter,
) -> Outcome<Value> {
    let pieces = most.map_or(usize::MAX, |n| n.saturating_add(1));
    match separator {
        Some("") => refuse("split needs a separator that is not empty"),
        Some(separator) if right => {
            meter.alloc(s.matches(separator).count() * 16)?;
            let mut parts: Vec<&str> = s.rsplitn(pieces, separator).collect();
            parts.reverse();
            texts(parts, meter)
        }
        Some(separator) => texts(s.splitn(pieces, separator), meter),
        None if most.is_none() => texts(s.split(is_space).filter(|part| !part.is_empty()), meter),
        None => {
            let mut parts = Vec::new();
            let mut rest = strip(s, None, !right, right);
            while !rest.is_empty() {
                let cut = if right { rest.rfind(is_space) } else { rest.find(is_space) };
                match cut.filter(|_| parts.len() + 1 < pieces) {
                    Some(at) if right => {
                        let word = &rest[at..];
                        parts.push(strip(word, None, true, false));
                        rest = strip(&rest[..at], None, false, true);
                    }
                    Some(at) => {
                        parts.push(&rest[..at]);
                        rest = strip(&rest[at..], None, true, false);
                    }
                    None => {
                        parts.push(rest);
                        rest = "";
                    }
                }
                meter.alloc(16)?;
            }
            if right {
                parts.reverse();
            }
            texts(parts, meter)
        }
    }
}

/// Lines at Python's line boundaries.
fn splitlines(s: &str, keep: bool) -> Vec<&str> {
    let boundary = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = s;
    while !rest.is_empty() {
        let end = rest.find(boundary).unwrap_or(rest.len());
        let after = &rest[end..];
        let mark = if after.starts_with("\r\n") {
            2
        } else {
            after.chars().next().map_or(0, char::len_utf8)
        };
        lines.push(&rest[..if keep { end + mark } else { end }]);
        rest = &rest[end + mark..];
    }
    lines
}

/// `s.replace(old, new, count)`; the result is charged before it is made.
pub(super) fn replace(
    s: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
    meter: &Meter,
) -> Outcome<Value> {
    let found = s.matches(old).count().min(count.unwrap_or(usize::MAX));
    meter.text(s.len().saturating_add(found.saturating_mul(new.len())))?;
    Value::text(meter, s.replacen(old, new, found))
}

fn find(s: &str, name: &str, needle: &str) -> Outcome<Value> {
    if name == "count" {
        return Ok(Value::Int(s.matches(needle).count() as i128));
    }
    let at = if name.starts_with('r') { s.rfind(needle) } else { s.find(needle) };
    match at {
        Some(at) => Ok(Value::Int(s[..at].chars().count() as i128)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => refuse(format!("{needle:?} is not in the text")),
    }
}

fn pad(s: &str, name: &'static str, args: Args, meter: &Meter) -> Outcome<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let width = usize::try_from(optional_int(name, width.as_ref())?.unwrap_or(0)).unwrap_or(0);
    let fill = optional_string(name, fill.as_ref())?;
    let fill = if name == "zfill" { "0" } else { fill.as_deref().unwrap_or(" ") };
    let missing = width.saturating_sub(s.chars().count());
    meter.text(missing.saturating_mul(fill.len()).saturating_add(s.len()))?;
    let left = match name {
        "center" => missing / 2 + (missing & width & 1),
        "ljust" => 0,
        _ => missing,
    };
    let sign = usize::from(name == "zfill" && s.starts_with(['-', '+']));
    let (sign, body) = s.split_at(sign);
    Value::text(meter, [sign, &fill.repeat(left), body, &fill.repeat(missing - left)].concat())
}

/// `str(value).strip(chars)` for the `trim` filter.
pub(super) fn trimmed(value: &Value, chars: Option<&str>, meter: &Meter) -> Outcome<Value> {
    let text = to_str(value, meter)?;
    Value::text(meter, strip(&text, chars, true, true))
}
