//! Calls of functions: which there are, and what they take.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue},
};

use super::{
    check::{Check, Kind},
    evaluate::pattern_error,
    types::{FUNCTIONS, Function, LOOPS, STATUS, Type},
};
use crate::pipeline::{did_you_mean, printable};

impl Check<'_> {
    /// The type that a call of a function gives.
    pub(super) fn function(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        let on = call.target.as_deref().map(|target| self.value(target));
        let types: Vec<Type> = call.args.iter().map(|arg| self.argument(name, arg)).collect();
        if STATUS.contains(&name) && on.is_none() {
            return self.status(node, name, types.len());
        }
        let overloads: Vec<&Function> = FUNCTIONS.iter().filter(|function| function.name == name).collect();
        let Some(function) = overloads.iter().find(|function| function.on.is_some() == on.is_some()) else {
            self.no_function(node, call, &overloads);
            return overloads.first().map_or(Type::Unknown, |function| function.gives);
        };
        let least = function.takes.len() - function.optional;
        if types.len() < least || types.len() > function.takes.len() {
            let message =
                format!("{name}() takes {}, not {}", counted(least, function.takes.len()), types.len());
            self.error(self.parsed.range(node), message).help =
                Some(format!("such as {}", example(function)));
            return function.gives;
        }
        let wanted = function.on.into_iter().chain(function.takes.iter().copied());
        let given = call.target.as_deref().into_iter().zip(on).chain(call.args.iter().zip(types));
        for (wanted, (arg, ty)) in wanted.zip(given) {
            if wanted != ty && wanted != Type::Unknown && ty != Type::Unknown {
                let text = self.parsed.text(arg);
                let message = format!("{name}() works with {}, and `{text}` is {}", wanted.name(), ty.name());
                self.error(self.parsed.range(arg), message).help =
                    (wanted == Type::String && ty.is_number()).then(|| format!("write string({text})"));
            }
        }
        if let (true, Some(arg)) = (name == "matches", call.args.last()) {
            self.pattern(arg);
        }
        function.gives
    }

    /// A name in brackets where only a field may stand would be reported as unknown for no reason.
    fn argument(&mut self, function: &str, arg: &IdedExpr) -> Type {
        if LOOPS.iter().any(|(name, _)| *name == function) && matches!(arg.expr, Expr::Ident(_)) {
            return Type::Unknown;
        }
        self.value(arg)
    }

    fn pattern(&mut self, arg: &IdedExpr) {
        if let Expr::Literal(LiteralValue::String(pattern)) = &arg.expr
            && let Some(why) = pattern_error(pattern.inner())
        {
            self.error(self.parsed.token(arg), format!("the pattern is not a regular expression: {why}"))
                .help = Some(
                "the syntax is that of RE2; write it as r\"…\" to need no double backslashes".to_owned(),
            );
        }
    }

    fn status(&mut self, node: &IdedExpr, name: &str, given: usize) -> Type {
        self.reads.status = true;
        if self.kind == Kind::Value {
            let message = format!("{name}() can be asked in `if` only");
            self.error(self.parsed.range(node), message).help = Some("read steps.NAME.outcome".to_owned());
        } else if given > 0 {
            let message = format!("{name}() takes no arguments");
            self.error(self.parsed.range(node), message).help = Some(
                format!("it is about all that the step needs; for one: steps.NAME.outcome == \"{name}\"")
                    .replace("\"always\"", "\"success\"")
                    .replace("\"cancelled\"", "\"cancellation\""),
            );
        }
        Type::Bool
    }

    fn no_function(&mut self, node: &IdedExpr, call: &CallExpr, others: &[&Function]) {
        let name = printable(&call.func_name);
        let range = self.parsed.range(node);
        if let Some(other) = others.first() {
            let message = match other.on {
                Some(_) => format!("{name}() stands after what it is about"),
                None => format!("{name}() takes its value in the brackets"),
            };
            self.error(range, message).help = Some(format!("write {}", example(other)));
            return;
        }
        if let Some((_, usage)) = LOOPS.iter().find(|(each, _)| *each == call.func_name) {
            self.error(range, format!("{name}() goes through a list, with a name for each element")).help =
                Some(format!("write {usage}"));
            return;
        }
        if call.func_name == "has" {
            self.error(range, "has() takes one name with a field").help =
                Some("write has(steps.build.outputs.version)".to_owned());
            return;
        }
        let known =
            || FUNCTIONS.iter().map(|function| function.name).chain(STATUS).chain(["has", "map", "filter"]);
        let elsewhere = match call.func_name.as_str() {
            "toLower" | "lower" | "toLowerCase" => Some("lowerAscii"),
            "toUpper" | "upper" | "toUpperCase" => Some("upperAscii"),
            "len" | "length" | "count" => Some("size"),
            "canceled" => Some("cancelled"),
            _ => None,
        };
        let near = elsewhere.or_else(|| did_you_mean(&call.func_name, known()));
        self.error(range, format!("there is no function {name}()")).help = Some(match near {
            Some(near) => format!("did you mean {near}()?"),
            None => "docs/expressions.md lists the functions".to_owned(),
        });
    }
}

fn counted(least: usize, most: usize) -> String {
    let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
    match (least, most) {
        (0, 0) => "no arguments".to_owned(),
        _ if least == most => format!("{most} {}", plural(most)),
        _ => format!("{least} or {most} {}", plural(most)),
    }
}

/// A call as it should look.
fn example(function: &Function) -> String {
    let args: Vec<&str> = function
        .takes
        .iter()
        .take(function.takes.len() - function.optional)
        .map(|ty| match ty {
            Type::Int => "1",
            Type::String => "\"…\"",
            _ => "x",
        })
        .collect();
    let on = if function.on.is_some() { "x." } else { "" };
    format!("{on}{}({})", function.name, args.join(", "))
}
