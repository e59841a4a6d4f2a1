//! Values of expressions. What goes wrong is told by the names that were read: values may be secret.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Value as Cel,
    common::ast::{Expr, LiteralValue, operators},
    extensions,
    objects::{Key, Map},
};
use serde_json::Value;

use super::{
    Compiled, EvaluationError, Root, Status, Variables, cost,
    shape::{is_name, list},
    syntax::children,
    types::sign,
};
use crate::pipeline::printable;

/// The functions, declared once: that takes longer than evaluating.
static FUNCTIONS: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // It can fail only when a name is taken, which a test would see.
    let _ = env.add_extension(extensions::strings);
    Arc::new(env)
});

pub(super) fn holds(compiled: &Compiled, variables: &Variables) -> Result<bool, EvaluationError> {
    match evaluate(compiled, variables)? {
        Cel::Bool(holds) => Ok(holds),
        other => Err(error(compiled, &format!("is {}, not true or false", kind(&other)))),
    }
}

/// The value as JSON. Null is an error, as it stands for what is not known.
pub(super) fn json(compiled: &Compiled, variables: &Variables) -> Result<Value, EvaluationError> {
    let value = evaluate(compiled, variables)?;
    if matches!(value, Cel::Null) {
        let missing = error(compiled, "has no value in this build");
        return Err(missing.help(format!("write `{0} != null ? {0} : …` to do without", compiled.source)));
    }
    if let Cel::Float(number) = value
        && !number.is_finite()
    {
        return Err(error(compiled, "is not a number"));
    }
    value.json().map_err(|_| error(compiled, &format!("is {}, which has no text", kind(&value))))
}

fn evaluate(compiled: &Compiled, variables: &Variables) -> Result<Cel, EvaluationError> {
    if cost::work(&compiled.tree, &variables.roots) > cost::MAX_WORK {
        return Err(error(compiled, "is too much work")
            .help("loop over less, or work the value out in a step's script"));
    }
    let mut context = Context::with_env(Arc::clone(&FUNCTIONS));
    if compiled.reads.status {
        add_status(&mut context, variables.status);
    }
    for (root, fields) in &compiled.reads.roots {
        context.add_variable_from_value(root.name(), root_value(compiled, variables, *root, fields.as_ref()));
    }
    Cel::resolve(&compiled.tree, &context).map_err(|why| explain(compiled, variables, &why))
}

fn add_status(context: &mut Context<'_, '_>, status: Status) {
    let Status { success, failure, cancelled } = status;
    for (name, answer) in
        [("success", success), ("failure", failure), ("cancelled", cancelled), ("always", true)]
    {
        // The names are ours, so none is taken.
        let _ = context.add_function(name, move || answer);
    }
}

/// Only the fields that are read, where that is known: the environment may be large.
fn root_value(
    compiled: &Compiled,
    variables: &Variables,
    root: Root,
    fields: Option<&BTreeSet<String>>,
) -> Cel {
    let Some(Value::Object(all)) = variables.roots.get(root.name()) else { return map([].into_iter()) };
    let of = |name: &str, value: &Value| match value.as_f64() {
        Some(number) if root == Root::Params && compiled.reads.numbers.contains(name) => Cel::Float(number),
        _ => to_cel(value),
    };
    match fields {
        Some(fields) => {
            let read = fields.iter().filter_map(|name| all.get(name).map(|value| (name, value)));
            map(read.map(|(name, value)| (name.as_str(), of(name, value))))
        }
        None => map(all.iter().map(|(name, value)| (name.as_str(), of(name, value)))),
    }
}

fn map<'n>(entries: impl Iterator<Item = (&'n str, Cel)>) -> Cel {
    let entries: HashMap<Key, Cel> =
        entries.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value)).collect();
    Cel::Map(Map { map: Arc::new(entries) })
}

/// Integers are CEL's `int`, so that they can be calculated with each other.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cel::Int(number),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(values) => Cel::List(Arc::new(values.iter().map(to_cel).collect())),
        Value::Object(values) => map(values.iter().map(|(name, value)| (name.as_str(), to_cel(value)))),
    }
}

fn kind(value: &Cel) -> &'static str {
    match value {
        Cel::Bool(_) => "a boolean",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a string",
        Cel::List(_) => "a list",
        Cel::Map(_) => "a map",
        Cel::Null => "null",
        _ => "a value",
    }
}

