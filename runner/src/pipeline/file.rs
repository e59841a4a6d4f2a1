//! The top level of a pipeline file.

use std::collections::HashMap;

use jsonc_parser::ast::Value;
use serde_json::json;

use super::{
    Diagnostic, Span,
    declare::{PARAM, SECRET, read_params, read_secrets},
    diagnostic::printable,
    draft::FileDraft,
    embed::Place,
    names::{check_component, check_name},
    plugins::{HISTORY, OBSERVER, PLUGIN, read_history, read_observers, read_plugins},
    policy::{DEFAULTS, Defaults, LOCK, REQUIRE, read_defaults, read_lock, read_require},
    reader::{Expected, Fields, Key, Keys, Reader},
    schema,
    step::read_element,
    values::{read_checked, read_duration, read_env},
};

pub(super) const PIPELINE: Keys = Keys {
    place: "a pipeline",
    allowed: &[
        Key::new("$schema", "Where this schema is, for editors.", schema::text),
        Key::new("name", "For people. Default: the file's name without its ending.", schema::name),
        Key::new(
            "component",
            "What is built; build numbers count per component. Default: the repository's name.",
            || json!({ "type": "string", "pattern": "^(?!(.*/)?\\.{0,2}(/|$))[A-Za-z0-9._/-]+$", "maxLength": 100 }),
        ),
        Key::new("params", "Values that are said when the pipeline is run: `--param NAME=VALUE`.", || {
            json!({
                "type": "object",
                "propertyNames": { "pattern": schema::IDENTIFIER },
                "additionalProperties": schema::object(&PARAM),
            })
        }),
        Key::new("env", "Added to the environment of this file's steps.", schema::environment),
        Key::new(
            "secrets",
            "Where secrets come from, by the names of the variables that steps get them in. Values do not belong into the file.",
            || {
                let mut secret = schema::object(&SECRET);
                secret["oneOf"] = json!([{ "required": ["env"] }, { "required": ["file"] }]);
                let names = schema::own_variable();
                json!({ "type": "object", "propertyNames": names, "additionalProperties": secret })
            },
        ),
        Key::new("defaults", "What this file's steps get where they say nothing.", || {
            schema::object(&DEFAULTS)
        }),
        Key::new("timeout", "How long the whole build may take.", schema::duration),
        Key::new("require", "What must be true before the first step.", || schema::object(&REQUIRE)),
        Key::new("lock", "What is held while the build runs: a name, or an object that says more.", || {
            let mut lock = schema::object(&LOCK);
            lock["required"] = json!(["name"]);
            json!({ "anyOf": [schema::template(), lock] })
        }),
        Key::new("history", "The backend that keeps the builds of all.", || {
            let mut history = schema::object(&HISTORY);
            history["required"] = json!(["uses"]);
            history
        }),
        Key::new("observers", "The plugins that are told of each build while it runs.", || {
            let mut observer = schema::object(&OBSERVER);
            observer["required"] = json!(["uses"]);
            json!({ "type": "array", "items": observer })
        }),
        Key::new("plugins", "Where plugins are, and what they may touch, by their names.", || {
            json!({
                "type": "object",
                "propertyNames": schema::plugin(),
                "additionalProperties": schema::object(&PLUGIN),
            })
        }),
        Key::new(
            "steps",
            "What to do. A step without `needs` runs after the one above it.",
            || json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/step" } }),
        ),
    ],
    misplaced: &[
        ("include", "write it as an element of `steps`: { \"include\": \"ci/rust.json\" }"),
        ("matrix", "write it in the step that is to run several times"),
        ("reports", "write it in the step that writes the reports"),
        ("outputs", "write it in the step that makes the files"),
        ("retry", "write it in each step that is to be tried again"),
        ("needs", "write it in the step that waits"),
        ("shell", "write it in `defaults`"),
        ("workdir", "write it in `defaults`"),
        ("run", "write it in a step, an element of `steps`"),
        ("uses", "write it in a step, an element of `steps`"),
    ],
    elsewhere: &[
        ("jobs", "steps"),
        ("stages", "steps"),
        ("tasks", "steps"),
        ("pipeline", "steps"),
        ("environment", "env"),
        ("variables", "env"),
        ("schema", "$schema"),
        ("inputs", "params"),
        ("parameters", "params"),
        ("args", "params"),
        ("concurrency", "lock"),
        ("requires", "require"),
        ("notifiers", "observers"),
        ("notifications", "observers"),
        ("notify", "observers"),
    ],
};

/// Keys of the file that is run only, and why.
const NOT_INCLUDED: [(&str, &str); 5] = [
    ("component", "remove it; the file that is run says what is built"),
    ("history", "remove it; builds are kept by the history of the file that is run"),
    ("observers", "remove it; the file that is run says who is told of its builds"),
    ("lock", "remove it; the file that is run holds one lock for the whole build"),
    (
        "timeout",
        "remove it, or write it in `defaults` for each step; the file that is run bounds the whole build",
    ),
];

