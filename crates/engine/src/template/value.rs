//! The values of a template, with Python's meaning: truth, equality, order, hashing, containment.
//!
//! Values are immutable (the sandbox the field uses forbids `list.append` and the like) except for
//! `namespace`. Nesting is bounded when a container is made, so that no recursion over a value can
//! exhaust the stack. Text forms are in `text.rs`, arithmetic in `ops.rs`.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use super::meter::{Meter, Outcome, refuse};

/// Deepest nesting of lists and dicts.
const MAX_NESTING: u32 = 160;

/// A value while a template runs.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A missing name or member; carries what was looked for.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<str>),
    /// A text marked safe for HTML: `+` escapes what is joined to it. Only `+`, assignment and
    /// output see the mark (`Run::marked`); everything else gets a plain text.
    Markup(Rc<str>),
    Seq(Rc<Seq>),
    Dict(Rc<Dict>),
    /// A lazy sequence of Python: has no length and is used up by one iteration.
    Gen(Rc<Gen>),
    Namespace(Rc<Namespace>),
    /// The `loop` variable.
    Loop(Rc<LoopState>),
    /// A macro, by its number in the running template.
    Macro(usize),
    /// A global function.
    Function(&'static str),
    /// A method bound to its receiver.
    Method(Rc<(Value, &'static str)>),
}

/// What Python type a sequence has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeqKind {
    List,
    Tuple,
    Range,
    Keys,
    Values,
    Items,
}

/// A sequence that is wholly in memory.
#[derive(Debug)]
pub(super) struct Seq {
    pub(super) kind: SeqKind,
    pub(super) items: Vec<Value>,
    depth: u32,
}

/// A generator: its items, and whether they were taken.
#[derive(Debug)]
pub(super) struct Gen {
    items: Rc<Seq>,
    taken: Cell<usize>,
}

/// A dict in insertion order.
#[derive(Debug, Default)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    depth: u32,
}

/// A hashable value: numbers that are equal in Python have one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    None,
    Int(i128),
    Float(u64),
    Str(Rc<str>),
}

/// The object of `namespace()`: the one thing that a template can change.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) members: RefCell<HashMap<Rc<str>, Value>>,
}

/// State of a running `for` loop.
#[derive(Debug)]
pub(super) struct LoopState {
    pub(super) items: Rc<Seq>,
    pub(super) index: Cell<usize>,
    pub(super) depth: usize,
    /// Number of the recursive loop that `loop(...)` calls.
    pub(super) recursive: Option<usize>,
    pub(super) changed: RefCell<Option<Vec<Value>>>,
}

impl Value {
    /// A string, charged to the meter.
    pub(super) fn text(meter: &Meter, text: impl AsRef<str>) -> Outcome<Value> {
        let text = text.as_ref();
        meter.text(text.len())?;
        Ok(Value::Str(text.into()))
    }

    /// A sequence of `kind`, charged to the meter.
    pub(super) fn seq(meter: &Meter, kind: SeqKind, items: Vec<Value>) -> Outcome<Value> {
        Ok(Value::Seq(Rc::new(Seq::new(meter, kind, items)?)))
    }

    /// A list, charged to the meter.
    pub(super) fn list(meter: &Meter, items: Vec<Value>) -> Outcome<Value> {
        Self::seq(meter, SeqKind::List, items)
    }

    /// A generator over `items`, charged to the meter.
    pub(super) fn lazy(meter: &Meter, items: Vec<Value>) -> Outcome<Value> {
        let items = Rc::new(Seq::new(meter, SeqKind::List, items)?);
        Ok(Value::Gen(Rc::new(Gen { items, taken: Cell::new(0) })))
    }

