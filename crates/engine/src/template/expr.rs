//! Evaluates expressions, calls and macros of a running template.

use std::rc::Rc;

use minijinja::Value as Literal;
use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind};

use super::access::{attribute, subscript};
use super::args::{Args, string};
use super::eval::{MacroDef, Run, Scope};
use super::meter::{Fault, FaultKind, Outcome, refuse};
use super::methods;
use super::ops::{Arith, arith, concat, described, negate, slice};
use super::text::to_str;
use super::value::{Dict, Namespace, SeqKind, Value};
use super::{filters, predicates};

/// Longest `range`, as in the sandbox of jinja2.
const MAX_RANGE: i128 = 100_000;

impl<'a> Run<'a> {
    /// The value of an expression; a text without its mark.
    pub(super) fn eval(&self, expr: &'a Expr<'a>, scope: &Rc<Scope<'a>>) -> Outcome<Value> {
        Ok(match self.marked(expr, scope)? {
            Value::Markup(text) => Value::Str(text),
            value => value,
        })
    }

    /// The value of an expression; a text keeps its mark of safety.
    pub(super) fn marked(&self, expr: &'a Expr<'a>, scope: &Rc<Scope<'a>>) -> Outcome<Value> {
        self.meter.step()?;
        match expr {
            Expr::Var(var) => Ok(self.lookup(var.id, scope)),
            Expr::Const(literal) => self.literal(&literal.value),
            _ => self.meter.nested(|| self.compound(expr, scope)),
        }
    }

    fn literal(&self, literal: &Literal) -> Outcome<Value> {
        if let Some(text) = literal.as_str() {
            return Value::text(self.meter, text);
        }
        if literal.is_none() {
            return Ok(Value::None);
        }
        if let Ok(b) = bool::try_from(literal.clone()) {
            return Ok(Value::Bool(b));
        }
        match (
            literal.is_integer(),
            i128::try_from(literal.clone()),
            f64::try_from(literal.clone()),
        ) {
            (true, Ok(i), _) => Ok(Value::Int(i)),
            (_, _, Ok(f)) => Ok(Value::Float(f)),
            _ => refuse(format!("the constant {literal} is out of range")),
        }
    }