const STEPS_EXAMPLE: &str = r#""steps": [{ "name": "test", "run": "make test" }]"#;

/// Reads a file. `None`: it is no pipeline at all, which has been reported.
pub(super) fn read_file(reader: &mut Reader<'_>, root: &Value<'_>, included: bool) -> Option<FileDraft> {
    let expected = Expected {
        name: "a pipeline",
        example: "{ \"steps\": [{ \"name\": \"test\", \"run\": \"make test\" }] }",
    };
    let object = reader.object(root, expected)?;
    let fields = reader.fields(object, &PIPELINE);
    if included {
        refuse_included(reader, &fields);
    }
    let mut file = FileDraft::default();
    if let Some(value) = fields.get("$schema") {
        let example = r#""$schema": "https://example.org/pipeline.json""#;
        reader.string(value, Expected { name: "`$schema`", example });
    }
    // First, as expressions everywhere in the file name them.
    reader.scope.params = fields.get("params").map(|value| read_params(reader, value)).unwrap_or_default();
    file.params.clone_from(&reader.scope.params);
    read_identity(reader, &fields, &mut file);
    file.env = fields.get("env").map(|value| read_env(reader, value, Some(Place::ENV))).unwrap_or_default();
    file.secrets = fields.get("secrets").map(|value| read_secrets(reader, value)).unwrap_or_default();
    let defaults = fields.get("defaults").and_then(|value| read_defaults(reader, value)).unwrap_or_default();
    file.timeout = fields.get("timeout").and_then(|value| read_duration(reader, value, "timeout"));
    if let Some((require, history)) = fields.get("require").and_then(|value| read_require(reader, value)) {
        (file.require, file.history_required) = (require, history);
    }
    file.lock = fields.get("lock").and_then(|value| read_lock(reader, value));
    file.plugins = fields.get("plugins").map(|value| read_plugins(reader, value)).unwrap_or_default();
    file.history = fields.get("history").and_then(|value| read_history(reader, value));
    file.observers = fields.get("observers").map(|value| read_observers(reader, value)).unwrap_or_default();
    read_steps(reader, &fields, &defaults, &mut file);
    Some(file)
}

fn refuse_included(reader: &mut Reader<'_>, fields: &Fields<'_>) {
    for (key, at) in fields.keys() {
        if let Some((_, help)) = NOT_INCLUDED.iter().find(|(refused, _)| *refused == key) {
            reader.refuse(at.clone(), format!("a file that is used by another cannot have `{key}`"), *help);
        }
    }
}

fn read_identity(reader: &mut Reader<'_>, fields: &Fields<'_>, file: &mut FileDraft) {
    let expected = Expected { name: "`name`", example: r#""name": "release""# };
    let name = fields.get("name");
    let name = name.and_then(|value| read_checked(reader, value, expected, "`name`", check_name));
    file.name = name.map(|name| name.value);
    let expected = Expected { name: "`component`", example: r#""component": "shop""# };
    let component = fields.get("component");
    let component =
        component.and_then(|value| read_checked(reader, value, expected, "`component`", check_component));
    file.component = component.map(|component| component.value);
}

fn read_steps(reader: &mut Reader<'_>, fields: &Fields<'_>, defaults: &Defaults, file: &mut FileDraft) {
    if fields.lacks("steps") {
        let diagnostic = Diagnostic::new(fields.span.clone(), "this pipeline has no `steps`");
        reader.report(diagnostic.help(format!("add them: {STEPS_EXAMPLE}")));
    }
    let Some(value) = fields.get("steps") else { return };
    let Some(array) = reader.array(value, Expected { name: "`steps`", example: STEPS_EXAMPLE }) else {
        return;
    };
    if array.elements.is_empty() {
        let help = format!("write at least one step: {STEPS_EXAMPLE}");
        reader.refuse(reader.span(array), "`steps` is empty", help);
    }
    reader.scope.look_ahead(&array.elements);
    refuse_same_names(reader, &array.elements);
    file.elements.reserve(array.elements.len());
    for element in &array.elements {
        match read_element(reader, element, defaults) {
            Some(element) => file.elements.push(element),
            None => file.broken = true,
        }
    }
}

/// A step is found by its name in logs and histories. Also looks at steps that have other faults.
fn refuse_same_names(reader: &mut Reader<'_>, elements: &[Value<'_>]) {
    let mut first: HashMap<&str, Span> = HashMap::with_capacity(elements.len());
    for element in elements {
        let name = element.as_object().and_then(|object| object.get_string("name"));
        let Some(name) = name.filter(|name| !name.value.trim().is_empty()) else { continue };
        if let Some(earlier) = first.get(&*name.value) {
            let message = format!("two steps have the name `{}`", printable(&name.value));
            let diagnostic = Diagnostic::new(reader.span(name), message)
                .label("again here")
                .related(earlier.clone(), "first here");
            reader.report(diagnostic.help("give each step a name of its own"));
        } else {
            first.insert(&name.value, reader.span(name));
        }
    }
}
