//! Python's operators, subscripts and slices over template values.

use std::rc::Rc;

use super::meter::{Meter, Outcome, refuse};
use super::printf::percent;
use super::text::to_str;
use super::value::{Seq, SeqKind, Value};

/// An arithmetic operator, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

impl Arith {
    fn sign(self) -> &'static str {
        match self {
            Arith::Add => "+",
            Arith::Sub => "-",
            Arith::Mul => "*",
            Arith::Div => "/",
            Arith::FloorDiv => "//",
            Arith::Rem => "%",
            Arith::Pow => "**",
        }
    }
}

/// `a op b`.
pub(super) fn arith(op: Arith, a: &Value, b: &Value, meter: &Meter) -> Outcome<Value> {
    match (op, a, b) {
        (Arith::Add, Value::Str(x), Value::Str(y)) => {
            meter.text(x.len() + y.len())?;
            Ok(Value::Str([&**x, &**y].concat().into()))
        }
        (Arith::Add, Value::Markup(x), Value::Markup(y)) => joined(x, y, meter),
        (Arith::Add, Value::Markup(x), Value::Str(y)) => joined(x, &escape(y, meter)?, meter),
        (Arith::Add, Value::Str(x), Value::Markup(y)) => joined(&escape(x, meter)?, y, meter),
        (Arith::Add, Value::Seq(x), Value::Seq(y)) if joinable(x, y) => {
            meter.alloc((x.items.len() + y.items.len()) * size_of::<Value>())?;
            Value::seq(meter, x.kind, [&x.items[..], &y.items[..]].concat())
        }
        (Arith::Mul, Value::Str(s), n) | (Arith::Mul, n, Value::Str(s)) if n.as_int().is_some() => {
            let n = times(n);
            meter.text(s.len().saturating_mul(n))?;
            Ok(Value::Str(s.repeat(n).into()))
        }
        (Arith::Mul, Value::Seq(s), n) | (Arith::Mul, n, Value::Seq(s))
            if n.as_int().is_some() && matches!(s.kind, SeqKind::List | SeqKind::Tuple) =>
        {
            let n = times(n);
            meter.alloc(s.items.len().saturating_mul(n).saturating_mul(size_of::<Value>()))?;
            let items = (0..n).flat_map(|_| s.items.iter().cloned()).collect();
            Value::seq(meter, s.kind, items)
        }
        (Arith::Rem, Value::Str(format), args) => percent(format, args, meter),
        _ => match (a.as_int(), b.as_int(), a.as_f64(), b.as_f64()) {
            (Some(x), Some(y), ..) => integers(op, x, y),
            (.., Some(x), Some(y)) => floats(op, x, y),
            _ => refuse(format!(
                "unsupported types for {}: {} and {}",
                op.sign(),
                described(a),
                described(b)
            )),
        },
    }
}

/// Two texts safe for HTML as one.
fn joined(x: &str, y: &str, meter: &Meter) -> Outcome<Value> {
    meter.text(x.len() + y.len())?;
    Ok(Value::Markup([x, y].concat().into()))
}

/// The text with the characters that mean something in HTML replaced.
pub(super) fn escape(text: &str, meter: &Meter) -> Outcome<String> {
    meter.text(text.len().saturating_mul(5))?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A type for a message, with the name of what is undefined.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Undefined(name) => format!("undefined ({name})"),
        other => other.type_name().to_owned(),
    }
}

fn joinable(x: &Rc<Seq>, y: &Rc<Seq>) -> bool {
    x.kind == y.kind && matches!(x.kind, SeqKind::List | SeqKind::Tuple)
}

/// A repetition count; negative counts are none.
fn times(n: &Value) -> usize {
    usize::try_from(n.as_int().unwrap_or(0).max(0)).unwrap_or(usize::MAX)
}

fn integers(op: Arith, x: i128, y: i128) -> Outcome<Value> {
    if y == 0 && matches!(op, Arith::Div | Arith::FloorDiv | Arith::Rem) {
        return refuse("division by zero");
    }
    let result = match op {
        Arith::Add => x.checked_add(y),
        Arith::Sub => x.checked_sub(y),
        Arith::Mul => x.checked_mul(y),
        Arith::Div => return Ok(Value::Float(x as f64 / y as f64)),
        Arith::FloorDiv => x.checked_div_euclid(y).map(|q| {
            if y < 0 && x.checked_rem_euclid(y).is_some_and(|r| r != 0) { q - 1 } else { q }
        }),
        Arith::Rem => {
            x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r })
        }
        Arith::Pow if y < 0 => return floats(op, x as f64, y as f64),
        Arith::Pow => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
    };
    match result {
        Some(result) => Ok(Value::Int(result)),
        None => refuse("an integer grows beyond 128 bits"),
    }
}

