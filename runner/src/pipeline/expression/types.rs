//! The types of values, and what operators and functions take.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};
use serde_json::Value;

use super::{ExpressionError, syntax::Parsed};
use crate::pipeline::ParamType;

/// As far as it is known before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    String,
    List,
    Map,
    Null,
    Unknown,
}

impl Type {
    pub(super) fn of_literal(literal: &LiteralValue) -> Self {
        match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(_) => Type::String,
            // Nothing that can be read has these types.
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => Type::Unknown,
        }
    }

    pub(super) fn of_param(kind: ParamType) -> Self {
        match kind {
            ParamType::String => Type::String,
            ParamType::Integer => Type::Int,
            ParamType::Number => Type::Double,
            ParamType::Boolean => Type::Bool,
        }
    }

    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Number(number) if number.is_f64() => Type::Double,
            Value::Number(_) => Type::Int,
            Value::String(_) => Type::String,
            Value::Array(_) => Type::List,
            Value::Object(_) => Type::Map,
        }
    }

    /// With its article, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::Bool => "a boolean",
            Type::Int => "an integer",
            Type::Double => "a number with a fraction",
            Type::String => "a string",
            Type::List => "a list",
            Type::Map => "a map",
            Type::Null => "null",
            Type::Unknown => "a value",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Double)
    }

    fn fits(self, wanted: Type) -> bool {
        self == wanted || self == Type::Unknown || wanted == Type::Unknown
    }
}

/// How people write an operator, and what it gives: `None` when it cannot take these.
pub(super) fn binary(operator: &str, left: Type, right: Type) -> Option<Type> {
    use Type::{Bool, Double, Int, List, Map, Null, String, Unknown};
    let unknown = left == Unknown || right == Unknown;
    let known = if left == Unknown { right } else { left };
    match operator {
        operators::EQUALS | operators::NOT_EQUALS => {
            let alike = left == right || left.is_number() && right.is_number();
            (alike || unknown || left == Null || right == Null).then_some(Bool)
        }
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            let alike = left == right || left.is_number() && right.is_number() || unknown;
            (alike && !matches!(known, List | Map | Null)).then_some(Bool)
        }
        operators::ADD => match (left, right) {
            (Unknown, Unknown) => Some(Unknown),
            _ if unknown || left == right => matches!(known, Int | Double | String | List).then_some(known),
            _ => None,
        },
        operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE => match (left, right) {
            (Unknown, Unknown) => Some(Unknown),
            _ => ((unknown || left == right) && known.is_number()).then_some(known),
        },
        operators::MODULO => (left.fits(Int) && right.fits(Int)).then_some(Int),
        operators::IN => match right {
            List | Unknown => Some(Bool),
            Map => matches!(left, String | Unknown).then_some(Bool),
            _ => None,
        },
        operators::LOGICAL_AND | operators::LOGICAL_OR => {
            (left.fits(Bool) && right.fits(Bool)).then_some(Bool)
        }
        _ => Some(Unknown),
    }
}

/// An operator as people write it.
pub(super) fn sign(operator: &str) -> &str {
    match operator {
        operators::IN => "in",
        operators::CONDITIONAL => "? :",
        operators::INDEX => "[ ]",
        _ => operator.trim_matches('_'),
    }
}

