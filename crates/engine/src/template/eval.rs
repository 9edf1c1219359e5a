//! Runs a parsed template: statements, scopes, loops and macros. Expressions are in `expr.rs`.
//!
//! minijinja parses; it does not run the template, because its values cannot be charged for what
//! they hold (`{% set x = x ~ x %}` in a loop has no bound there) and because its operators,
//! methods and text forms differ from Python's in places that templates rely on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use minijinja::machinery::ast::{Expr, ForLoop, Macro, Stmt};

use super::args::Args;
use super::clock::Date;
use super::filters;
use super::meter::{Meter, Outcome, refuse};
use super::ops::described;
use super::text::write_str;
use super::value::{LoopState, Namespace, Seq, SeqKind, Value};

/// Names of one block; lookups go on to the parent.
pub(super) struct Scope<'a> {
    names: RefCell<HashMap<&'a str, Value>>,
    parent: Option<Rc<Scope<'a>>>,
}

impl<'a> Scope<'a> {
    /// A scope inside `parent`.
    pub(super) fn inside(parent: &Rc<Scope<'a>>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(parent.clone()) })
    }

    /// Sets a name in this scope.
    pub(super) fn set(&self, name: &'a str, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }

    fn get(&self, name: &str) -> Option<Value> {
        let mut scope = self;
        loop {
            if let Some(value) = scope.names.borrow().get(name) {
                return Some(value.clone());
            }
            scope = scope.parent.as_deref()?;
        }
    }
}

/// A macro or the body of a `call` block, with the scope it was defined in.
pub(super) struct MacroDef<'a> {
    pub(super) decl: &'a Macro<'a>,
    pub(super) scope: Rc<Scope<'a>>,
    /// Source text of the definition.
    pub(super) source: &'a str,
}

/// A loop that `loop(...)` may enter again.
struct RecursiveLoop<'a> {
    node: &'a ForLoop<'a>,
    scope: Rc<Scope<'a>>,
}

/// What a statement asks of the loop around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

/// One run of a template.
pub(super) struct Run<'a> {
    pub(super) meter: &'a Meter,
    pub(super) source: &'a str,
    pub(super) variables: HashMap<Rc<str>, Value>,
    pub(super) date: Option<Date>,
    pub(super) macros: RefCell<Vec<Rc<MacroDef<'a>>>>,
    loops: RefCell<Vec<Rc<RecursiveLoop<'a>>>>,
    /// Every namespace made, so that cycles among them can be broken at the end.
    pub(super) namespaces: RefCell<Vec<Rc<Namespace>>>,
    /// Line of the statement in progress.
    pub(super) line: Cell<usize>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for namespace in self.namespaces.borrow().iter() {
            namespace.members.borrow_mut().clear();
        }
    }
}

impl<'a> Run<'a> {
    /// A run over these variables.
    pub(super) fn new(
        meter: &'a Meter,
        source: &'a str,
        variables: HashMap<Rc<str>, Value>,
        date: Option<Date>,
    ) -> Self {
        Self {
            meter,
            source,
            variables,
            date,
            macros: RefCell::default(),
            loops: RefCell::default(),
            namespaces: RefCell::default(),
            line: Cell::new(1),
        }
    }