    fn compound(&self, expr: &'a Expr<'a>, scope: &Rc<Scope<'a>>) -> Outcome<Value> {
        match expr {
            Expr::GetAttr(get) => attribute(&self.eval(&get.expr, scope)?, get.name, self.meter),
            Expr::GetItem(get) => {
                let value = self.eval(&get.expr, scope)?;
                subscript(&value, &self.eval(&get.subscript_expr, scope)?, self.meter)
            }
            Expr::Slice(node) => {
                let bound = |bound: &'a Option<Expr<'a>>| match bound {
                    Some(bound) => self.eval(bound, scope),
                    None => Ok(Value::None),
                };
                let value = self.eval(&node.expr, scope)?;
                let (start, stop, step) =
                    (bound(&node.start)?, bound(&node.stop)?, bound(&node.step)?);
                slice(&value, [&start, &stop, &step], self.meter)
            }
            Expr::UnaryOp(unary) => {
                let value = self.eval(&unary.expr, scope)?;
                match unary.op {
                    UnaryOpKind::Not => Ok(Value::Bool(!value.truth())),
                    UnaryOpKind::Neg => negate(&value),
                }
            }
            Expr::BinOp(op) => self.binary(op.op, &op.left, &op.right, scope),
            Expr::Compare(chain) => {
                let mut left = self.eval(&chain.expr, scope)?;
                for link in &chain.ops {
                    let right = self.eval(&link.expr, scope)?;
                    if !self.compare(link.op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(cond) => {
                match (self.eval(&cond.test_expr, scope)?.truth(), &cond.false_expr) {
                    (true, _) => self.marked(&cond.true_expr, scope),
                    (false, Some(other)) => self.marked(other, scope),
                    (false, None) => Ok(Value::Undefined("the else of an if".into())),
                }
            }
            Expr::Filter(filter) => {
                let Some(inner) = &filter.expr else { return refuse("a filter needs a value") };
                let value = self.eval(inner, scope)?;
                filters::apply(filter.name, &value, self.args(&filter.args, scope)?, self.meter)
            }
            Expr::Test(test) => {
                let value = self.eval(&test.expr, scope)?;
                let args = self.args(&test.args, scope)?;
                Ok(Value::Bool(predicates::holds(test.name, &value, args, self.meter)?))
            }
            Expr::Call(call) => {
                let callee = self.eval(&call.expr, scope)?;
                let args = self.args(&call.args, scope)?;
                self.call(callee, args)
            }
            Expr::List(list) => Value::list(self.meter, self.all(&list.items, scope)?),
            Expr::Tuple(tuple) => {
                Value::seq(self.meter, SeqKind::Tuple, self.all(&tuple.items, scope)?)
            }
            Expr::Map(map) => {
                let keys = self.all(&map.keys, scope)?;
                let entries = keys.into_iter().zip(self.all(&map.values, scope)?).collect();
                Ok(Value::Dict(Dict::new(self.meter, entries)?.into()))
            }
            Expr::Var(_) | Expr::Const(_) => self.marked(expr, scope),
        }
    }

    fn all(&self, exprs: &'a [Expr<'a>], scope: &Rc<Scope<'a>>) -> Outcome<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn compare(&self, op: CompareOpKind, a: &Value, b: &Value) -> Outcome<bool> {
        let order = || a.order(b, self.meter);
        Ok(match op {
            CompareOpKind::Eq => a.equals(b, self.meter)?,
            CompareOpKind::Ne => !a.equals(b, self.meter)?,
            CompareOpKind::Lt => order()?.is_some_and(|o| o.is_lt()),
            CompareOpKind::Lte => order()?.is_some_and(|o| o.is_le()),
            CompareOpKind::Gt => order()?.is_some_and(|o| o.is_gt()),
            CompareOpKind::Gte => order()?.is_some_and(|o| o.is_ge()),
            CompareOpKind::In => b.contains(a, self.meter)?,
            CompareOpKind::NotIn => !b.contains(a, self.meter)?,
        })
    }

    fn binary(
        &self,
        op: BinOpKind,
        left: &'a Expr<'a>,
        right: &'a Expr<'a>,
        scope: &Rc<Scope<'a>>,
    ) -> Outcome<Value> {
        if let BinOpKind::Add = op {
            let a = self.marked(left, scope)?;
            return arith(Arith::Add, &a, &self.marked(right, scope)?, self.meter);
        }
        let a = self.eval(left, scope)?;
        match op {
            BinOpKind::ScAnd if !a.truth() => return Ok(a),
            BinOpKind::ScOr if a.truth() => return Ok(a),
            _ => {}
        }
        let b = self.eval(right, scope)?;
        let compared = match op {
            BinOpKind::ScAnd | BinOpKind::ScOr | BinOpKind::Add => return Ok(b),
            BinOpKind::Concat => return concat(&a, &b, self.meter),
            BinOpKind::Sub => return arith(Arith::Sub, &a, &b, self.meter),
            BinOpKind::Mul => return arith(Arith::Mul, &a, &b, self.meter),
            BinOpKind::Div => return arith(Arith::Div, &a, &b, self.meter),
            BinOpKind::FloorDiv => return arith(Arith::FloorDiv, &a, &b, self.meter),
            BinOpKind::Rem => return arith(Arith::Rem, &a, &b, self.meter),
            BinOpKind::Pow => return arith(Arith::Pow, &a, &b, self.meter),
            BinOpKind::Eq => CompareOpKind::Eq,
            BinOpKind::Ne => CompareOpKind::Ne,
            BinOpKind::Lt => CompareOpKind::Lt,
            BinOpKind::Lte => CompareOpKind::Lte,
            BinOpKind::Gt => CompareOpKind::Gt,
            BinOpKind::Gte => CompareOpKind::Gte,
            BinOpKind::In => CompareOpKind::In,
        };
        Ok(Value::Bool(self.compare(compared, &a, &b)?))
    }

    /// Evaluates the arguments of a call.
    pub(super) fn args(&self, nodes: &'a [CallArg<'a>], scope: &Rc<Scope<'a>>) -> Outcome<Args> {
        let mut args = Args::default();
        for node in nodes {
            match node {
                CallArg::Pos(expr) => args.pos.push(self.eval(expr, scope)?),
                CallArg::Kwarg(name, expr) => {
                    args.kw.push(((*name).into(), self.eval(expr, scope)?))
                }
                CallArg::PosSplat(expr) => {
                    let items = self.eval(expr, scope)?.iterate(self.meter)?;
                    self.meter.alloc(items.items.len() * size_of::<Value>())?;
                    args.pos.extend(items.items.iter().cloned());
                }
                CallArg::KwargSplat(expr) => match self.eval(expr, scope)? {
                    Value::Dict(dict) => {
                        for (key, value) in &dict.entries {
                            self.meter.alloc(64)?;
                            args.kw.push((string("**", Some(key))?, value.clone()));
                        }
                    }
                    other => {
                        return refuse(format!("** needs a mapping, not {}", described(&other)));
                    }
                },
            }
        }
        Ok(args)
    }

    /// Calls a value.
    pub(super) fn call(&self, callee: Value, args: Args) -> Outcome<Value> {
        match callee {
            Value::Method(method) => methods::call(&method.0, method.1, args, self.meter),
            Value::Macro(number) => {
                let called = self.macros.borrow()[number].clone();
                self.invoke(&called, args)
            }
            Value::Function(name) => self.function(name, args),
            Value::Loop(state) => self.reenter(&state, args),
            other => refuse(format!("{} cannot be called", described(&other))),
        }
    }

    /// Runs a macro: parameters by position, then by name, then by default.
    fn invoke(&self, called: &MacroDef<'a>, args: Args) -> Outcome<Value> {
        let decl = called.decl;
        let scope = Scope::inside(&called.scope);
        let required = decl.args.len() - decl.defaults.len();
        let mut pos = args.pos.into_iter();
        let mut kw = args.kw;
        for (i, parameter) in decl.args.iter().enumerate() {
            let Expr::Var(parameter) = parameter else {
                return refuse("a macro parameter is no name");
            };
            let name = parameter.id;
            let named = kw.iter().position(|(key, _)| &**key == name).map(|at| kw.remove(at).1);
            let value = match (pos.next(), named) {
                (Some(_), Some(_)) => {
                    return refuse(format!("macro {} got two values for {name}", decl.name));
                }
                (Some(value), None) | (None, Some(value)) => value,
                (None, None) => match i.checked_sub(required) {
                    Some(at) => self.eval(&decl.defaults[at], &scope)?,
                    None => Value::Undefined(name.into()),
                },
            };
            scope.set(name, value);
        }
        if let Some(at) = kw.iter().position(|(key, _)| &**key == "caller") {
            scope.set("caller", kw.remove(at).1);
        }
        self.spare(called, &scope, pos.collect(), kw)?;
        let text = self.capture(&decl.body, &scope)?;
        Value::text(self.meter, text)
    }

    /// Arguments beyond the parameters: `varargs` and `kwargs`, if the macro mentions them.
    fn spare(
        &self,
        called: &MacroDef<'a>,
        scope: &Scope<'a>,
        pos: Vec<Value>,
        kw: Vec<(Rc<str>, Value)>,
    ) -> Outcome<()> {
        let name = called.decl.name;
        if called.source.contains("varargs") {
            scope.set("varargs", Value::seq(self.meter, SeqKind::Tuple, pos)?);
        } else if !pos.is_empty() {
            return refuse(format!(
                "macro {name} takes at most {} arguments",
                called.decl.args.len()
            ));
        }
        if called.source.contains("kwargs") {
            let entries = kw.into_iter().map(|(key, value)| (Value::Str(key), value)).collect();
            scope.set("kwargs", Value::Dict(Dict::new(self.meter, entries)?.into()));
        } else if let Some((key, _)) = kw.first() {
            return refuse(format!("macro {name} knows no argument {key}"));
        }
        Ok(())
    }

    /// The global functions.
    fn function(&self, name: &'static str, args: Args) -> Outcome<Value> {
        match name {
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                let message = to_str(&message.unwrap_or(Value::None), self.meter)?;
                Err(Fault { kind: FaultKind::Raised, message })
            }
            "strftime_now" => {
                let [format] = args.bind(name, ["format"])?;
                let format = string(name, format.as_ref())?;
                match self.date {
                    Some(date) => Value::text(self.meter, date.format(&format)?),
                    None => refuse("no date is known here"),
                }
            }
            "range" => self.range(args),
            _ => {
                let mut entries = Vec::new();
                for value in &args.pos {
                    match value {
                        Value::Dict(dict) => entries.extend(dict.entries.iter().cloned()),
                        other => {
                            return refuse(format!(
                                "{name} needs a mapping, not {}",
                                described(other)
                            ));
                        }
                    }
                }
                entries.extend(args.kw.into_iter().map(|(key, value)| (Value::Str(key), value)));
                let dict = Dict::new(self.meter, entries)?;
                if name == "dict" {
                    return Ok(Value::Dict(dict.into()));
                }
                let namespace = Rc::new(Namespace::default());
                for (key, value) in &dict.entries {
                    namespace.members.borrow_mut().insert(string(name, Some(key))?, value.clone());
                }
                self.namespaces.borrow_mut().push(namespace.clone());
                Ok(Value::Namespace(namespace))
            }
        }
    }

    fn range(&self, args: Args) -> Outcome<Value> {
        let mut numbers = Vec::new();
        for value in &args.pos {
            match value.as_int() {
                Some(i) => numbers.push(i),
                None => return refuse(format!("range needs integers, not {}", described(value))),
            }
        }
        let (start, stop, step) = match numbers[..] {
            [stop] => (0, stop, 1),
            [start, stop] => (start, stop, 1),
            [start, stop, step] if step != 0 => (start, stop, step),
            _ => return refuse("range needs one to three integers, and a step that is not 0"),
        };
        let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
        let size = span.max(0).saturating_add(step.saturating_abs() - 1) / step.saturating_abs();
        if size > MAX_RANGE {
            return refuse(format!(
                "a range of {size} numbers is too long; at most {MAX_RANGE} are allowed"
            ));
        }
        self.meter.alloc(size as usize * size_of::<Value>())?;
        let items =
            (0..size).map(|i| Value::Int(start.saturating_add(i.saturating_mul(step)))).collect();
        Value::seq(self.meter, SeqKind::Range, items)
    }
}
