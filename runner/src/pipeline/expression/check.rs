//! Names and types of an expression, as far as they are known before anything runs.

use std::{collections::BTreeSet, ops::Range};

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators},
};

use super::{
    ExpressionError, Names, Reads, Root,
    shape::{Shape, field, is_name, is_number_param, list},
    syntax::{Parsed, children, is_operator},
    types::{STATUS, Type, binary, mismatch, sign},
};
use crate::{
    event::Outcome,
    pipeline::{did_you_mean, printable},
};

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `if`: it is true or false, and may ask how it went.
    Condition,
    /// `${{ }}`: any value.
    Value,
}

/// Finds out what an expression reads, or everything that is wrong with it.
pub(super) fn check(
    parsed: &Parsed<'_>,
    names: &Names<'_>,
    kind: Kind,
) -> Result<Reads, Vec<ExpressionError>> {
    let mut check =
        Check { parsed, names, kind, bound: Vec::new(), errors: Vec::new(), reads: Reads::default() };
    let ty = check.value(&parsed.tree);
    if kind == Kind::Condition && check.errors.is_empty() && !matches!(ty, Type::Bool | Type::Unknown) {
        check.needs_bool(&parsed.tree, ty, "`if` needs true or false");
    }
    if kind == Kind::Value && ty == Type::Null {
        check.error(parsed.range(&parsed.tree), "null has no text").help = None;
    }
    if check.errors.is_empty() { Ok(check.reads) } else { Err(check.errors) }
}

pub(super) struct Check<'c> {
    pub(super) parsed: &'c Parsed<'c>,
    names: &'c Names<'c>,
    pub(super) kind: Kind,
    /// The names of the loops around the node.
    bound: Vec<String>,
    errors: Vec<ExpressionError>,
    pub(super) reads: Reads,
}

