//! `value.name` and `value[key]`, with jinja2's order of lookups.
//!
//! A dot looks for a method first and an item second (`tool.items` is the method even where the
//! dict has such a key); a subscript the other way round. What is missing is undefined, not an
//! error.

use std::rc::Rc;

use super::meter::{Meter, Outcome, refuse};
use super::methods;
use super::ops::item;
use super::value::{LoopState, Value};

/// `value.name`.
pub(super) fn attribute(value: &Value, name: &str, meter: &Meter) -> Outcome<Value> {
    if let Value::Undefined(what) = value {
        return refuse(format!("{what} is undefined, so it has no member {name}"));
    }
    if let Some(found) = own(value, name).or_else(|| methods::method(value, name)) {
        return Ok(found);
    }
    match value {
        Value::Dict(_) => subscript(value, &Value::Str(name.into()), meter),
        _ => Ok(Value::Undefined(name.into())),
    }
}

/// `value[key]`.
pub(super) fn subscript(value: &Value, key: &Value, meter: &Meter) -> Outcome<Value> {
    if let Some(found) = item(value, key, meter)? {
        return Ok(found);
    }
    let Some(name) = key.as_str() else {
        return Ok(Value::Undefined("an item".into()));
    };
    let found = own(value, name).or_else(|| methods::method(value, name));
    Ok(found.unwrap_or_else(|| Value::Undefined(name.into())))
}

/// Members of namespaces and loops.
fn own(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Namespace(namespace) => namespace.members.borrow().get(name).cloned(),
        Value::Loop(state) => loop_member(state, name),
        _ => None,
    }
}

fn loop_member(state: &Rc<LoopState>, name: &str) -> Option<Value> {
    let at = state.index.get();
    let items = &state.items.items;
    let int = |n: usize| Some(Value::Int(n as i128));
    let beside = |at: Option<usize>| {
        let item = at.and_then(|at| items.get(at)).cloned();
        Some(item.unwrap_or_else(|| Value::Undefined(name.into())))
    };
    match name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(items.len() - at),
        "revindex0" => int(items.len() - at - 1),
        "first" => Some(Value::Bool(at == 0)),
        "last" => Some(Value::Bool(at + 1 == items.len())),
        "length" => int(items.len()),
        "depth" => int(state.depth),
        "depth0" => int(state.depth - 1),
        "previtem" => beside(at.checked_sub(1)),
        "nextitem" => beside(at.checked_add(1)),
        _ => None,
    }
}

/// The value at a dotted path, as filters take it in `attribute=`; `default` stands for each part
/// that is missing.
pub(super) fn path(
    value: &Value,
    path: &Value,
    default: Option<&Value>,
    meter: &Meter,
) -> Outcome<Value> {
    let or_default = |found: Value| match (&found, default) {
        (Value::Undefined(_), Some(default)) => default.clone(),
        _ => found,
    };
    let Some(text) = path.as_str() else {
        return Ok(or_default(subscript(value, path, meter)?));
    };
    let mut at = value.clone();
    for part in text.split('.') {
        let key = match part.parse::<u32>() {
            Ok(index) => Value::Int(i128::from(index)),
            Err(_) => Value::Str(part.into()),
        };
        at = or_default(subscript(&at, &key, meter)?);
    }
    Ok(at)
}
