//! The JSON Schema of the pipeline file, made of the tables that the reader goes by.

use serde_json::{Map, Value, json};

use super::{file::PIPELINE, reader::Keys, step::STEP};

/// A name that can stand in expressions.
pub(super) const IDENTIFIER: &str = "^[A-Za-z_][A-Za-z0-9_]{0,99}$";

/// The schema (draft 2020-12). Editors complete and check a pipeline file with it; what it lets pass, `dcd validate`
/// still looks at.
pub fn schema() -> Value {
    let mut schema = object(&PIPELINE);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!("https://raw.githubusercontent.com/progsoftware/dcd/main/schema/pipeline.json");
    schema["title"] = json!("A pipeline of DistributedCD");
    schema["required"] = json!(["steps"]);
    schema["$defs"] = json!({ "step": step() });
    schema
}

/// A step is one of four things, each with some of the keys.
fn step() -> Value {
    let mut step = object(&STEP);
    let only = |required: &[&str], but: &[&str]| {
        let without: Vec<_> = but.iter().map(|key| json!({ "required": [key] })).collect();
        json!({ "required": required, "not": { "anyOf": without } })
    };
    let is_file = json!({ "properties": { "uses": { "pattern": "/|\\.jsonc?$" } } });
    let mut plugin = only(&["name", "uses"], &["run", "include", "workdir"]);
    plugin["properties"] = json!({ "uses": self::plugin() });
    let mut file = only(
        &["name", "uses"],
        &[
            "run",
            "include",
            "workdir",
            "timeout",
            "retry",
            "outputs",
            "reports",
            "secrets",
            "continue_on_error",
        ],
    );
    file["properties"] = is_file["properties"].clone();
    file["properties"]["with"] = json!({ "additionalProperties": scalar() });
    file["properties"]["env"] = json!({ "additionalProperties": { "not": has_expression() } });
    let others: Vec<_> = STEP
        .allowed
        .iter()
        .map(|key| key.name)
        .filter(|key| !["include", "with", "needs", "if"].contains(key))
        .collect();
    let mut include = only(&["include"], &others);
    include["properties"] = json!({ "with": { "additionalProperties": scalar() } });
    step["oneOf"] = json!([only(&["name", "run"], &["uses", "include", "with"]), plugin, file, include]);
    step
}

/// An object of these keys and no others.
pub(super) fn object(keys: &Keys) -> Value {
    let mut properties = Map::new();
    for key in keys.allowed {
        let mut schema = (key.schema)();
        schema["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), schema);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Any string.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// A string that is taken as it stands.
pub(super) fn plain_text() -> Value {
    json!({ "type": "string", "not": has_expression() })
}

/// Matches a string with an expression in it.
pub(super) fn has_expression() -> Value {
    json!({ "pattern": "\\$\\{\\{" })
}

/// A string that may have expressions in it.
pub(super) fn template() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// The name of a pipeline or a step.
pub(super) fn name() -> Value {
    json!({
        "type": "string",
        "maxLength": 100,
        "pattern": "^\\S(.*\\S)?$",
        "not": { "pattern": "[\\u0000-\\u001f\\u007f]|\\$\\{\\{" },
    })
}

pub(super) fn path() -> Value {
    json!({ "type": "string", "minLength": 1, "not": has_expression() })
}

pub(super) fn plugin() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" })
}

pub(super) fn variable() -> Value {
    json!({ "type": "string", "pattern": "^[^=\\s]+$", "not": has_expression() })
}

/// A variable that is not dcd's.
pub(super) fn own_variable() -> Value {
    json!({ "pattern": "^(?!DCD$|DCD_)[^=\\s]+$" })
}

pub(super) fn environment() -> Value {
    json!({ "type": "object", "propertyNames": own_variable(), "additionalProperties": { "type": "string" } })
}

pub(super) fn duration() -> Value {
    let pattern = "^(?=.*[1-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
    json!({ "type": "string", "pattern": pattern, "examples": ["500ms", "90s", "10m", "1h30m"] })
}

/// Relative to the workspace, and within it.
pub(super) fn glob() -> Value {
    json!({ "type": "string", "pattern": "^(?!/)(?!(.*/)?\\.\\.(/|$)).+$" })
}

pub(super) fn globs() -> Value {
    json!({ "type": "array", "uniqueItems": true, "items": glob() })
}