impl Check<'_> {
    pub(super) fn error(&mut self, range: Range<usize>, message: impl Into<String>) -> &mut ExpressionError {
        self.errors.push(ExpressionError::new(range, message));
        let last = self.errors.len() - 1;
        &mut self.errors[last]
    }

    /// The type of a node that is used as a value.
    pub(super) fn value(&mut self, node: &IdedExpr) -> Type {
        let shape = self.shape(node);
        match &shape {
            Shape::Root(Root::Steps) => {
                self.error(self.parsed.range(node), "`steps` is no value: which step is it about?").help =
                    Some("name the step: steps.NAME.outcome".to_owned());
                Type::Unknown
            }
            Shape::Root(root) => {
                self.reads.roots.insert(*root, None);
                self.reads.numbers.extend(
                    self.names
                        .params
                        .iter()
                        .filter(|param| is_number_param(&param.name.value, self.names))
                        .map(|param| param.name.value.clone()),
                );
                Type::Map
            }
            Shape::Steps(read, _) => {
                let message =
                    format!("the step `{}` has a matrix: it is several steps", printable(&read.name));
                self.error(read.range.clone(), message).help =
                    Some("ask for its `outcome` or `conclusion`".to_owned());
                Type::Unknown
            }
            Shape::Value(_) | Shape::Step(_) | Shape::Outputs => shape.ty(),
        }
    }

    fn shape(&mut self, node: &IdedExpr) -> Shape {
        match &node.expr {
            Expr::Literal(literal) => Shape::Value(Type::of_literal(literal)),
            Expr::Ident(name) => self.name(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                self.index(node, &call.args[0], &call.args[1])
            }
            Expr::Call(call) => Shape::Value(self.call(node, call)),
            Expr::List(list) => {
                for element in &list.elements {
                    self.value(element);
                }
                Shape::Value(Type::List)
            }
            Expr::Map(_) => {
                children(node, &mut |child| {
                    self.value(child);
                });
                Shape::Value(Type::Map)
            }
            Expr::Comprehension(comprehension) => Shape::Value(self.comprehension(node, comprehension)),
            Expr::Struct(it) => {
                let range = self.parsed.range(node);
                let message = format!("`{}{{ … }}` is not supported", printable(&it.type_name));
                self.error(range, message).help = Some("a map is written {\"key\": value}".to_owned());
                Shape::Value(Type::Unknown)
            }
            Expr::Unspecified => Shape::Value(Type::Unknown),
        }
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Shape {
        let unknown = Shape::Value(Type::Unknown);
        if name.starts_with('@') || self.bound.iter().any(|bound| bound == name) {
            return unknown;
        }
        let range = self.parsed.token(node);
        let Some(root) = root(name) else {
            let usable = self.names.roots.iter().map(|root| root.name());
            let help = self.unknown_name_help(name);
            let help = help.unwrap_or_else(|| format!("names start with {}", list(usable)));
            self.error(range, format!("there is no `{}`", printable(name))).help = Some(help);
            return unknown;
        };
        if !self.names.roots.contains(&root) {
            let usable = self.names.roots.iter().map(|root| root.name());
            let help = match self.names.roots {
                [] => None,
                _ => Some(format!("there is {} here", list(usable))),
            };
            let message = format!("`{}` cannot be used in {}", root.name(), self.names.place);
            self.error(range, message).help = help;
            return unknown;
        }
        Shape::Root(root)
    }

    fn unknown_name_help(&self, name: &str) -> Option<String> {
        if STATUS.contains(&name) {
            let string = if is_outcome(name) {
                format!(", or the string in quotes: \"{name}\"")
            } else {
                String::new()
            };
            return Some(format!("write the function with brackets: {name}(){string}"));
        }
        if ["secrets", "secret"].contains(&name) {
            return Some("a secret reaches the steps that name it in `secrets`, as a variable".to_owned());
        }
        if matches!(name, "github" | "needs" | "inputs" | "vars" | "runner" | "job") {
            let ours = match name {
                "needs" => "steps.NAME.outcome",
                "inputs" | "vars" => "params.NAME",
                "github" => "git.commit or git.branch",
                _ => "build.id",
            };
            return Some(format!("in dcd it is {ours}"));
        }
        let near = did_you_mean(name, self.names.roots.iter().map(|root| root.name()));
        if let Some(near) = near {
            return Some(format!("did you mean `{near}`?"));
        }
        if self.names.params.iter().any(|param| param.name.value == name) {
            return Some(format!("did you mean `params.{name}`?"));
        }
        if self.names.matrix.contains_key(name) {
            return Some(format!("did you mean `matrix.{name}`?"));
        }
        is_outcome(name).then(|| format!("a string stands in quotes: \"{name}\""))
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Shape {
        let shape = self.shape(&select.operand);
        let (text, at) = if select.test {
            // The parser keeps no place for the field of has().
            (self.parsed.text(&select.operand), self.parsed.field_after(&select.operand))
        } else {
            (self.parsed.text(&select.operand), self.parsed.field(node))
        };
        let found = self.below(&shape, &text, &select.field, &at);
        if select.test { Shape::Value(Type::Bool) } else { found }
    }

    fn below(&mut self, shape: &Shape, text: &str, name: &str, at: &Range<usize>) -> Shape {
        match field(shape, text, name, at, self.names) {
            Ok(found) => {
                self.read(shape, &found, name);
                found
            }
            Err(error) => {
                self.errors.push(error);
                Shape::Value(Type::Unknown)
            }
        }
    }

    fn read(&mut self, shape: &Shape, found: &Shape, name: &str) {
        if let Shape::Root(root) = shape {
            if let Some(fields) = self.reads.roots.entry(*root).or_insert_with(|| Some(BTreeSet::new())) {
                fields.insert(name.to_owned());
            }
            if *root == Root::Params && is_number_param(name, self.names) {
                self.reads.numbers.insert(name.to_owned());
            }
        }
        if let Shape::Step(read) | Shape::Steps(read, _) = found {
            self.reads.steps.push(read.clone());
        }
    }

    fn index(&mut self, node: &IdedExpr, of: &IdedExpr, index: &IdedExpr) -> Shape {
        let shape = self.shape(of);
        if let Expr::Literal(LiteralValue::String(name)) = &index.expr
            && shape.ty() != Type::List
        {
            let (text, at) = (self.parsed.text(of), self.parsed.token(index));
            return self.below(&shape, &text, name.inner(), &at);
        }
        let ty = self.value(index);
        match &shape {
            Shape::Root(Root::Steps) => {
                let range = self.parsed.range(index);
                self.error(range, "a step's name must stand there as it is").help = Some(
                    "write steps[\"NAME\"]; which steps are read must be known before they run".to_owned(),
                );
            }
            Shape::Root(root) => {
                self.reads.roots.insert(*root, None);
            }
            Shape::Step(_) | Shape::Steps(..) => {
                self.value(of);
            }
            Shape::Value(Type::List) if !matches!(ty, Type::Int | Type::Unknown) => {
                let message = format!("a list's elements are counted from 0; the index is {}", ty.name());
                self.error(self.parsed.range(index), message);
            }
            Shape::Value(Type::List | Type::Map | Type::Unknown) | Shape::Outputs => {}
            Shape::Value(other) => {
                let message = format!("`{}` is {}: it has no elements", self.parsed.text(of), other.name());
                self.error(self.parsed.range(node), message);
            }
        }
        Shape::Value(Type::Unknown)
    }

    fn comprehension(&mut self, node: &IdedExpr, it: &ComprehensionExpr) -> Type {
        let over = self.value(&it.iter_range);
        if !matches!(over, Type::List | Type::Map | Type::Unknown) {
            let message = format!("`{}` is {}, not a list", self.parsed.text(&it.iter_range), over.name());
            self.error(self.parsed.range(&it.iter_range), message);
        }
        if root(&it.iter_var).is_some() {
            let message = format!("`{}` has a meaning of its own here", it.iter_var);
            self.error(self.parsed.range(node), message).help =
                Some("use another name, such as x".to_owned());
        }
        self.bound.push(it.iter_var.clone());
        self.loop_step(&it.loop_step);
        self.bound.pop();
        // What a loop starts with says what it gives; `exists_one` counts.
        match &it.accu_init.expr {
            Expr::List(_) => Type::List,
            _ => Type::Bool,
        }
    }

    /// What a loop does with each element. The parser has wrapped it: `@result || CONDITION`, and the like.
    fn loop_step(&mut self, step: &IdedExpr) {
        let is_result = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name.starts_with('@'));
        let Expr::Call(call) = &step.expr else {
            self.value(step);
            return;
        };
        match call.args.as_slice() {
            [result, condition] if is_result(result) && call.func_name != operators::ADD => {
                self.condition(condition);
            }
            [condition, then, result] if is_result(result) => {
                self.condition(condition);
                self.loop_step(then);
            }
            _ => {
                self.value(step);
            }
        }
    }

    fn condition(&mut self, node: &IdedExpr) {
        let ty = self.value(node);
        if !matches!(ty, Type::Bool | Type::Unknown) {
            self.needs_bool(node, ty, "a loop's condition is true or false");
        }
    }

    fn needs_bool(&mut self, node: &IdedExpr, ty: Type, message: &str) {
        let text = self.parsed.text(node);
        let range = self.parsed.range(node);
        self.error(range, format!("{message}, and `{text}` is {}", ty.name())).help = match ty {
            Type::String => Some(format!("compare it: {text} != \"\"")),
            Type::Int | Type::Double => Some(format!("compare it: {text} != 0")),
            Type::List => Some(format!("ask for its length: {text}.size() > 0")),
            Type::Bool | Type::Map | Type::Null | Type::Unknown => None,
        };
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let ty = self.value(condition);
                if !matches!(ty, Type::Bool | Type::Unknown) {
                    self.needs_bool(condition, ty, "`? :` needs true or false before it");
                }
                let (yes, no) = (self.value(yes), self.value(no));
                if yes == no { yes } else { Type::Unknown }
            }
            (operators::LOGICAL_NOT, [operand]) => {
                let ty = self.value(operand);
                if !matches!(ty, Type::Bool | Type::Unknown) {
                    self.needs_bool(operand, ty, "`!` needs true or false");
                }
                Type::Bool
            }
            (operators::NEGATE, [operand]) => {
                let ty = self.value(operand);
                if !ty.is_number() && ty != Type::Unknown {
                    let message =
                        format!("`-` needs a number, and `{}` is {}", self.parsed.text(operand), ty.name());
                    self.error(self.parsed.range(node), message);
                }
                ty
            }
            (operators::NOT_STRICTLY_FALSE, _) => Type::Bool,
            (operator, [left, right]) if is_operator(operator) => self.binary(node, operator, left, right),
            _ => self.function(node, call),
        }
    }

    fn binary(&mut self, node: &IdedExpr, operator: &str, left: &IdedExpr, right: &IdedExpr) -> Type {
        if operator == operators::SUBSTRACT
            && let Some(error) = self.dash(left, right)
        {
            self.errors.push(error);
            return Type::Unknown;
        }
        let before = self.errors.len();
        let types = (self.value(left), self.value(right));
        if self.errors.len() > before {
            return Type::Unknown;
        }
        if matches!(operator, operators::EQUALS | operators::NOT_EQUALS) {
            self.compare_outcome(left, right);
            self.compare_outcome(right, left);
        }
        if let Some(ty) = binary(operator, types.0, types.1) {
            return ty;
        }
        let error = mismatch(self.parsed, node, operator, (left, types.0), (right, types.1));
        self.errors.push(error);
        // What it would give, so that the error stands alone.
        if matches!(operator, operators::ADD) || sign(operator).contains(['-', '*', '/', '%']) {
            Type::Unknown
        } else {
            Type::Bool
        }
    }

    /// `steps.build.outcome == "failed"`: there is no such outcome.
    fn compare_outcome(&mut self, left: &IdedExpr, right: &IdedExpr) {
        let (Expr::Select(select), Expr::Literal(LiteralValue::String(word))) = (&left.expr, &right.expr)
        else {
            return;
        };
        let of_step = matches!(select.field.as_str(), "outcome" | "conclusion")
            && self.parsed.text(&select.operand).starts_with("steps");
        if !of_step || is_outcome(word.inner()) {
            return;
        }
        let message = format!("no step ever has the outcome \"{}\"", printable(word.inner()));
        let words = || OUTCOMES.iter().map(|outcome| outcome.as_str());
        self.error(self.parsed.token(right), message).help =
            Some(match did_you_mean(word.inner(), words()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("it is one of {}", list(words())),
            });
    }

    /// `steps.build-amd64.outcome` subtracts; that is hardly what was meant.
    fn dash(&self, left: &IdedExpr, right: &IdedExpr) -> Option<ExpressionError> {
        let select = leftmost(left, &|node| matches!(node.expr, Expr::Select(_)))?;
        let Expr::Select(SelectExpr { operand, .. }) = &select.expr else { return None };
        let after = leftmost(right, &|node| !matches!(node.expr, Expr::Select(_)))?;
        let is_step = matches!(&operand.expr, Expr::Ident(name) if name == "steps");
        let unknown = match &after.expr {
            Expr::Ident(name) => root(name).is_none() && !self.bound.contains(name),
            _ => {
                is_step && matches!(after.expr, Expr::Literal(LiteralValue::Int(_) | LiteralValue::Double(_)))
            }
        };
        let field = self.parsed.field(select);
        let rest = self.parsed.source.get(field.start..)?;
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
        let name = &rest[..end];
        if !unknown || !name.contains('-') || is_name(name) {
            return None;
        }
        let of = self.parsed.text(operand);
        let message = format!("the `-` in `{}` is a minus here", printable(name));
        Some(
            ExpressionError::new(field.start..field.start + end, message)
                .help(format!("write {of}[\"{}\"]", printable(name))),
        )
    }
}

const OUTCOMES: [Outcome; 6] = [
    Outcome::Success,
    Outcome::Failure,
    Outcome::Error,
    Outcome::Timeout,
    Outcome::Cancellation,
    Outcome::Skip,
];

fn is_outcome(word: &str) -> bool {
    OUTCOMES.iter().any(|outcome| outcome.as_str() == word)
}

fn root(name: &str) -> Option<Root> {
    Root::ALL.into_iter().find(|root| root.name() == name)
}

/// The first node on the way down the left side that is what is sought.
fn leftmost<'t>(node: &'t IdedExpr, sought: &dyn Fn(&IdedExpr) -> bool) -> Option<&'t IdedExpr> {
    let mut node = node;
    loop {
        if sought(node) {
            return Some(node);
        }
        node = match &node.expr {
            Expr::Call(call) if call.func_name == operators::SUBSTRACT => call.args.first()?,
            Expr::Select(select) => &select.operand,
            _ => return None,
        };
    }
}