/// That an operator cannot take what stands on its sides.
pub(super) fn mismatch(
    parsed: &Parsed<'_>,
    node: &IdedExpr,
    operator: &str,
    left: (&IdedExpr, Type),
    right: (&IdedExpr, Type),
) -> ExpressionError {
    let texts = [left.0, right.0].map(|side| parsed.text(side));
    let [a, b] = [(&texts[0], left.1), (&texts[1], right.1)].map(|(text, ty)| {
        if ty == Type::Unknown { format!("`{text}`") } else { format!("`{text}` is {}", ty.name()) }
    });
    let message = match operator {
        operators::EQUALS | operators::NOT_EQUALS => format!("{a} and {b}: they are never equal"),
        operators::IN => format!("`in` needs a list or a map of strings after it: {a}, {b}"),
        operators::LOGICAL_AND | operators::LOGICAL_OR => {
            format!("`{}` needs true or false on both sides: {a}, {b}", sign(operator))
        }
        _ => format!("`{}` cannot take these together: {a}, {b}", sign(operator)),
    };
    let error = ExpressionError::new(parsed.range(node), message);
    match mismatch_help(operator, (left.0, left.1, &texts[0]), (right.0, right.1, &texts[1])) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn mismatch_help(operator: &str, a: (&IdedExpr, Type, &str), b: (&IdedExpr, Type, &str)) -> Option<String> {
    if matches!(operator, operators::LOGICAL_AND | operators::LOGICAL_OR) {
        let (_, ty, text) = if a.1 == Type::Bool || a.1 == Type::Unknown { b } else { a };
        return match ty {
            Type::String => Some(format!("compare it: {text} != \"\"")),
            Type::Int | Type::Double => Some(format!("compare it: {text} != 0")),
            _ => None,
        };
    }
    if operator == operators::IN {
        return (b.1 == Type::String)
            .then(|| format!("to look into a string, write {}.contains({})", b.2, a.2));
    }
    // A literal is what is written wrongly, when there is one.
    for (one, other) in [(a, b), (b, a)] {
        if let Expr::Literal(LiteralValue::String(literal)) = &one.0.expr {
            let word = literal.inner();
            let plain = match other.1 {
                Type::Int => word.parse::<i64>().is_ok(),
                Type::Double => word.parse::<f64>().is_ok_and(f64::is_finite),
                Type::Bool => matches!(word, "true" | "false"),
                _ => false,
            };
            if plain {
                return Some(format!("write {word} without quotes"));
            }
        }
    }
    let orders = operator.contains(['<', '>']);
    for (one, other) in [(a, b), (b, a)] {
        match (one.1, other.1) {
            (Type::String, Type::Int) if orders => return Some(format!("write int({})", one.2)),
            (Type::String, Type::Double) if orders => return Some(format!("write double({})", one.2)),
            (Type::String, Type::Int | Type::Double | Type::Bool) => {
                return Some(format!("write string({})", other.2));
            }
            (Type::Double, Type::Int) => {
                return Some(match &other.0.expr {
                    Expr::Literal(_) => format!("write {}.0", other.2),
                    _ => format!("write double({})", other.2),
                });
            }
            _ => {}
        }
    }
    None
}

/// A function that expressions may call.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// What it is called on, as in `"abc".size()`; `None` for `size("abc")`.
    pub(super) on: Option<Type>,
    pub(super) takes: &'static [Type],
    /// How many of `takes` may be left out.
    pub(super) optional: usize,
    pub(super) gives: Type,
}

const fn global(name: &'static str, takes: &'static [Type], gives: Type) -> Function {
    Function { name, on: None, takes, optional: 0, gives }
}

const fn member(
    on: Type,
    name: &'static str,
    takes: &'static [Type],
    optional: usize,
    gives: Type,
) -> Function {
    Function { name, on: Some(on), takes, optional, gives }
}

/// All of them, but for the status functions and the loops. `docs/expressions.md` lists them.
pub(super) const FUNCTIONS: &[Function] = {
    use Type::{Bool, Double, Int, List, String, Unknown};
    &[
        global("size", &[Unknown], Int),
        global("int", &[Unknown], Int),
        global("double", &[Unknown], Double),
        global("string", &[Unknown], String),
        global("bool", &[Unknown], Bool),
        member(Unknown, "size", &[], 0, Int),
        member(String, "contains", &[String], 0, Bool),
        member(String, "startsWith", &[String], 0, Bool),
        member(String, "endsWith", &[String], 0, Bool),
        member(String, "matches", &[String], 0, Bool),
        member(String, "indexOf", &[String, Int], 1, Int),
        member(String, "lastIndexOf", &[String, Int], 1, Int),
        member(String, "lowerAscii", &[], 0, String),
        member(String, "upperAscii", &[], 0, String),
        member(String, "trim", &[], 0, String),
        member(String, "replace", &[String, String, Int], 1, String),
        member(String, "split", &[String, Int], 1, List),
        member(String, "substring", &[Int, Int], 1, String),
        member(List, "join", &[String], 1, String),
    ]
};

/// The functions that say how it went; only in `if`.
pub(super) const STATUS: [&str; 4] = ["success", "failure", "always", "cancelled"];

/// The loops, and how many arguments they take. The parser replaces the calls that fit.
pub(super) const LOOPS: [(&str, &str); 5] = [
    ("exists", "list.exists(x, CONDITION)"),
    ("all", "list.all(x, CONDITION)"),
    ("exists_one", "list.exists_one(x, CONDITION)"),
    ("filter", "list.filter(x, CONDITION)"),
    ("map", "list.map(x, VALUE)"),
];
