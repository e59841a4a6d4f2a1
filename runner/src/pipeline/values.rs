//! Values that several keys have: names, lists, durations, globs, scalars, environments.

use std::{collections::HashMap, str::FromStr, time::Duration};

use globset::GlobBuilder;
use jsonc_parser::ast::Value;
use serde_json::{Number, Value as JsonValue};

use super::{
    Diagnostic, Span, Spanned,
    diagnostic::printable,
    duration,
    embed::{Place, template},
    expression::Template,
    names::{Objection, check_variable},
    reader::{Expected, Reader, kind},
};
use crate::event::Problem;

/// A string that `check` has no objection to.
pub(super) fn read_checked(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    expected: Expected<'_>,
    subject: &str,
    check: fn(&str) -> Result<(), Objection>,
) -> Option<Spanned<String>> {
    let string = reader.plain_string(value, expected)?;
    match check(&string.value) {
        Ok(()) => Some(string),
        Err(objection) => {
            object_to(reader, &string.span, subject, objection);
            None
        }
    }
}

/// Reports an objection; `subject` is what it is about.
pub(super) fn object_to(reader: &mut Reader<'_>, at: &Span, subject: &str, objection: Objection) {
    reader.refuse(at.clone(), format!("{subject} {}", objection.message), objection.help);
}

/// An optional array; the elements that are wrong are reported and left out.
pub(super) fn read_list<T>(
    reader: &mut Reader<'_>,
    value: Option<&Value<'_>>,
    expected: Expected<'_>,
    read: impl Fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(array) = value.and_then(|value| reader.array(value, expected)) else { return Vec::new() };
    array.elements.iter().filter_map(|element| read(reader, element)).collect()
}

/// Reports what stands in a list a second time.
pub(super) fn refuse_twice(reader: &mut Reader<'_>, list: &str, values: &[Spanned<String>]) {
    if values.len() < 2 {
        return;
    }
    let mut first = HashMap::with_capacity(values.len());
    for value in values {
        if let Some(earlier) = first.insert(value.value.as_str(), value.span.clone()) {
            let message = format!("{list} names `{}` twice", printable(&value.value));
            let diagnostic = Diagnostic::new(value.span.clone(), message).label("again here");
            reader.report(diagnostic.related(earlier, "first here").help("keep one of them"));
        }
    }
}

/// A duration; `name` is the key.
pub(super) fn read_duration(reader: &mut Reader<'_>, value: &Value<'_>, name: &str) -> Option<Duration> {
    const HELP: &str = "a duration is written like 500ms, 90s, 10m or 1h30m";
    let (text, at): (&str, Span) = match value {
        // Refused by the same rule as "600", and with the same advice.
        Value::NumberLit(literal) => (literal.value, reader.span(literal)),
        Value::StringLit(literal) => (&literal.value, reader.span(literal)),
        _ => {
            let example = format!(r#""{name}": "10m""#);
            return reader.wrong_type(
                value,
                "a string",
                Expected { name: &format!("`{name}`"), example: &example },
            );
        }
    };
    if text.contains("${{") {
        let help = format!("write the value itself; {}", super::reader::WHERE_EXPRESSIONS);
        reader.refuse_expression(text, &at, &help);
        return None;
    }
    match duration::parse(text) {
        Ok(duration) => Some(duration),
        Err(reason) => {
            reader.refuse(at, format!("`{name}` is not a duration: {reason}"), HELP);
            None
        }
    }
}

/// A string, a number or a boolean.
pub(super) fn read_scalar(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    expected: Expected<'_>,
) -> Option<JsonValue> {
    match value {
        Value::StringLit(_) => {
            reader.plain_string(value, expected).map(|string| JsonValue::String(string.value))
        }
        Value::BooleanLit(literal) => Some(JsonValue::Bool(literal.value)),
        Value::NumberLit(literal) => read_number(reader, literal.value, &reader.span(literal)),
        _ => reader.wrong_type(value, "a string, a number, true or false", expected),
    }
}

/// A number of any kind.
pub(super) fn read_number(reader: &mut Reader<'_>, text: &str, at: &Span) -> Option<JsonValue> {
    let number = Number::from_str(text).ok().map(JsonValue::Number);
    if number.is_none() {
        let message = format!("the number {} is out of range", printable(text));
        reader.refuse(at.clone(), message, "write it as a string, if one is taken here");
    }
    number
}

/// Globs relative to the workspace: one, or an array of them where `single` says so.
pub(super) fn read_globs(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    expected: Expected<'_>,
    single: bool,
) -> Vec<Template> {
    let read = |reader: &mut Reader<'_>, value: &Value<'_>| {
        let glob = reader.string(value, expected)?;
        match check_glob(&without_expressions(&glob.value)) {
            Ok(()) => Some(glob),
            Err(Objection { message, help }) => {
                reader.refuse(glob.span, format!("{} {message}", expected.name), help);
                None
            }
        }
    };
    let globs: Vec<_> = if single && value.as_string_lit().is_some() {
        read(reader, value).into_iter().collect()
    } else {
        let globs = read_list(reader, Some(value), expected, read);
        refuse_twice(reader, expected.name, &globs);
        globs
    };
    globs.iter().map(|glob| template(reader, glob, Place::GLOB)).collect()
}

/// The text with a letter for each expression.
fn without_expressions(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, expression)) = rest.split_once("${{") {
        plain.push_str(before);
        plain.push('x');
        rest = expression.split_once("}}").map_or("", |(_, after)| after);
    }
    plain + rest
}

