//! What each name has below it: `steps.build` has an `outcome`, a string has nothing.

use std::ops::Range;

use super::{ExpressionError, Names, Root, StepName, StepRead, types::Type};
use crate::pipeline::{ParamType, did_you_mean, printable};

/// What a node of the tree stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value.
    Value(Type),
    /// One of the names that expressions start with.
    Root(Root),
    /// `steps.NAME`
    Step(StepRead),
    /// `steps.NAME` of a step with a matrix, and the name of one of its combinations.
    Steps(StepRead, String),
    /// `steps.NAME.outputs`
    Outputs,
}

impl Shape {
    /// The type of what it stands for as a value.
    pub(super) fn ty(&self) -> Type {
        match self {
            Shape::Value(ty) => *ty,
            Shape::Root(_) | Shape::Step(_) | Shape::Steps(..) | Shape::Outputs => Type::Map,
        }
    }
}

/// What is wrong with a name below another.
type Wrong = (String, Option<String>);

const STEP_FIELDS: [(&str, Type); 3] =
    [("outcome", Type::String), ("conclusion", Type::String), ("attempt", Type::Int)];

/// The fields of the roots that always have the same. A number that is given later is null.
const fn fields(root: Root) -> &'static [(&'static str, Type)] {
    match root {
        Root::Build => &[
            ("id", Type::String),
            ("number", Type::Int),
            ("component", Type::String),
            ("pipeline", Type::String),
        ],
        Root::Git => &[
            ("commit", Type::String),
            ("tree", Type::String),
            ("branch", Type::String),
            ("dirty", Type::Bool),
            ("remote", Type::String),
        ],
        Root::Image => &[("digest", Type::String), ("id", Type::String)],
        Root::Params | Root::Env | Root::Steps | Root::Matrix => &[],
    }
}

/// What `.name` is of `shape`, whose text is `text`. `at` is where the name stands.
pub(super) fn field(
    shape: &Shape,
    text: &str,
    name: &str,
    at: &Range<usize>,
    names: &Names<'_>,
) -> Result<Shape, ExpressionError> {
    let result = match shape {
        // Of outputs, scripts write strings; plugins give any JSON.
        Shape::Value(Type::Map | Type::Unknown) | Shape::Outputs => Ok(Shape::Value(Type::Unknown)),
        Shape::Value(ty) => {
            Err((format!("`{text}` is {}: it has no `{}`", ty.name(), printable(name)), None))
        }
        Shape::Root(root) => in_root(*root, name, at, names),
        Shape::Step(_) => in_step(text, name),
        Shape::Steps(read, example) => match name {
            "outcome" | "conclusion" => Ok(Shape::Value(Type::String)),
            _ => Err((
                format!(
                    "the step `{}` has a matrix: all its combinations together have an outcome and a conclusion only",
                    printable(&read.name)
                ),
                Some(format!("name one of them: steps[\"{}\"].{}", printable(example), printable(name))),
            )),
        },
    };
    result.map_err(|(message, help)| ExpressionError { range: at.clone(), message, help })
}

fn in_step(text: &str, name: &str) -> Result<Shape, Wrong> {
    if name == "outputs" {
        return Ok(Shape::Outputs);
    }
    let known = STEP_FIELDS.iter().find(|(field, _)| *field == name);
    let all = || STEP_FIELDS.iter().map(|(field, _)| *field).chain(["outputs"]);
    known.map(|(_, ty)| Shape::Value(*ty)).ok_or_else(|| {
        let help = match did_you_mean(name, all()) {
            Some(near) => format!("did you mean `{text}.{near}`?"),
            None if text.contains('.') => {
                format!("a step has {}; what it wrote itself is in {text}.outputs", list(all()))
            }
            None => format!("a step has {}", list(all())),
        };
        (format!("a step has no `{}`", printable(name)), Some(help))
    })
}

fn in_root(root: Root, name: &str, at: &Range<usize>, names: &Names<'_>) -> Result<Shape, Wrong> {
    match root {
        Root::Env => Ok(Shape::Value(Type::String)),
        Root::Steps => step(name, at, names),
        Root::Params => {
            let declared = || names.params.iter().map(|param| param.name.value.as_str());
            let param = names.params.iter().find(|param| param.name.value == name);
            param
                .map(|param| Shape::Value(Type::of_param(param.kind)))
                .ok_or_else(|| missing(name, "the file declares no param", "params", declared()))
        }
        Root::Matrix => {
            let keys = || names.matrix.keys().map(String::as_str);
            names
                .matrix
                .get(name)
                .map(|value| Shape::Value(Type::of_value(value)))
                .ok_or_else(|| missing(name, "the step's matrix has no", "matrix", keys()))
        }
        Root::Build | Root::Git | Root::Image => {
            let all = fields(root);
            all.iter().find(|(field, _)| *field == name).map(|(_, ty)| Shape::Value(*ty)).ok_or_else(|| {
                let names = all.iter().map(|(field, _)| *field);
                missing(name, &format!("`{}` has no", root.name()), root.name(), names)
            })
        }
    }
}

fn missing<'n>(name: &str, what: &str, root: &str, all: impl Iterator<Item = &'n str> + Clone) -> Wrong {
    let help = match did_you_mean(name, all.clone()) {
        Some(near) => format!("did you mean `{root}.{near}`?"),
        None if all.clone().next().is_none() => format!("there is nothing in `{root}` here"),
        None => format!("there is {}", list(all)),
    };
    (format!("{what} `{}`", printable(name)), Some(help))
}

fn step(name: &str, at: &Range<usize>, names: &Names<'_>) -> Result<Shape, Wrong> {
    let read = || StepRead { name: name.to_owned(), range: at.clone() };
    let shown = printable(name);
    match (names.steps)(name) {
        StepName::Known => Ok(Shape::Step(read())),
        StepName::ManyCombinations(example) => Ok(Shape::Steps(read(), example)),
        StepName::NotNeeded => Err((
            format!("the step `{shown}` need not be over yet when this is read"),
            Some(format!("add \"{shown}\" to the `needs` of the step")),
        )),
        StepName::Unknown(near) => Err((
            format!("there is no step `{shown}`"),
            near.map(|near| {
                let near = printable(&near);
                if is_name(&near) {
                    format!("did you mean `steps.{near}`?")
                } else {
                    format!("did you mean `steps[\"{near}\"]`?")
                }
            }),
        )),
    }
}

/// Whether it can stand after a dot.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `a, b and c`; a long list is cut.
pub(super) fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{}`", printable(name))).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [.., _] if names.len() > 10 => format!("{} and {} more", names[..9].join(", "), names.len() - 9),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The params that count as numbers with a fraction, also when their value has none.
pub(super) fn is_number_param(name: &str, names: &Names<'_>) -> bool {
    names.params.iter().any(|param| param.name.value == name && param.kind == ParamType::Number)
}
