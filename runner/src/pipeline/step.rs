//! One element of `steps`.

use jsonc_parser::ast::{Object, Value};
use serde_json::{Value as JsonValue, json};

use super::{
    Diagnostic, Reports, Span, Spanned, Step,
    action::{is_file, read_action, read_use},
    diagnostic::printable,
    draft::{Body, Element, If},
    embed::{Place, read_if, template},
    expression::Template,
    matrix::{Cell, read_matrix},
    names::check_name,
    policy::{Defaults, RETRY, attempts, read_retry},
    reader::{Expected, Fields, Key, Keys, Reader},
    schema,
    values::{read_checked, read_duration, read_env, read_globs, read_list, refuse_twice},
};

pub(super) const STEP: Keys = Keys {
    place: "a step",
    allowed: &[
        Key::new("name", "Its name, unique in the pipeline.", schema::name),
        Key::new(
            "run",
            "A script for the shell, or an array: a program and its arguments, executed without a shell. Values reach it through `env`.",
            || {
                let script = json!({ "type": "string", "pattern": "\\S", "not": schema::has_expression() });
                let program = json!({ "type": "array", "minItems": 1, "items": schema::plain_text() });
                json!({ "anyOf": [script, program] })
            },
        ),
        Key::new(
            "uses",
            "The plugin that does the step; or a pipeline file (a path with `/`, or one that ends in `.json` or `.jsonc`) whose steps take this one's place, named `STEP/INNER`.",
            || json!({ "type": "string", "minLength": 1, "not": schema::has_expression() }),
        ),
        Key::new(
            "include",
            "A pipeline file whose steps take this place, under their own names. Relative to this file.",
            schema::plain_text,
        ),
        Key::new(
            "with",
            "The plugin's config, or values for the params of the used file.",
            || json!({ "type": "object" }),
        ),
        Key::new("env", "Added to the environment, over the file's `env`.", schema::environment),
        Key::new(
            "secrets",
            "The names of the secrets that it gets in its environment.",
            || json!({ "type": "array", "uniqueItems": true, "items": schema::plain_text() }),
        ),
        Key::new(
            "workdir",
            "Where the command starts: relative to the workspace, or absolute. Default: `defaults.workdir`, else the workspace.",
            schema::template,
        ),
        Key::new(
            "timeout",
            "How long an attempt may take. Default: `defaults.timeout`; else none for `run`, an hour for a plugin.",
            schema::duration,
        ),
        Key::new("retry", "Tries it again: how many tries there are at most, or how exactly.", || {
            let mut object = schema::object(&RETRY);
            object["required"] = json!(["attempts"]);
            object["dependentRequired"] = json!({ "backoff": ["delay"] });
            json!({ "anyOf": [attempts(), object] })
        }),
        Key::new(
            "continue_on_error",
            "The build goes on, and may succeed, when this step does not. Default: false.",
            schema::boolean,
        ),
        Key::new(
            "needs",
            "The names of the steps that must be decided first. Default: the one above it; `[]`: none.",
            || json!({ "type": "array", "uniqueItems": true, "items": schema::plain_text() }),
        ),
        Key::new(
            "if",
            "A CEL expression: whether it runs. One without `success()`, `failure()`, `always()` or `cancelled()` means `success() && (…)`. Default: `success()`.",
            || json!({ "anyOf": [{ "type": "string", "pattern": "\\S" }, { "type": "boolean" }] }),
        ),
        Key::new(
            "matrix",
            "One step for each combination of the values, named `NAME (v1, v2)`. `include` adds to combinations, or adds some; `exclude` takes some out.",
            matrix_schema,
        ),
        Key::new("outputs", "The files that it makes: globs relative to the workspace.", schema::globs),
        Key::new("reports", "The test reports that it writes.", || schema::object(&REPORTS)),
    ],
    misplaced: &[],
    elsewhere: &[
        ("id", "name"),
        ("title", "name"),
        ("label", "name"),
        ("script", "run"),
        ("cmd", "run"),
        ("command", "run"),
        ("commands", "run"),
        ("exec", "run"),
        ("shell", "run"),
        ("plugin", "uses"),
        ("type", "uses"),
        ("args", "with"),
        ("config", "with"),
        ("params", "with"),
        ("environment", "env"),
        ("variables", "env"),
        ("cwd", "workdir"),
        ("dir", "workdir"),
        ("directory", "workdir"),
        ("working-directory", "workdir"),
        ("working_directory", "workdir"),
        ("timeout-minutes", "timeout"),
        ("timeout_minutes", "timeout"),
        ("allow_failure", "continue_on_error"),
        ("ignore_errors", "continue_on_error"),
        ("depends_on", "needs"),
        ("depends", "needs"),
        ("after", "needs"),
        ("requires", "needs"),
        ("when", "if"),
        ("condition", "if"),
        ("strategy", "matrix"),
        ("parallel", "matrix"),
        ("retries", "retry"),
        ("attempts", "retry"),
        ("artifacts", "outputs"),
        ("files", "outputs"),
        ("junit", "reports"),
    ],
};

