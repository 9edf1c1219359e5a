//! Python's two ways of formatting inside strings: `'%s' % x` and `'{}'.format(x)`.
//!
//! The conversions that templates use are here; any other is a fault that names it.

use super::args::Args;
use super::meter::{Meter, Outcome, refuse};
use super::ops::{described, item};
use super::text::{float, to_str, write_repr};
use super::value::{SeqKind, Value};

/// How one value is laid out.
#[derive(Default)]
struct Layout {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    plus: Option<char>,
    group: bool,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Reads decimal digits; `None` where there are none.
fn digits(rest: &mut &str) -> Outcome<Option<usize>> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, tail) = rest.split_at(end);
    *rest = tail;
    match (number.is_empty(), number.parse::<usize>()) {
        (true, _) => Ok(None),
        (_, Ok(n)) if n <= 100_000 => Ok(Some(n)),
        _ => refuse(format!("a format width of {number} is too large")),
    }
}

/// `format % args`.
pub(super) fn percent(format: &str, args: &Value, meter: &Meter) -> Outcome<Value> {
    let single = [args.clone()];
    let positional = match args {
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => &seq.items[..],
        _ => &single[..],
    };
    let mut next = positional.iter();
    let mut named = false;
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        meter.text(at)?;
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let mut value = None;
        if let Some((key, tail)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            value = item(args, &Value::text(meter, key)?, meter)?;
            named = true;
            rest = tail;
        }
        let layout = percent_layout(&mut rest)?;
        let Some(value) = value.as_ref().or_else(|| next.next()) else {
            return refuse("not enough arguments for the format string");
        };
        let laid = lay_out(value, &layout, meter)?;
        meter.text(laid.len())?;
        out.push_str(&laid);
    }
    let dict = matches!(args, Value::Dict(_));
    if next.next().is_some() && !named && !dict {
        return refuse("not all arguments were used by the format string");
    }
    out.push_str(rest);
    Value::text(meter, out)
}

/// The part of a `%` conversion after the key.
fn percent_layout(rest: &mut &str) -> Outcome<Layout> {
    let mut layout = Layout { align: Some('>'), ..Layout::default() };
    let mut chars = rest.chars();
    while let Some(flag) = chars.clone().next().filter(|c| "-+ 0#".contains(*c)) {
        match flag {
            '-' => layout.align = Some('<'),
            '0' if layout.align != Some('<') => {
                (layout.fill, layout.align) = (Some('0'), Some('='))
            }
            '+' => layout.plus = Some('+'),
            ' ' => layout.plus = Some(' '),
            _ => {}
        }
        chars.next();
    }
    *rest = chars.as_str();
    layout.width = digits(rest)?.unwrap_or(0);
    if let Some(tail) = rest.strip_prefix('.') {
        *rest = tail;
        layout.precision = Some(digits(rest)?.unwrap_or(0));
    }
    let mut chars = rest.chars();
    layout.kind = match chars.next() {
        Some('i' | 'u') => Some('d'),
        Some(kind) => Some(kind),
        None => return refuse("a format string ends after %"),
    };
    *rest = chars.as_str();
    Ok(layout)
}

/// `text.format(...)`.
pub(super) fn braces(text: &str, args: &Args, meter: &Meter) -> Outcome<Value> {
    let mut out = String::new();
    let mut automatic = 0;
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        meter.text(at)?;
        out.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = tail;
            continue;
        }
        let Some((field, tail)) = rest.split_once('}').filter(|_| brace == "{") else {
            return refuse("a brace of the format string has no partner");
        };
        rest = tail;
        let (field, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = field.split_once('!').unwrap_or((field, ""));
        let mut value = lookup(name, args, &mut automatic, meter)?;
        if conversion == "r" {
            let mut repr = String::new();
            write_repr(&value, meter, &mut repr)?;
            value = Value::text(meter, repr)?;
        }
        let laid = lay_out(&value, &brace_layout(spec)?, meter)?;
        meter.text(laid.len())?;
        out.push_str(&laid);
    }
    out.push_str(rest);
    Value::text(meter, out)
}

/// The value that a replacement field names.
fn lookup(name: &str, args: &Args, automatic: &mut usize, meter: &Meter) -> Outcome<Value> {
    if name.contains(['.', '[']) {
        return refuse(format!("the format field {{{name}}} is not supported"));
    }
    let position = match name {
        "" => {
            *automatic += 1;
            Some(*automatic - 1)
        }
        name => name.parse().ok(),
    };
    meter.step()?;
    let found = match position {
        Some(at) => args.pos.get(at),
        None => args.kw.iter().find(|(key, _)| &**key == name).map(|(_, value)| value),
    };
    match found {
        Some(value) => Ok(value.clone()),
        None => refuse(format!("no argument for the format field {{{name}}}")),
    }
}

