//! `params` and `secrets`: what a file asks of who runs it.

use jsonc_parser::ast::Value;
use serde_json::{Value as JsonValue, json};

use super::{
    Diagnostic, Param, ParamType, Secret, SecretSource, Span, Spanned,
    diagnostic::{did_you_mean, printable},
    names::{check_identifier, check_variable},
    params::{fits, said, said_exactly},
    reader::{Expected, Fields, Key, Keys, Reader, listed},
    schema,
    values::{check_own_variable, object_to, read_checked, read_scalar},
};

pub(super) const TYPES: [(&str, ParamType); 4] = [
    ("string", ParamType::String),
    ("integer", ParamType::Integer),
    ("number", ParamType::Number),
    ("boolean", ParamType::Boolean),
];

pub(super) const PARAM: Keys = Keys {
    place: "a param",
    allowed: &[
        Key::new(
            "type",
            "Which values it takes. Default: `string`.",
            || json!({ "enum": TYPES.map(|(name, _)| name), "default": "string" }),
        ),
        Key::new(
            "enum",
            "The only values that it takes, each of its type.",
            || json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": schema::scalar() }),
        ),
        Key::new(
            "default",
            "Used when nobody says it. Without one, and without `required`: the empty string, 0 or false.",
            schema::scalar,
        ),
        Key::new("required", "Who runs the pipeline must say it. Default: false.", schema::boolean),
        Key::new("description", "For people.", schema::text),
    ],
    misplaced: &[],
    elsewhere: &[
        ("choices", "enum"),
        ("options", "enum"),
        ("values", "enum"),
        ("desc", "description"),
        ("help", "description"),
        ("value", "default"),
        ("mandatory", "required"),
    ],
};

pub(super) const SECRET: Keys = Keys {
    place: "a secret",
    allowed: &[
        Key::new("env", "The variable of dcd's environment that holds the value.", schema::variable),
        Key::new(
            "file",
            "The file that holds the value, relative to the workspace or absolute. A line end at its end is not part of it.",
            schema::path,
        ),
    ],
    misplaced: &[],
    elsewhere: &[("variable", "env"), ("environment", "env"), ("path", "file"), ("from", "env")],
};