    /// The text of the whole template.
    pub(super) fn render(&self, body: &'a [Stmt<'a>]) -> Outcome<String> {
        let top = Rc::new(Scope { names: RefCell::default(), parent: None });
        self.capture(body, &top)
    }

    /// The text that a body writes.
    pub(super) fn capture(&self, body: &'a [Stmt<'a>], scope: &Rc<Scope<'a>>) -> Outcome<String> {
        let mut out = String::new();
        self.block(body, scope, &mut out)?;
        Ok(out)
    }

    /// A name's value: scopes, variables, then the global functions.
    pub(super) fn lookup(&self, name: &'a str, scope: &Scope<'a>) -> Value {
        const FUNCTIONS: [&str; 5] =
            ["dict", "namespace", "raise_exception", "range", "strftime_now"];
        if let Some(value) = scope.get(name) {
            return value;
        }
        if let Some(value) = self.variables.get(name) {
            return value.clone();
        }
        match FUNCTIONS.iter().find(|known| **known == name) {
            Some(known) => Value::Function(known),
            None => Value::Undefined(name.into()),
        }
    }

    fn block(
        &self,
        body: &'a [Stmt<'a>],
        scope: &Rc<Scope<'a>>,
        out: &mut String,
    ) -> Outcome<Flow> {
        self.meter.nested(|| {
            for stmt in body {
                let flow = self.statement(stmt, scope, out)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    fn write(&self, text: &str, out: &mut String) -> Outcome<()> {
        // The whole output is one text: charge the piece, bound the sum.
        self.meter.fits(out.len() + text.len())?;
        self.meter.text(text.len())?;
        out.push_str(text);
        Ok(())
    }

    fn at(&self, span: minijinja::machinery::Span) {
        self.line.set(usize::from(span.start_line));
    }

    fn statement(
        &self,
        stmt: &'a Stmt<'a>,
        scope: &Rc<Scope<'a>>,
        out: &mut String,
    ) -> Outcome<Flow> {
        self.meter.step()?;
        match stmt {
            Stmt::EmitRaw(raw) => self.write(raw.raw, out)?,
            Stmt::EmitExpr(emit) => {
                self.at(emit.span());
                match self.marked(&emit.expr, scope)? {
                    Value::Str(text) => self.write(&text, out)?,
                    value => {
                        let mut text = String::new();
                        write_str(&value, self.meter, &mut text)?;
                        self.write(&text, out)?;
                    }
                }
            }
            Stmt::IfCond(cond) => {
                self.at(cond.span());
                let body = if self.eval(&cond.expr, scope)?.truth() {
                    &cond.true_body
                } else {
                    &cond.false_body
                };
                return self.block(body, scope, out);
            }
            Stmt::ForLoop(node) => {
                self.at(node.span());
                let items = self.eval(&node.iter, scope)?;
                return self.for_loop(node, &items, 1, scope, out);
            }
            Stmt::Set(set) => {
                self.at(set.span());
                let value = self.marked(&set.expr, scope)?;
                self.assign(&set.target, value, scope)?;
            }
            Stmt::WithBlock(with) => {
                self.at(with.span());
                let inner = Scope::inside(scope);
                for (target, expr) in &with.assignments {
                    let value = self.eval(expr, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.block(&with.body, &inner, out);
            }
            Stmt::Continue(_) => return Ok(Flow::Continue),
            Stmt::Break(_) => return Ok(Flow::Break),
            other => self.captured(other, scope, out)?,
        }
        Ok(Flow::Next)
    }

    /// Statements that define a macro or first gather the text of their body.
    fn captured(&self, stmt: &'a Stmt<'a>, scope: &Rc<Scope<'a>>, out: &mut String) -> Outcome<()> {
        match stmt {
            Stmt::SetBlock(set) => {
                let text = self.capture(&set.body, &Scope::inside(scope))?;
                let mut value = Value::text(self.meter, text)?;
                if let Some(filter) = &set.filter {
                    value = self.filtered(filter, value, scope)?;
                }
                self.assign(&set.target, value, scope)?;
            }
            Stmt::FilterBlock(block) => {
                let text = self.capture(&block.body, &Scope::inside(scope))?;
                let value = self.filtered(&block.filter, Value::text(self.meter, text)?, scope)?;
                write_str(&value, self.meter, out)?;
            }
            Stmt::Macro(decl) => {
                let value = self.define(decl, decl.span(), scope)?;
                scope.set(decl.name, value);
            }
            Stmt::CallBlock(call) => {
                self.at(call.span());
                let callee = self.eval(&call.call.expr, scope)?;
                let mut args = self.args(&call.call.args, scope)?;
                args.kw.push(("caller".into(), self.define(&call.macro_decl, call.span(), scope)?));
                let value = self.call(callee, args)?;
                write_str(&value, self.meter, out)?;
            }
            _ => return refuse("this statement is not supported in chat templates"),
        }
        Ok(())
    }

    fn define(
        &self,
        decl: &'a Macro<'a>,
        span: minijinja::machinery::Span,
        scope: &Rc<Scope<'a>>,
    ) -> Outcome<Value> {
        self.meter.alloc(256)?;
        let source =
            self.source.get(span.start_offset as usize..span.end_offset as usize).unwrap_or("");
        let mut macros = self.macros.borrow_mut();
        macros.push(Rc::new(MacroDef { decl, scope: scope.clone(), source }));
        Ok(Value::Macro(macros.len() - 1))
    }

    /// Applies the filter chain of a block to its text.
    fn filtered(
        &self,
        filter: &'a Expr<'a>,
        value: Value,
        scope: &Rc<Scope<'a>>,
    ) -> Outcome<Value> {
        let Expr::Filter(filter) = filter else { return refuse("a block needs a filter") };
        let value = match &filter.expr {
            Some(inner) => self.meter.nested(|| self.filtered(inner, value, scope))?,
            None => value,
        };
        filters::apply(filter.name, &value, self.args(&filter.args, scope)?, self.meter)
    }

    /// Binds a target to a value: a name, a tuple of targets, or a member of a namespace.
    fn assign(&self, target: &'a Expr<'a>, value: Value, scope: &Rc<Scope<'a>>) -> Outcome<()> {
        self.meter.alloc(64)?;
        match target {
            Expr::Var(var) => scope.set(var.id, value),
            Expr::List(list) => {
                let items = value.iterate(self.meter)?;
                if items.items.len() != list.items.len() {
                    return refuse(format!(
                        "{} values cannot be unpacked into {} names",
                        items.items.len(),
                        list.items.len()
                    ));
                }
                for (target, item) in list.items.iter().zip(&items.items) {
                    self.meter.nested(|| self.assign(target, item.clone(), scope))?;
                }
            }
            Expr::GetAttr(member) => match self.eval(&member.expr, scope)? {
                Value::Namespace(namespace) => {
                    namespace.members.borrow_mut().insert(member.name.into(), value);
                }
                other => return refuse(format!("cannot set a member of {}", described(&other))),
            },
            _ => return refuse("this cannot be assigned to"),
        }
        Ok(())
    }

    fn for_loop(
        &self,
        node: &'a ForLoop<'a>,
        items: &Value,
        depth: usize,
        scope: &Rc<Scope<'a>>,
        out: &mut String,
    ) -> Outcome<Flow> {
        let mut items = items.iterate(self.meter)?;
        if let Some(filter) = &node.filter_expr {
            let mut kept = Vec::new();
            for item in &items.items {
                let inner = Scope::inside(scope);
                self.assign(&node.target, item.clone(), &inner)?;
                if self.eval(filter, &inner)?.truth() {
                    kept.push(item.clone());
                }
            }
            items = Rc::new(Seq::new(self.meter, SeqKind::List, kept)?);
        }
        if items.items.is_empty() {
            return self.block(&node.else_body, &Scope::inside(scope), out);
        }
        let recursive = node.recursive.then(|| {
            let mut loops = self.loops.borrow_mut();
            loops.push(Rc::new(RecursiveLoop { node, scope: scope.clone() }));
            loops.len() - 1
        });
        let state = Rc::new(LoopState {
            items: items.clone(),
            index: Cell::new(0),
            depth,
            recursive,
            changed: RefCell::default(),
        });
        for (i, item) in items.items.iter().enumerate() {
            state.index.set(i);
            let inner = Scope::inside(scope);
            inner.set("loop", Value::Loop(state.clone()));
            self.assign(&node.target, item.clone(), &inner)?;
            if self.block(&node.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// `loop(items)` of a recursive loop: the text of the loop over these items.
    pub(super) fn reenter(&self, state: &LoopState, args: Args) -> Outcome<Value> {
        let [items] = args.bind("loop", ["iterable"])?;
        let (Some(number), Some(items)) = (state.recursive, items) else {
            return refuse("loop(...) needs a loop marked recursive, and an argument");
        };
        let again = self.loops.borrow()[number].clone();
        self.meter.alloc(256)?;
        let mut out = String::new();
        self.for_loop(again.node, &items, state.depth + 1, &again.scope, &mut out)?;
        Value::text(self.meter, out)
    }
}