    /// Python's name of the type, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "undefined",
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) | Value::Markup(_) => "str",
            Value::Seq(seq) => match seq.kind {
                SeqKind::List => "list",
                SeqKind::Tuple => "tuple",
                SeqKind::Range => "range",
                SeqKind::Keys => "dict_keys",
                SeqKind::Values => "dict_values",
                SeqKind::Items => "dict_items",
            },
            Value::Dict(_) => "dict",
            Value::Gen(_) => "generator",
            Value::Namespace(_) => "namespace",
            Value::Loop(_) => "loop",
            Value::Macro(_) => "macro",
            Value::Function(_) => "function",
            Value::Method(_) => "method",
        }
    }

    /// Python's truth.
    pub(super) fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::Seq(seq) => !seq.items.is_empty(),
            Value::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    /// The string inside, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The integer inside (a bool counts as one, as in Python).
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// Number of items, as `len()` counts them.
    pub(super) fn len(&self, meter: &Meter) -> Outcome<usize> {
        match self {
            Value::Undefined(_) => Ok(0),
            Value::Str(s) => {
                meter.scan(s.len())?;
                Ok(s.chars().count())
            }
            Value::Seq(seq) => Ok(seq.items.len()),
            Value::Dict(dict) => Ok(dict.entries.len()),
            Value::Loop(state) => Ok(state.items.items.len()),
            other => refuse(format!("a value of type {} has no length", other.type_name())),
        }
    }

    /// The items that iterating yields, as a list; a generator is used up.
    pub(super) fn iterate(&self, meter: &Meter) -> Outcome<Rc<Seq>> {
        let items = match self {
            Value::Seq(seq) => return Ok(seq.clone()),
            Value::Gen(g) => {
                let taken = g.taken.replace(g.items.items.len());
                if taken == 0 {
                    return Ok(g.items.clone());
                }
                g.items.items[taken..].to_vec()
            }
            Value::Undefined(_) => Vec::new(),
            Value::Str(s) => {
                meter.alloc(s.len() * 40)?;
                let mut utf8 = [0; 4];
                s.chars().map(|c| Value::Str((&*c.encode_utf8(&mut utf8)).into())).collect()
            }
            Value::Dict(dict) => dict.entries.iter().map(|(key, _)| key.clone()).collect(),
            other => {
                return refuse(format!("a value of type {} is not iterable", other.type_name()));
            }
        };
        Ok(Rc::new(Seq::new(meter, SeqKind::List, items)?))
    }

    /// Whether iterating works at all.
    pub(super) fn is_iterable(&self) -> bool {
        matches!(
            self,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::Seq(_)
                | Value::Dict(_)
                | Value::Gen(_)
                | Value::Loop(_)
        )
    }

    /// The next item of a generator or the first of anything else.
    pub(super) fn first(&self, meter: &Meter) -> Outcome<Option<Value>> {
        if let Value::Gen(g) = self {
            let at = g.taken.get();
            let item = g.items.items.get(at).cloned();
            g.taken.set((at + 1).min(g.items.items.len()));
            return Ok(item);
        }
        Ok(self.iterate(meter)?.items.first().cloned())
    }

    /// Nesting depth of the value.
    fn depth(&self) -> u32 {
        match self {
            Value::Seq(seq) => seq.depth,
            Value::Dict(dict) => dict.depth,
            Value::Gen(g) => g.items.depth + 1,
            Value::Loop(state) => state.items.depth + 1,
            Value::Method(method) => method.0.depth() + 1,
            _ => 0,
        }
    }

    /// Python's `==`.
    pub(super) fn equals(&self, other: &Value, meter: &Meter) -> Outcome<bool> {
        meter.step()?;
        Ok(match (self, other) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => {
                meter.scan(a.len().min(b.len()))?;
                a == b
            }
            (Value::Seq(a), Value::Seq(b)) => {
                if a.kind != b.kind || a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (x, y) in a.items.iter().zip(&b.items) {
                    if !x.equals(y, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if a.entries.len() != b.entries.len() {
                    return Ok(false);
                }
                for (key, x) in &a.entries {
                    match b.get(key) {
                        Some(y) if x.equals(y, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
            (Value::Gen(a), Value::Gen(b)) => Rc::ptr_eq(a, b),
            (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
            (Value::Macro(a), Value::Macro(b)) => a == b,
            (Value::Function(a), Value::Function(b)) => a == b,
            _ => match (self.as_int(), other.as_int(), self.as_f64(), other.as_f64()) {
                (Some(a), Some(b), ..) => a == b,
                (.., Some(a), Some(b)) => a == b,
                _ => false,
            },
        })
    }

    /// The number inside as a float.
    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(f) => Some(*f),
            _ => self.as_int().map(|i| i as f64),
        }
    }

    /// Python's order; `None` for NaN. Types that Python does not order are a fault.
    pub(super) fn order(&self, other: &Value, meter: &Meter) -> Outcome<Option<Ordering>> {
        meter.step()?;
        match (self, other) {
            (Value::Str(a), Value::Str(b)) => {
                meter.scan(a.len().min(b.len()))?;
                Ok(Some(a.cmp(b)))
            }
            (Value::Seq(a), Value::Seq(b)) if a.kind == b.kind => {
                for (x, y) in a.items.iter().zip(&b.items) {
                    if !x.equals(y, meter)? {
                        return x.order(y, meter);
                    }
                }
                Ok(Some(a.items.len().cmp(&b.items.len())))
            }
            _ => match (self.as_int(), other.as_int(), self.as_f64(), other.as_f64()) {
                (Some(a), Some(b), ..) => Ok(Some(a.cmp(&b))),
                (.., Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
                _ => refuse(format!(
                    "values of type {} and {} have no order",
                    self.type_name(),
                    other.type_name()
                )),
            },
        }
    }

    /// Python's `needle in self`.
    pub(super) fn contains(&self, needle: &Value, meter: &Meter) -> Outcome<bool> {
        match self {
            Value::Str(text) => match needle.as_str() {
                Some(part) => {
                    meter.scan(text.len())?;
                    Ok(text.contains(part))
                }
                None => {
                    refuse(format!("only a str is looked for in a str, not {}", needle.type_name()))
                }
            },
            Value::Dict(dict) => {
                hashable(needle)?;
                Ok(dict.get(needle).is_some())
            }
            other => {
                for item in &other.iterate(meter)?.items {
                    if item.equals(needle, meter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

impl Seq {
    /// Charges and bounds a sequence.
    pub(super) fn new(meter: &Meter, kind: SeqKind, items: Vec<Value>) -> Outcome<Self> {
        meter.alloc(32 + items.len() * size_of::<Value>())?;
        let depth = bounded(items.iter().map(Value::depth))?;
        Ok(Self { kind, items, depth })
    }
}

/// One more than the deepest child, within the limit.
fn bounded(children: impl Iterator<Item = u32>) -> Outcome<u32> {
    let depth = 1 + children.max().unwrap_or(0);
    if depth > MAX_NESTING {
        return refuse(format!("lists and dicts are nested deeper than {MAX_NESTING} levels"));
    }
    Ok(depth)
}

impl Dict {
    /// A dict of these entries; a later key replaces the value of an equal earlier one.
    pub(super) fn new(meter: &Meter, entries: Vec<(Value, Value)>) -> Outcome<Self> {
        meter.alloc(64 + entries.len() * (2 * size_of::<Value>() + 48))?;
        let depth = bounded(entries.iter().map(|(_, value)| value.depth()))?;
        let mut dict =
            Self { entries: Vec::with_capacity(entries.len()), depth, ..Self::default() };
        for (key, value) in entries {
            let hash = hashable(&key)?;
            match dict.index.get(&hash) {
                Some(&at) => dict.entries[at].1 = value,
                None => {
                    dict.index.insert(hash, dict.entries.len());
                    dict.entries.push((key, value));
                }
            }
        }
        Ok(dict)
    }

    /// The value of a key; `None` also for a key that cannot be one.
    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        let at = *self.index.get(&key_of(key)?)?;
        Some(&self.entries[at].1)
    }
}

/// The key of a hashable value.
fn key_of(value: &Value) -> Option<Key> {
    Some(match value {
        Value::None => Key::None,
        Value::Str(s) => Key::Str(s.clone()),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e30 => Key::Int(*f as i128),
        Value::Float(f) => Key::Float(f.to_bits()),
        other => Key::Int(other.as_int()?),
    })
}

/// The key of a value, or Python's refusal.
fn hashable(value: &Value) -> Outcome<Key> {
    match key_of(value) {
        Some(key) => Ok(key),
        None => refuse(format!("a value of type {} cannot be a dict key", value.type_name())),
    }
}