impl EvaluationError {
    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `what` goes on after the expression's text.
fn error(compiled: &Compiled, what: &str) -> EvaluationError {
    EvaluationError { message: format!("`{}` {what}", printable(&compiled.source)), help: None }
}

fn explain(compiled: &Compiled, variables: &Variables, why: &ExecutionError) -> EvaluationError {
    if let ExecutionError::NoSuchKey(key) = why {
        return missing(compiled, variables, key);
    }
    // A type that is wrong only now is mostly that of null.
    if !is_arithmetic(why)
        && let Some(error) = unknown(compiled, variables)
    {
        return error;
    }
    let what = match why {
        ExecutionError::NoSuchOverload(call) => {
            let types: Vec<&str> = call.argument_types().iter().map(|name| type_name(name)).collect();
            let types = types.join(" and ");
            format!("cannot be worked out: `{}` does not take {types}", sign(call.function()))
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("cannot be worked out: {} stands where {} is needed", type_name(got), type_name(want))
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("cannot be worked out: {function}() cannot take this value")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "has a result that is too large for a number of 64 bits".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "asks for an element that its list does not have".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(..) | ExecutionError::ValuesNotComparable(..) => {
            "cannot be worked out: an operator does not take the types of these values".to_owned()
        }
        // None of the others can happen after the checks; their messages have values in them.
        _ => "cannot be worked out".to_owned(),
    };
    let error = error(compiled, &what);
    if is_arithmetic(why) {
        return error;
    }
    error.help("outputs of scripts are strings; int(…), double(…) and string(…) convert")
}

fn is_arithmetic(why: &ExecutionError) -> bool {
    matches!(
        why,
        ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::IndexOutOfBounds(_)
    )
}

fn type_name(cel: &str) -> &str {
    match cel {
        "bool" => "a boolean",
        "int" | "uint" => "an integer",
        "double" => "a number with a fraction",
        "string" => "a string",
        "list" | "iterable" => "a list",
        "map" => "a map",
        "null_type" | "null" => "null",
        _ => "a value",
    }
}

/// Says what is missing by its whole path, when the expression names it.
fn missing(compiled: &Compiled, variables: &Variables, key: &str) -> EvaluationError {
    let paths = paths(&compiled.tree);
    let missing =
        paths.iter().rev().find_map(|path| absent(path, variables).filter(|(name, ..)| *name == key));
    let Some((_, names, around)) = missing else {
        return error(compiled, "asks for a key that is not there")
            .help("ask before, with `in`: KEY in MAP ? MAP[KEY] : …");
    };
    let shown = written(&names);
    let there = around.map(|map| list(map.keys().map(String::as_str))).unwrap_or_default();
    let key = printable(key);
    let what = match names.as_slice() {
        ["env", _] => format!("the variable `{key}` is not set"),
        ["steps", step, "outputs", _] if there.is_empty() => {
            format!("the step `{}` has no output `{key}`; it has none", printable(step))
        }
        ["steps", step, "outputs", _] => {
            format!("the step `{}` has no output `{key}`; it has {there}", printable(step))
        }
        _ => format!("`{key}` has no value in this build"),
    };
    let help = if is_name(&key) {
        format!("write `has({shown}) ? {shown} : \"…\"` to do without")
    } else {
        "ask before, with `in`: \"KEY\" in MAP ? MAP[\"KEY\"] : …".to_owned()
    };
    EvaluationError { message: format!("`{shown}`: {what}"), help: Some(help) }
}

/// All the paths that an expression names, the last first.
fn paths(tree: &IdedExpr) -> Vec<Vec<&str>> {
    let mut paths = Vec::new();
    let mut nodes = vec![tree];
    while let Some(node) = nodes.pop() {
        match path(node) {
            Some(path) => paths.push(path),
            None => children(node, &mut |child| nodes.push(child)),
        }
    }
    paths
}

/// A path as people write it.
fn written(names: &[&str]) -> String {
    let each = names.iter().enumerate().map(|(at, name)| match (at, is_name(name)) {
        (0, _) => printable(name),
        (_, true) => format!(".{}", printable(name)),
        (_, false) => format!("[\"{}\"]", printable(name)),
    });
    each.collect()
}

/// A path that an expression names and whose value is not known in this build.
fn unknown(compiled: &Compiled, variables: &Variables) -> Option<EvaluationError> {
    let path = paths(&compiled.tree).into_iter().rev().find(|path| {
        let mut value = variables.roots.get(path[0]);
        for name in &path[1..] {
            value = value.and_then(|value| value.get(name));
        }
        value.is_some_and(Value::is_null)
    })?;
    let path = written(&path);
    Some(EvaluationError {
        message: format!("`{path}` has no value in this build"),
        help: Some(format!("ask before: {path} != null")),
    })
}

/// The names of `a.b["c"]`, root first.
fn path(node: &IdedExpr) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut node = node;
    loop {
        node = match &node.expr {
            Expr::Ident(name) if !names.is_empty() => {
                names.push(name.as_str());
                names.reverse();
                return Some(names);
            }
            Expr::Select(select) if !select.test => {
                names.push(select.field.as_str());
                &select.operand
            }
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                    names.push(key.inner());
                    of
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

type Absent<'p, 'v> = (&'p str, Vec<&'p str>, Option<&'v serde_json::Map<String, Value>>);

/// The first name of a path that is not there, the path as far as that, and what is there.
fn absent<'p, 'v>(path: &[&'p str], variables: &'v Variables) -> Option<Absent<'p, 'v>> {
    let mut value = match variables.roots.get(path[0]) {
        Some(value) => value,
        None if path.len() > 1 && Root::ALL.iter().any(|root| root.name() == path[0]) => {
            return Some((path[1], path[..2].to_vec(), None));
        }
        None => return None,
    };
    for (at, name) in path.iter().enumerate().skip(1) {
        match value.get(name) {
            Some(below) => value = below,
            None => return Some((name, path[..=at].to_vec(), value.as_object())),
        }
    }
    None
}

/// What is wrong with a regular expression.
pub(super) fn pattern_error(pattern: &str) -> Option<String> {
    let string =
        |text: &str| IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String(text.to_owned().into())) };
    let call = cel::common::ast::CallExpr {
        func_name: "matches".to_owned(),
        target: Some(Box::new(string(""))),
        args: vec![string(pattern)],
    };
    let tree = IdedExpr { id: 0, expr: Expr::Call(call) };
    match Cel::resolve(&tree, &Context::with_env(Arc::clone(&FUNCTIONS))) {
        Err(ExecutionError::FunctionError { message, .. }) => {
            let why = message.lines().last().unwrap_or_default();
            Some(why.trim_start_matches("error: ").to_owned())
        }
        _ => None,
    }
}
