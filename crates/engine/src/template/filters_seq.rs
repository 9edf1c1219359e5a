//! jinja2's filters over sequences.

use std::cmp::Ordering;

use super::access::path;
use super::args::{Args, flag, optional_int, optional_string, string};
use super::meter::{Fault, Meter, Outcome, refuse};
use super::ops::{Arith, arith, described};
use super::text::write_str;
use super::value::{SeqKind, Value};
use super::{filters, methods, predicates};

/// Filters of this file.
pub(super) const NAMES: &[&str] = &[
    "batch",
    "count",
    "dictsort",
    "first",
    "join",
    "last",
    "length",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "slice",
    "sort",
    "sum",
    "unique",
];

/// `value | name(args)` for a name of [`NAMES`].
pub(super) fn apply(name: &str, value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    match name {
        "join" => join(value, args, meter),
        "map" => map(value, args, meter),
        "select" | "reject" => select(name == "select", None, value, args, meter),
        "selectattr" | "rejectattr" => {
            let mut args = args;
            if args.pos.is_empty() {
                return refuse(format!("{name} needs the name of an attribute"));
            }
            let attribute = args.pos.remove(0);
            select(name == "selectattr", Some(attribute), value, args, meter)
        }
        "dictsort" => dictsort(value, args, meter),
        "sort" => {
            let [reverse, case, attribute] =
                args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let items = value.iterate(meter)?.items.clone();
            let items = sorted(
                items,
                flag(reverse.as_ref()),
                flag(case.as_ref()),
                attribute.as_ref(),
                meter,
            )?;
            Value::list(meter, items)
        }
        "unique" => unique(value, args, meter),
        "min" | "max" => {
            let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let items = value.iterate(meter)?.items.clone();
            let mut items =
                sorted(items, name == "max", flag(case.as_ref()), attribute.as_ref(), meter)?;
            items.truncate(1);
            Ok(items.pop().unwrap_or_else(|| Value::Undefined("the extreme of nothing".into())))
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"])?;
            let mut total = start.unwrap_or(Value::Int(0));
            for item in &value.iterate(meter)?.items {
                total = arith(Arith::Add, &total, &keyed(item, attribute.as_ref(), meter)?, meter)?;
            }
            Ok(total)
        }
        "batch" | "slice" => groups(name, value, args, meter),
        _ => {
            args.bind::<0>(name, [])?;
            simple(name, value, meter)
        }
    }
}

/// Filters without arguments.
fn simple(name: &str, value: &Value, meter: &Meter) -> Outcome<Value> {
    let nothing = || Value::Undefined("an item of an empty sequence".into());
    match name {
        "length" | "count" => Ok(Value::Int(value.len(meter)? as i128)),
        "list" => Value::list(meter, value.iterate(meter)?.items.clone()),
        "first" => Ok(value.first(meter)?.unwrap_or_else(nothing)),
        "last" if matches!(value, Value::Gen(_)) => refuse("a generator has no last item"),
        "last" => Ok(value.iterate(meter)?.items.last().cloned().unwrap_or_else(nothing)),
        _ => {
            if let Some(text) = value.as_str() {
                return Value::text(meter, text.chars().rev().collect::<String>());
            }
            Value::lazy(meter, value.iterate(meter)?.items.iter().rev().cloned().collect())
        }
    }
}

/// The item itself or the attribute of it that a filter was asked to look at.
fn keyed(item: &Value, attribute: Option<&Value>, meter: &Meter) -> Outcome<Value> {
    match attribute {
        None | Some(Value::None) => Ok(item.clone()),
        Some(attribute) => path(item, attribute, None, meter),
    }
}

/// Lower case of a text, for comparisons that ignore case.
fn folded(value: Value, case: bool, meter: &Meter) -> Outcome<Value> {
    match value.as_str() {
        Some(text) if !case => Value::text(meter, text.to_lowercase()),
        _ => Ok(value),
    }
}