fn floats(op: Arith, x: f64, y: f64) -> Outcome<Value> {
    if y == 0.0 && matches!(op, Arith::Div | Arith::FloorDiv | Arith::Rem) {
        return refuse("division by zero");
    }
    Ok(Value::Float(match op {
        Arith::Add => x + y,
        Arith::Sub => x - y,
        Arith::Mul => x * y,
        Arith::Div => x / y,
        Arith::FloorDiv => (x / y).floor(),
        Arith::Rem => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
        Arith::Pow => x.powf(y),
    }))
}

/// `-a`.
pub(super) fn negate(a: &Value) -> Outcome<Value> {
    match (a, a.as_int()) {
        (Value::Float(f), _) => Ok(Value::Float(-f)),
        (_, Some(i)) => integers(Arith::Sub, 0, i),
        _ => refuse(format!("cannot negate {}", described(a))),
    }
}

/// `a ~ b`: the texts of both.
pub(super) fn concat(a: &Value, b: &Value, meter: &Meter) -> Outcome<Value> {
    let mut text = to_str(a, meter)?;
    super::text::write_str(b, meter, &mut text)?;
    Value::text(meter, text)
}

/// `a[key]` of the types that have items; `None` where Python raises a lookup or type error.
pub(super) fn item(a: &Value, key: &Value, meter: &Meter) -> Outcome<Option<Value>> {
    Ok(match a {
        Value::Dict(dict) => dict.get(key).cloned(),
        Value::Seq(seq) if !matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range) => {
            None
        }
        Value::Seq(seq) => position(key, seq.items.len()).and_then(|at| seq.items.get(at).cloned()),
        Value::Str(s) => {
            meter.scan(s.len())?;
            let Some(at) = position(key, s.chars().count()) else { return Ok(None) };
            match s.chars().nth(at) {
                Some(c) => Some(Value::text(meter, c.encode_utf8(&mut [0; 4]))?),
                None => None,
            }
        }
        Value::Undefined(name) => return refuse(format!("{name} is undefined")),
        _ => None,
    })
}

/// An index counted from the end where it is negative.
fn position(key: &Value, len: usize) -> Option<usize> {
    let at = key.as_int()?;
    let at = if at < 0 { at.checked_add(i128::try_from(len).ok()?)? } else { at };
    usize::try_from(at).ok()
}

/// `a[start:stop:step]`.
pub(super) fn slice(a: &Value, bounds: [&Value; 3], meter: &Meter) -> Outcome<Value> {
    let [start, stop, step] = bounds;
    match a {
        Value::Str(s) => {
            meter.alloc(s.len() * 4)?;
            let chars: Vec<char> = s.chars().collect();
            let picked = places(chars.len(), start, stop, step)?;
            Value::text(meter, picked.into_iter().map(|i| chars[i]).collect::<String>())
        }
        Value::Seq(seq) if matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range) => {
            meter.alloc(seq.items.len() * 8)?;
            let picked = places(seq.items.len(), start, stop, step)?;
            let items = picked.into_iter().map(|i| seq.items[i].clone()).collect();
            Value::seq(meter, seq.kind, items)
        }
        other => refuse(format!("{} cannot be sliced", described(other))),
    }
}

/// The indices that a slice of a sequence of `len` items picks, in order.
fn places(len: usize, start: &Value, stop: &Value, step: &Value) -> Outcome<Vec<usize>> {
    let bound = |v: &Value| match (v, v.as_int()) {
        (Value::None, _) => Ok(None),
        (_, Some(i)) => Ok(Some(i)),
        _ => refuse(format!("a slice bound must be an integer, not {}", described(v))),
    };
    let step = bound(step)?.unwrap_or(1);
    if step == 0 {
        return refuse("a slice step cannot be zero");
    }
    let n = len as i128;
    let clamp = |v: Option<i128>, default: i128, low: i128, high: i128| match v {
        None => default,
        Some(v) if v < 0 => v.saturating_add(n).clamp(low, high),
        Some(v) => v.clamp(low, high),
    };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let start = clamp(bound(start)?, if step > 0 { 0 } else { n - 1 }, low, high);
    let stop = clamp(bound(stop)?, if step > 0 { n } else { -1 }, low, high);
    let mut picked = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        picked.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(picked)
}