pub(super) const REPORTS: Keys = Keys {
    place: "`reports`",
    allowed: &[Key::new(
        "junit",
        "Files in JUnit's XML: a glob, or several.",
        || json!({ "anyOf": [schema::glob(), schema::globs()] }),
    )],
    misplaced: &[],
    elsewhere: &[("xunit", "junit"), ("tests", "junit"), ("test", "junit")],
};

fn matrix_schema() -> JsonValue {
    let objects = json!({
        "type": "array",
        "items": { "type": "object", "minProperties": 1, "additionalProperties": schema::scalar() }
    });
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": schema::IDENTIFIER },
        "properties": { "include": objects, "exclude": objects },
        "additionalProperties": { "type": "array", "minItems": 1, "items": schema::scalar() },
    })
}

/// Keys that belong to the steps of a used file, and what to do instead.
const NOT_FOR_FILES: [(&str, &str); 7] = [
    (
        "continue_on_error",
        "remove it; write it in the file's steps, or let what comes after have `\"if\": \"always()\"`",
    ),
    ("secrets", "remove it; the file's own steps name the secrets that they get"),
    ("workdir", "remove it; write `workdir` in the file's steps, or in its `defaults`"),
    ("timeout", "remove it; write `timeout` in the file's steps, or in its `defaults`"),
    ("retry", "remove it; write `retry` in the file's steps"),
    ("outputs", "remove it; write `outputs` in the file's steps"),
    ("reports", "remove it; write `reports` in the file's steps"),
];

/// More keys that an `include` does not take.
const NOT_FOR_INCLUDES: [(&str, &str); 5] = [
    ("name", "remove it, the steps have their own names; or write `uses` instead of `include`"),
    ("run", "remove it, or make two steps of it"),
    ("uses", "remove it, or make two steps of it"),
    ("env", "write `uses` instead of `include`, with a `name`; or `env` in the file itself"),
    ("matrix", "write `uses` instead of `include`, with a `name`: its steps need names of their own"),
];

