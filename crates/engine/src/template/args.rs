//! Arguments of a call, and their binding to parameter names.

use std::rc::Rc;

use super::meter::{Outcome, refuse};
use super::ops::described;
use super::value::Value;

/// Evaluated arguments.
#[derive(Default)]
pub(super) struct Args {
    pub(super) pos: Vec<Value>,
    pub(super) kw: Vec<(Rc<str>, Value)>,
}

impl Args {
    /// One value per parameter name; too many, unknown or doubled arguments are a fault.
    pub(super) fn bind<const N: usize>(
        self,
        callee: &str,
        names: [&str; N],
    ) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.pos.len() > N {
            return refuse(format!(
                "{callee} takes at most {N} arguments, {} given",
                self.pos.len()
            ));
        }
        for (slot, value) in bound.iter_mut().zip(self.pos) {
            *slot = Some(value);
        }
        for (key, value) in self.kw {
            match names.iter().position(|name| *name == &*key) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return refuse(format!("{callee} got two values for {key}")),
                None => return refuse(format!("{callee} knows no argument {key}")),
            }
        }
        Ok(bound)
    }
}

/// The string of an argument.
pub(super) fn string(callee: &str, value: Option<&Value>) -> Outcome<Rc<str>> {
    match value {
        Some(Value::Str(s)) => Ok(s.clone()),
        Some(other) => refuse(format!("{callee} needs a str, not {}", described(other))),
        None => refuse(format!("{callee} needs an argument")),
    }
}

/// The string of an optional argument; `None` and absence are alike.
pub(super) fn optional_string(callee: &str, value: Option<&Value>) -> Outcome<Option<Rc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        some => string(callee, some).map(Some),
    }
}

/// The integer of an optional argument.
pub(super) fn optional_int(callee: &str, value: Option<&Value>) -> Outcome<Option<i128>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => match value.as_int() {
            Some(i) => Ok(Some(i)),
            None => refuse(format!("{callee} needs an integer, not {}", described(value))),
        },
    }
}

/// The truth of an optional argument, absent meaning false.
pub(super) fn flag(value: Option<&Value>) -> bool {
    value.is_some_and(Value::truth)
}