/// What is wrong with a glob whose expressions have got their values.
pub fn refuse_glob(glob: &str) -> Result<(), Problem> {
    check_glob(glob).map_err(|Objection { message, help }| {
        Problem::new(format!("the glob `{}` {message}", printable(glob)), help)
    })
}

/// Whether a glob names files of the workspace.
fn check_glob(glob: &str) -> Result<(), Objection> {
    let objection = |message: String, help: &str| Err(Objection { message, help: help.to_owned() });
    if glob.is_empty() {
        return objection("is empty".to_owned(), "write a path or a glob, such as \"dist/*.tar.gz\"");
    }
    if glob.starts_with('/') {
        return objection(
            "is absolute".to_owned(),
            "write it relative to the workspace, without the `/` at its beginning",
        );
    }
    if glob.split('/').any(|part| part == "..") {
        return objection("leaves the workspace".to_owned(), "write it without `..`");
    }
    match GlobBuilder::new(glob).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => objection(
            format!("is not a glob: {}", error.kind()),
            "`*` stands for any part of a name, `**` for any directories, `{a,b}` for either; \
             `[` and `{` themselves are written `[[]` and `[{]`",
        ),
    }
}

/// A name that a variable may have: not one of dcd's own.
pub(super) fn check_own_variable(reader: &mut Reader<'_>, name: &str, at: &Span) -> bool {
    if name == "DCD" || name.starts_with("DCD_") {
        let message = format!("the variable `{}` is dcd's own", printable(name));
        reader.refuse(at.clone(), message, "choose a name that does not start with DCD_");
        return false;
    }
    if let Err(objection) = check_variable(name) {
        object_to(reader, at, &format!("the variable name `{}`", printable(name)), objection);
        return false;
    }
    true
}

/// Reads `env`, of a file or of a step. Without a place for them, expressions are refused.
pub(super) fn read_env(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    place: Option<Place>,
) -> Vec<(String, Template)> {
    let expected = Expected { name: "`env`", example: r#""env": { "RUST_LOG": "info" }"# };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut env = Vec::with_capacity(object.properties.len());
    for (name, at, value) in reader.entries(object) {
        check_own_variable(reader, name, &at);
        if let Some(value) = read_env_value(reader, &printable(name), value) {
            let template = if let Some(place) = place {
                template(reader, &value, place)
            } else {
                let help =
                    "give it to the file through `with`, and write the variable in the file's own `env`";
                reader.refuse_expression(&value.value, &value.span, help);
                Template::plain(value.value)
            };
            env.push((name.to_owned(), template));
        }
    }
    env
}

/// Strings only: a number or a boolean would have to be formatted, and not everyone would expect the same.
fn read_env_value(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<Spanned<String>> {
    let help = match value {
        Value::NumberLit(literal) => format!("write \"{}\"", printable(literal.value)),
        Value::BooleanLit(literal) => format!("write \"{}\"", literal.value),
        Value::NullKeyword(_) => "write \"\" for an empty value, or remove it".to_owned(),
        _ => format!("write it like \"{name}\": \"value\""),
    };
    let subject = format!("the variable `{name}`");
    if value.as_string_lit().is_none() {
        reader.refuse(reader.span(value), format!("{subject} must be a string, not {}", kind(value)), help);
        return None;
    }
    reader.string(value, Expected { name: &subject, example: "" })
}