/// A stable sort by an attribute.
fn sorted(
    items: Vec<Value>,
    reverse: bool,
    case: bool,
    attribute: Option<&Value>,
    meter: &Meter,
) -> Outcome<Vec<Value>> {
    let mut pairs = Vec::with_capacity(items.len());
    for item in items {
        pairs.push((folded(keyed(&item, attribute, meter)?, case, meter)?, item));
    }
    let mut fault: Option<Fault> = None;
    pairs.sort_by(|(a, _), (b, _)| match a.order(b, meter) {
        _ if fault.is_some() => Ordering::Equal,
        Ok(order) if reverse => order.unwrap_or(Ordering::Equal).reverse(),
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(found) => {
            fault = Some(found);
            Ordering::Equal
        }
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(pairs.into_iter().map(|(_, item)| item).collect()),
    }
}

fn dictsort(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [case, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let Value::Dict(dict) = value else {
        return refuse(format!("dictsort needs a mapping, not {}", described(value)));
    };
    let place = match optional_string("dictsort", by.as_ref())?.as_deref() {
        None | Some("key") => 0,
        Some("value") => 1,
        Some(other) => return refuse(format!("dictsort sorts by key or value, not {other}")),
    };
    let pairs = methods::pairs(dict, meter)?;
    let place = Some(&Value::Int(place)).cloned();
    let sorted = sorted(pairs, flag(reverse.as_ref()), flag(case.as_ref()), place.as_ref(), meter)?;
    Value::list(meter, sorted)
}

fn unique(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [case, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let mut seen: Vec<Value> = Vec::new();
    let mut kept = Vec::new();
    'items: for item in &value.iterate(meter)?.items {
        let key = folded(keyed(item, attribute.as_ref(), meter)?, flag(case.as_ref()), meter)?;
        for earlier in &seen {
            if earlier.equals(&key, meter)? {
                continue 'items;
            }
        }
        seen.push(key);
        kept.push(item.clone());
    }
    Value::lazy(meter, kept)
}

fn join(value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [glue, attribute] = args.bind("join", ["d", "attribute"])?;
    let glue = match glue {
        Some(glue) => super::text::to_str(&glue, meter)?,
        None => String::new(),
    };
    let mut out = String::new();
    for (i, item) in value.iterate(meter)?.items.iter().enumerate() {
        if i > 0 {
            meter.text(glue.len())?;
            out.push_str(&glue);
        }
        write_str(&keyed(item, attribute.as_ref(), meter)?, meter, &mut out)?;
    }
    Value::text(meter, out)
}

/// Like `select`, yields nothing for whatever counts as false, even `none`.
fn map(value: &Value, mut args: Args, meter: &Meter) -> Outcome<Value> {
    if !value.truth() {
        return Value::lazy(meter, Vec::new());
    }
    let mut mapped = Vec::new();
    if args.pos.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let Some(attribute) = attribute else {
            return refuse("map needs a filter or an attribute");
        };
        for item in &value.iterate(meter)?.items {
            mapped.push(path(item, &attribute, default.as_ref(), meter)?);
        }
        return Value::lazy(meter, mapped);
    }
    let name = string("map", Some(&args.pos.remove(0)))?;
    for item in &value.iterate(meter)?.items {
        let args = Args { pos: args.pos.clone(), kw: args.kw.clone() };
        mapped.push(meter.nested(|| filters::apply(&name, item, args, meter))?);
    }
    Value::lazy(meter, mapped)
}

fn select(
    keep: bool,
    attribute: Option<Value>,
    value: &Value,
    mut args: Args,
    meter: &Meter,
) -> Outcome<Value> {
    if !value.truth() {
        return Value::lazy(meter, Vec::new());
    }
    let test = match args.pos.is_empty() {
        true => None,
        false => Some(string("select", Some(&args.pos.remove(0)))?),
    };
    let mut kept = Vec::new();
    for item in &value.iterate(meter)?.items {
        meter.step()?;
        let looked_at = keyed(item, attribute.as_ref(), meter)?;
        let holds = match &test {
            None => looked_at.truth(),
            Some(test) => {
                let args = Args { pos: args.pos.clone(), kw: args.kw.clone() };
                predicates::holds(test, &looked_at, args, meter)?
            }
        };
        if holds == keep {
            kept.push(item.clone());
        }
    }
    Value::lazy(meter, kept)
}

/// `batch(linecount)` and `slice(slices)`.
fn groups(name: &str, value: &Value, args: Args, meter: &Meter) -> Outcome<Value> {
    let [count, fill] = args.bind(name, ["count", "fill_with"])?;
    let count = optional_int(name, count.as_ref())?.and_then(|n| usize::try_from(n).ok());
    let Some(count) = count.filter(|n| (1..=100_000).contains(n)) else {
        return refuse(format!("{name} needs a count from 1 to 100000"));
    };
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = value.iterate(meter)?;
    let mut rows = Vec::new();
    let mut rest = &items.items[..];
    let (each, extra) = (items.items.len() / count, items.items.len() % count);
    loop {
        let batch = name == "batch";
        if if batch { rest.is_empty() } else { rows.len() == count } {
            break;
        }
        let size =
            if batch { count.min(rest.len()) } else { each + usize::from(rows.len() < extra) };
        let (row, tail) = rest.split_at(size);
        let mut row = row.to_vec();
        rest = tail;
        if let Some(fill) = &fill {
            let full = if batch { count } else { each + usize::from(extra > 0) };
            meter.alloc(full * size_of::<Value>())?;
            row.resize(full.max(row.len()), fill.clone());
        }
        rows.push(Value::seq(meter, SeqKind::List, row)?);
    }
    Value::lazy(meter, rows)
}