/// Reads `params`.
pub(super) fn read_params(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Param> {
    let expected = Expected {
        name: "`params`",
        example: r#""params": { "target": { "enum": ["staging", "prod"], "default": "staging" } }"#,
    };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut params = Vec::with_capacity(object.properties.len());
    for (name, at, value) in reader.entries(object) {
        if let Err(objection) = check_identifier(name) {
            object_to(reader, &at, &format!("the param name `{}`", printable(name)), objection);
        }
        let name = Spanned { value: name.to_owned(), span: at };
        // One that is wrong stays declared, so that nobody who names it is told that it is not there.
        let mut param = Param {
            name,
            kind: ParamType::String,
            required: false,
            default: None,
            choices: Vec::new(),
            description: None,
        };
        read_param(reader, &mut param, value);
        params.push(param);
    }
    params
}

fn read_param(reader: &mut Reader<'_>, param: &mut Param, value: &Value<'_>) -> Option<()> {
    let expected = Expected { name: "a param", example: r#""target": { "type": "string", "default": "" }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &PARAM);
    if let Some(value) = fields.get("type") {
        param.kind = read_type(reader, value)?;
    }
    let kind = param.kind;
    let choices = fields.get("enum").map_or(Some(Vec::new()), |value| read_choices(reader, value, kind));
    let default = match fields.get("default") {
        Some(value) => Some(read_typed(reader, value, kind, "`default`")?),
        None => None,
    };
    let expected = Expected { name: "`required`", example: r#""required": true"# };
    param.required = fields.get("required").map_or(Some(false), |value| reader.boolean(value, expected))?;
    let expected = Expected { name: "`description`", example: r#""description": "where to deploy""# };
    let description = fields.get("description").and_then(|value| reader.plain_string(value, expected));
    param.description = description.map(|description| description.value);
    param.choices = choices?;
    settle_default(reader, &fields, param, default);
    Some(())
}

/// Gives the param the default that counts.
fn settle_default(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    param: &mut Param,
    default: Option<JsonValue>,
) {
    let at = |key| fields.key_span(key).unwrap_or_else(|| param.name.span.clone());
    match default {
        Some(_) if param.required => {
            let diagnostic = Diagnostic::new(at("required"), "a param with a `default` cannot be `required`");
            let help = "remove `default`, if it must be said; else remove `required`";
            reader.report(diagnostic.related(at("default"), "here is the default").help(help));
        }
        Some(value) if fits(param, &value).is_err() => {
            let message = format!("the `default` {} is not in `enum`", said(&value));
            let at = fields.get("default").map_or(at("default"), |value| reader.span(value));
            reader.refuse(at, message, "add it to `enum`, or choose one that is there");
        }
        Some(value) => param.default = Some(value),
        None if param.required => {}
        None => {
            let empty = match param.kind {
                ParamType::String => json!(""),
                ParamType::Integer | ParamType::Number => json!(0),
                ParamType::Boolean => json!(false),
            };
            if fits(param, &empty).is_err() {
                let message = format!("the param `{}` has no `default`", printable(&param.name.value));
                let help = "add one of `enum` as its `default`, or \"required\": true";
                reader.refuse(param.name.span.clone(), message, help);
            }
            param.default = Some(empty);
        }
    }
}

fn read_type(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ParamType> {
    let string = reader.plain_string(value, Expected { name: "`type`", example: r#""type": "boolean""# })?;
    let found = TYPES.iter().find(|(name, _)| *name == string.value).map(|(_, kind)| *kind);
    if found.is_none() {
        let names = || TYPES.iter().map(|(name, _)| *name);
        let meant = match string.value.to_lowercase().as_str() {
            "bool" => Some("boolean"),
            "int" => Some("integer"),
            "float" | "double" => Some("number"),
            "text" | "str" | "choice" => Some("string"),
            other => did_you_mean(other, names()),
        };
        let message = format!("there is no type `{}`", printable(&string.value));
        let diagnostic = Diagnostic::new(string.span, message);
        reader.report(match meant {
            Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
            None => diagnostic.help(format!("the types are {}", listed(names(), "and"))),
        });
    }
    found
}

fn read_choices(reader: &mut Reader<'_>, value: &Value<'_>, kind: ParamType) -> Option<Vec<JsonValue>> {
    let array =
        reader.array(value, Expected { name: "`enum`", example: r#""enum": ["staging", "prod"]"# })?;
    if array.elements.is_empty() {
        let help = "write the values that the param takes, or remove it: then it takes any";
        reader.refuse(reader.span(array), "`enum` is empty", help);
        return None;
    }
    let mut choices = Vec::with_capacity(array.elements.len());
    for element in &array.elements {
        let choice = read_typed(reader, element, kind, "an element of `enum`")?;
        if choices.contains(&choice) {
            let message = format!("`enum` has {} twice", said(&choice));
            reader.refuse(reader.span(element), message, "keep one of them");
            return None;
        }
        choices.push(choice);
    }
    Some(choices)
}

fn read_typed(reader: &mut Reader<'_>, value: &Value<'_>, kind: ParamType, what: &str) -> Option<JsonValue> {
    let expected = Expected { name: what, example: r#""staging", 3 or true"# };
    let scalar = read_scalar(reader, value, expected)?;
    if kind.takes(&scalar) {
        return Some(scalar);
    }
    let message = format!("{what} must be {}, not {}", kind.in_words(), said_exactly(&scalar));
    reader.refuse(reader.span(value), message, kind.advice(&scalar));
    None
}

/// Reads `secrets` of a file.
pub(super) fn read_secrets(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Secret> {
    let expected =
        Expected { name: "`secrets`", example: r#""secrets": { "TOKEN": { "env": "DEPLOY_TOKEN" } }"# };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut secrets = Vec::with_capacity(object.properties.len());
    for (name, at, value) in reader.entries(object) {
        check_own_variable(reader, name, &at);
        let from = read_source(reader, name, &at, value);
        // One that is wrong stays declared, as a param does.
        let from = from.unwrap_or_else(|| SecretSource::Env(String::new()));
        secrets.push(Secret { name: Spanned { value: name.to_owned(), span: at }, from });
    }
    secrets
}

fn read_source(reader: &mut Reader<'_>, name: &str, at: &Span, value: &Value<'_>) -> Option<SecretSource> {
    let form = r#"{ "env": "DEPLOY_TOKEN" } or { "file": "/run/secrets/token" }"#;
    if value.as_string_lit().is_some() {
        let message = format!("the secret `{}` says no place that its value comes from", printable(name));
        let help = format!("the value itself does not belong into the file; write it like {form}");
        reader.refuse(reader.span(value), message, help);
        return None;
    }
    let object = reader.object(value, Expected { name: "a secret", example: form })?;
    let fields = reader.fields(object, &SECRET);
    let env = fields.get("env").map(|value| {
        let expected = Expected { name: "`env`", example: r#""env": "DEPLOY_TOKEN""# };
        read_checked(reader, value, expected, "`env`", check_variable)
    });
    let file = fields.get("file").map(|value| {
        let expected = Expected { name: "`file`", example: r#""file": "/run/secrets/token""# };
        let path = reader.plain_string(value, expected)?;
        if path.value.is_empty() {
            reader.refuse(path.span, "`file` is empty", "write the path of the file that holds the value");
            return None;
        }
        Some(path)
    });
    match (env, file) {
        (Some(env), None) => Some(SecretSource::Env(env?.value)),
        (None, Some(file)) => Some(SecretSource::File(file?.value)),
        (Some(_), Some(_)) => {
            let message = format!("the secret `{}` has both `env` and `file`", printable(name));
            reader.refuse(at.clone(), message, "keep one of them");
            None
        }
        (None, None) => {
            if fields.lacks("env") && fields.lacks("file") {
                let message = format!("the secret `{}` has neither `env` nor `file`", printable(name));
                reader.refuse(at.clone(), message, format!("write it like {form}"));
            }
            None
        }
    }
}
