//! jinja2's tests: the words after `is`.

use super::args::Args;
use super::meter::{Meter, Outcome, refuse};
use super::ops::{Arith, arith, described};
use super::text::to_str;
use super::value::{SeqKind, Value};
use super::{filters, methods};

/// Whether `value is name(args)`.
pub(super) fn holds(name: &str, value: &Value, args: Args, meter: &Meter) -> Outcome<bool> {
    match name {
        "in" | "==" | "eq" | "equalto" | "!=" | "ne" | "<" | "lt" | "lessthan" | "<=" | "le"
        | ">" | "gt" | "greaterthan" | ">=" | "ge" | "sameas" | "divisibleby" => {
            let [other] = args.bind(name, ["other"])?;
            let Some(other) = other else {
                return refuse(format!("the test {name} needs an argument"));
            };
            against(name, value, &other, meter)
        }
        _ => {
            args.bind::<0>(name, [])?;
            alone(name, value, meter)
        }
    }
}

fn against(name: &str, value: &Value, other: &Value, meter: &Meter) -> Outcome<bool> {
    let order = || value.order(other, meter);
    Ok(match name {
        "in" => other.contains(value, meter)?,
        "==" | "eq" | "equalto" => value.equals(other, meter)?,
        "!=" | "ne" => !value.equals(other, meter)?,
        "<" | "lt" | "lessthan" => order()?.is_some_and(|o| o.is_lt()),
        "<=" | "le" => order()?.is_some_and(|o| o.is_le()),
        ">" | "gt" | "greaterthan" => order()?.is_some_and(|o| o.is_gt()),
        ">=" | "ge" => order()?.is_some_and(|o| o.is_ge()),
        "sameas" => value.type_name() == other.type_name() && value.equals(other, meter)?,
        _ => !arith(Arith::Rem, value, other, meter)?.truth(),
    })
}

fn alone(name: &str, value: &Value, meter: &Meter) -> Outcome<bool> {
    let parity = |odd: bool| match arith(Arith::Rem, value, &Value::Int(2), meter)? {
        Value::Int(rest) => Ok((rest == 1) == odd),
        _ => refuse(format!("{} is neither odd nor even", described(value))),
    };
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_f64().is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "iterable" => value.is_iterable(),
        "sequence" => match value {
            Value::Seq(seq) => matches!(seq.kind, SeqKind::List | SeqKind::Tuple | SeqKind::Range),
            other => matches!(other, Value::Str(_) | Value::Dict(_) | Value::Undefined(_)),
        },
        "callable" => matches!(value, Value::Macro(_) | Value::Function(_) | Value::Method(_)),
        "escaped" => false,
        "odd" => parity(true)?,
        "even" => parity(false)?,
        "lower" | "upper" => {
            let text = Value::text(meter, to_str(value, meter)?)?;
            let method = if name == "lower" { "islower" } else { "isupper" };
            methods::call(&text, method, Args::default(), meter)?.truth()
        }
        "filter" => value.as_str().is_some_and(filters::exists),
        _ => return refuse(format!("the test {name} is unknown")),
    })
}