/// Reads one element; what is missing afterwards has been reported.
pub(super) fn read_element(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    defaults: &Defaults,
) -> Option<Element> {
    let expected = Expected { name: "a step", example: r#"{ "name": "test", "run": "make test" }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &STEP);
    let include = fields.get("include");
    let name = if include.is_none() { read_name(reader, &fields) } else { None };
    let (cells, sound_matrix) = match fields.get("matrix") {
        Some(value) if include.is_none() => {
            let cells = read_matrix(reader, value);
            let sound = cells.is_some();
            (cells.unwrap_or_default(), sound)
        }
        _ => (vec![Cell::default()], true),
    };
    reader.scope.enter(&cells);
    let needs = fields.get("needs").map(|value| read_needs(reader, value));
    reader.reads.clear();
    let condition = fields.get("if").map(|value| read_if(reader, value));
    let condition =
        condition.flatten().map(|expression| If { expression, reads: std::mem::take(&mut reader.reads) });
    let at = name.as_ref().map_or_else(|| place(reader, object, include), |name| name.span.clone());
    let body = if let Some(path) = include {
        refuse_keys(reader, &fields, &NOT_FOR_INCLUDES, "an `include`");
        refuse_keys(reader, &fields, &NOT_FOR_FILES, "an `include`");
        Body::File(read_use(reader, &fields, path)?)
    } else if let Some(path) =
        fields.get("uses").filter(|value| is_file(value) && fields.get("run").is_none())
    {
        refuse_keys(reader, &fields, &NOT_FOR_FILES, "a step that uses a file");
        Body::File(read_use(reader, &fields, path)?)
    } else {
        read_step(reader, &fields, name.as_ref(), defaults)?
    };
    reader.scope.enter(&[]);
    if include.is_none() && name.is_none() || !sound_matrix {
        return None;
    }
    Some(Element { name, at, needs, condition, cells, body })
}

fn place(reader: &Reader<'_>, object: &Object<'_>, include: Option<&Value<'_>>) -> Span {
    include.map_or_else(|| reader.span(object), |path| reader.span(path))
}

fn refuse_keys(reader: &mut Reader<'_>, fields: &Fields<'_>, keys: &[(&str, &str)], place: &str) {
    for (key, at) in fields.keys() {
        if let Some((_, help)) = keys.iter().find(|(refused, _)| *refused == key) {
            reader.refuse(at.clone(), format!("{place} cannot have `{key}`"), *help);
        }
    }
}

fn read_step(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: Option<&Spanned<String>>,
    defaults: &Defaults,
) -> Option<Body> {
    let action = read_action(reader, fields, defaults);
    let env =
        fields.get("env").map(|value| read_env(reader, value, Some(Place::STEP_ENV))).unwrap_or_default();
    let secrets = read_secret_names(reader, fields, &env);
    let workdir = fields.get("workdir").and_then(|value| read_workdir(reader, value, Place::WORKDIR));
    let runs = fields.get("run").is_some();
    let timeout = fields.get("timeout").and_then(|value| read_duration(reader, value, "timeout"));
    let retry = fields.get("retry").and_then(|value| read_retry(reader, value));
    let expected = Expected { name: "`outputs`", example: r#""outputs": ["dist/*.tar.gz"]"# };
    let outputs = fields.get("outputs").map(|value| read_globs(reader, value, expected, false));
    let reports = fields.get("reports").map(|value| read_reports(reader, value)).unwrap_or_default();
    Some(Body::Step {
        step: Box::new(Step {
            name: name.cloned().unwrap_or_else(|| Spanned { value: String::new(), span: 0..0 }),
            scope: 0,
            continue_on_error: read_continue(reader, fields),
            action: action?,
            needs: Vec::new(),
            conditions: Vec::new(),
            matrix: std::collections::BTreeMap::new(),
            env,
            secrets,
            workdir: workdir.or_else(|| defaults.workdir.clone().filter(|_| runs)),
            timeout: timeout.or(defaults.timeout),
            retry: retry.unwrap_or_default(),
            outputs: outputs.unwrap_or_default(),
            reports,
            reads: std::collections::BTreeMap::new(),
        }),
        reads: std::mem::take(&mut reader.reads),
    })
}

/// Reads `continue_on_error`.
pub(super) fn read_continue(reader: &mut Reader<'_>, fields: &Fields<'_>) -> bool {
    let expected = Expected { name: "`continue_on_error`", example: r#""continue_on_error": true"# };
    fields.get("continue_on_error").and_then(|value| reader.boolean(value, expected)) == Some(true)
}

fn read_name(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Spanned<String>> {
    if fields.lacks("name") {
        let help = r#"add one, such as "name": "test""#;
        reader.refuse(fields.span.clone(), "this step has no `name`", help);
    }
    let expected = Expected { name: "`name`", example: r#""name": "test""# };
    read_checked(reader, fields.get("name")?, expected, "`name`", check_name)
}

fn read_needs(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Spanned<String>> {
    let expected = Expected { name: "`needs`", example: r#""needs": ["build"]"# };
    if let Value::StringLit(literal) = value {
        let message = "`needs` must be an array, not a string";
        let help = format!("write \"needs\": [\"{}\"]", printable(&literal.value));
        reader.refuse(reader.span(value), message, help);
        return Vec::new();
    }
    let element = Expected { name: "an element of `needs`", example: r#""needs": ["build"]"# };
    let needs = read_list(reader, Some(value), expected, |reader, value| reader.plain_string(value, element));
    refuse_twice(reader, "`needs`", &needs);
    needs
}

fn read_secret_names(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    env: &[(String, Template)],
) -> Vec<Spanned<String>> {
    let example = r#""secrets": ["DEPLOY_TOKEN"]"#;
    let expected = Expected { name: "`secrets` of a step", example };
    if let Some(value @ Value::Object(_)) = fields.get("secrets") {
        let help = "name here the secrets that the step gets, as in \"secrets\": [\"DEPLOY_TOKEN\"]; \
                    where their values come from stands in the file's own `secrets`";
        reader.refuse(reader.span(value), "`secrets` of a step must be an array, not an object", help);
        return Vec::new();
    }
    let element = Expected { name: "an element of `secrets`", example };
    let names = read_list(reader, fields.get("secrets"), expected, |reader, value| {
        reader.plain_string(value, element)
    });
    refuse_twice(reader, "`secrets`", &names);
    for name in names.iter().filter(|name| env.iter().any(|(variable, _)| *variable == name.value)) {
        let message = format!("the step sets `{}` in `env`, too", printable(&name.value));
        reader.refuse(name.span.clone(), message, "keep one of them");
    }
    names
}

/// Reads `workdir`, of a step or of `defaults`.
pub(super) fn read_workdir(reader: &mut Reader<'_>, value: &Value<'_>, place: Place) -> Option<Template> {
    let workdir = reader.string(value, Expected { name: "`workdir`", example: r#""workdir": "web""# })?;
    if workdir.value.is_empty() {
        let help = "write a path relative to the workspace or an absolute one, or leave it out for the workspace itself";
        reader.report(Diagnostic::new(workdir.span, "`workdir` is empty").help(help));
        return None;
    }
    Some(template(reader, &workdir, place))
}

fn read_reports(reader: &mut Reader<'_>, value: &Value<'_>) -> Reports {
    let expected = Expected { name: "`reports`", example: r#""reports": { "junit": "target/junit/*.xml" }"# };
    let Some(object) = reader.object(value, expected) else { return Reports::default() };
    let fields = reader.fields(object, &REPORTS);
    let expected = Expected { name: "`junit`", example: r#""junit": ["target/junit/*.xml"]"# };
    let junit = fields.get("junit").map(|value| read_globs(reader, value, expected, true));
    Reports { junit: junit.unwrap_or_default() }
}