/// `[[fill]align][sign][0][width][,][.precision][kind]`.
fn brace_layout(spec: &str) -> Outcome<Layout> {
    let mut layout = Layout::default();
    let mut rest = spec;
    let mut chars = rest.chars();
    let (first, second) = (chars.next(), chars.next());
    let is_align = |c: Option<char>| c.is_some_and(|c| "<>^=".contains(c));
    if is_align(second) {
        (layout.fill, layout.align) = (first, second);
        rest = chars.as_str();
    } else if is_align(first) {
        layout.align = first;
        rest = &rest[1..];
    }
    for sign in ['+', ' ', '-'] {
        if let Some(tail) = rest.strip_prefix(sign) {
            layout.plus = Some(sign).filter(|c| *c != '-');
            rest = tail;
            break;
        }
    }
    if rest.starts_with('0') && layout.align.is_none() {
        (layout.fill, layout.align) = (Some('0'), Some('='));
    }
    layout.width = digits(&mut rest)?.unwrap_or(0);
    if let Some(tail) = rest.strip_prefix(',') {
        layout.group = true;
        rest = tail;
    }
    if let Some(tail) = rest.strip_prefix('.') {
        rest = tail;
        layout.precision = digits(&mut rest)?;
    }
    let mut chars = rest.chars();
    layout.kind = chars.next();
    if chars.next().is_some() {
        return refuse(format!("the format {spec:?} is not supported"));
    }
    Ok(layout)
}

/// One value as text, padded.
fn lay_out(value: &Value, layout: &Layout, meter: &Meter) -> Outcome<String> {
    let numeric = value.as_f64().is_some() && !matches!(layout.kind, Some('s' | 'r'));
    let body = match layout.kind {
        Some('r') => {
            let mut repr = String::new();
            write_repr(value, meter, &mut repr)?;
            shorten(repr, layout)
        }
        Some('s') | None if !(numeric && (layout.precision.is_some() || layout.group)) => {
            shorten(to_str(value, meter)?, layout)
        }
        kind => number(value, kind, layout)?,
    };
    let body = match layout.plus {
        Some(sign) if numeric && !body.starts_with('-') => format!("{sign}{body}"),
        _ => body,
    };
    let missing = layout.width.saturating_sub(body.chars().count());
    let fill = layout.fill.unwrap_or(' ').to_string();
    let align = layout.align.unwrap_or(if numeric { '>' } else { '<' });
    let (before, after) = match align {
        '<' => (0, missing),
        '^' => (missing / 2, missing - missing / 2),
        _ => (missing, 0),
    };
    let signed = usize::from(align == '=' && body.starts_with(['-', '+', ' ']));
    let (sign, tail) = body.split_at(signed);
    Ok([sign, &fill.repeat(before), tail, &fill.repeat(after)].concat())
}

/// Text cut to the precision.
fn shorten(text: String, layout: &Layout) -> String {
    match layout.precision {
        Some(n) => text.chars().take(n).collect(),
        None => text,
    }
}

/// A number by its kind.
fn number(value: &Value, kind: Option<char>, layout: &Layout) -> Outcome<String> {
    let places = layout.precision.unwrap_or(6).min(400);
    let plain = match (kind, value.as_int(), value.as_f64()) {
        (Some('d'), Some(i), _) => i.to_string(),
        (Some('d'), None, Some(f)) if layout.align == Some('>') => (f.trunc() as i128).to_string(),
        (Some('x'), Some(i), _) if i >= 0 => format!("{i:x}"),
        (Some('X'), Some(i), _) if i >= 0 => format!("{i:X}"),
        (Some('o'), Some(i), _) if i >= 0 => format!("{i:o}"),
        (Some('b'), Some(i), _) if i >= 0 => format!("{i:b}"),
        (Some('f' | 'F'), _, Some(f)) if f.is_finite() => format!("{f:.places$}"),
        (Some('%'), _, Some(f)) if f.is_finite() => format!("{:.places$}%", f * 100.0),
        (None, Some(i), _) => i.to_string(),
        (None, _, Some(f)) if layout.precision.is_none() => float(f),
        _ => {
            let kind = kind.map_or_else(|| "a precision alone".to_owned(), |k| format!("{k:?}"));
            return refuse(format!("{} cannot be formatted with {kind}", described(value)));
        }
    };
    if !layout.group {
        return Ok(plain);
    }
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(c);
    }
    Ok([sign, &grouped, rest].concat())
}
