//! From the tree to the cases, all errors at once.

use jsonc_parser::ast::Value;
use serde_json::{Map, Value as JsonValue, json};

use super::{BackendSetup, Case, End, Expect, FakeAnswer, FakeCommand, WORKSPACE, Wanted, WantedRequest};
use crate::{
    event::Outcome,
    pipeline::{
        Allow, Diagnostic, Json, Source, Wrong,
        declare::read_secrets,
        diagnostic::printable,
        grants::{ALLOW, read_allow},
        json::{Expressions, read_with},
        limits::{LIMITS, read_limits},
        reader::{Expected, Fields, Key, Keys, Reader},
        schema, syntax,
        values::{read_env, read_list, read_number},
    },
};

pub(super) const CASES_EXAMPLE: &str =
    r#"[{ "name": "greets", "with": { "name": "Ada" }, "expect": { "output": "Hello Ada" } }]"#;
pub(super) const SETUP_EXAMPLE: &str = r#"{ "with": { "path": "/tmp/builds" }, "allow": { "fs": [{ "path": "/tmp/builds", "access": "rw" }] } }"#;

/// Nobody makes a schema of these files: what a key's value must be is said by who reads it.
const fn key(name: &'static str, about: &'static str) -> Key {
    Key::new(name, about, || json!({}))
}

const CASE: Keys = Keys {
    place: "a case",
    allowed: &[
        key("name", "What it shows."),
        key("with", "The step's config; `$WORKSPACE` in it stands for the workspace."),
        key("env", "The step's environment."),
        key("inputs", "Outputs of earlier steps."),
        key("facts", "The build's facts."),
        key("files", "What is in the workspace before."),
        Key::new("allow", "What the plugin is granted.", || schema::object(&ALLOW)),
        key("secrets", "The pipeline's secrets, with their values."),
        key("commands", "What stands in for programs."),
        key("http", "What stands in for the network."),
        key("cancel", "Whether the step is asked to stop as soon as it starts."),
        key("expect", "What should come of it."),
    ],
    misplaced: &[
        ("outcome", "move it into `expect`"),
        ("outputs", "move it into `expect`; what the step is given of earlier steps is `inputs`"),
        ("output", "move it into `expect`"),
        ("summary", "move it into `expect`"),
    ],
    elsewhere: &[
        ("config", "with"),
        ("grants", "allow"),
        ("environment", "env"),
        ("expected", "expect"),
        ("programs", "commands"),
        ("requests", "http"),
        ("workspace", "files"),
    ],
};

const EXPECT: Keys = Keys {
    place: "`expect`",
    allowed: &[
        key("outcome", "How the step ends."),
        key("outputs", "All its outputs."),
        key("summary", "Its summary."),
        key("output", "What it prints."),
        key("problem", "What is wrong, and what to do."),
        key("log", "What it logs."),
        key("files", "Files of the workspace afterwards."),
        key("commands", "All programs that it ran."),
        key("requests", "All requests that it sent."),
    ],
    misplaced: &[],
    elsewhere: &[("stdout", "output"), ("error", "problem"), ("message", "problem"), ("http", "requests")],
};

const COMMAND: Keys = Keys {
    place: "a command",
    allowed: &[
        key("run", "The program and its arguments."),
        key("exit_code", "How it ends."),
        key("stdout", "What it prints."),
        key("stderr", "What it prints as errors."),
    ],
    misplaced: &[],
    elsewhere: &[("command", "run"), ("program", "run"), ("code", "exit_code"), ("output", "stdout")],
};

const ANSWER: Keys = Keys {
    place: "an answer",
    allowed: &[
        key("request", "The method and the URL."),
        key("status", "The status code."),
        key("headers", "The headers."),
        key("body", "The body."),
    ],
    misplaced: &[("method", "write it into `request`, before the URL"), ("url", "write it into `request`")],
    elsewhere: &[("code", "status")],
};

const REQUEST: Keys = Keys {
    place: "a request",
    allowed: &[key("request", "The method and the URL."), key("body", "The body.")],
    misplaced: &[("method", "write it into `request`, before the URL"), ("url", "write it into `request`")],
    elsewhere: &[],
};

const CONTAINS: Keys = Keys {
    place: "a text that is looked into",
    allowed: &[key("contains", "What must be in it.")],
    misplaced: &[],
    elsewhere: &[("contain", "contains"), ("includes", "contains"), ("has", "contains")],
};

const SETUP: Keys = Keys {
    place: "how to open a backend",
    allowed: &[
        key("with", "Its config."),
        Key::new("allow", "What it is granted.", || schema::object(&ALLOW)),
        Key::new("limits", "How much it may use.", || schema::object(&LIMITS)),
        key("secrets", "Where the secrets are that it may be granted."),
    ],
    misplaced: &[],
    elsewhere: &[("config", "with"), ("grants", "allow")],
};

/// Reads one file.
pub(super) fn file<T>(
    text: &str,
    path: &str,
    example: &str,
    read: fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Result<T, Wrong> {
    let mut reader = Reader::new(text, 0);
    let file = match syntax::parse(text) {
        Ok(root) => read(&mut reader, &root),
        Err(error) => {
            // What is wrong with a pipeline that has no text is said of one.
            let help = error.help.clone().filter(|help| !help.contains("steps"));
            reader.report(Diagnostic { help: help.or(Some(format!("write it like {example}"))), ..*error });
            None
        }
    };
    let diagnostics = reader.into_errors();
    file.filter(|_| diagnostics.is_empty()).ok_or_else(|| Wrong {
        diagnostics,
        sources: vec![Source { path: path.to_owned(), text: text.to_owned() }],
    })
}

pub(super) fn cases(reader: &mut Reader<'_>, root: &Value<'_>) -> Option<Vec<Case>> {
    let array = reader.array(root, Expected { name: "a file of cases", example: CASES_EXAMPLE })?;
    if array.elements.is_empty() {
        reader.refuse(reader.span(root), "there is no case in it", format!("write one: {CASES_EXAMPLE}"));
    }
    let cases = array.elements.iter().filter_map(|element| case(reader, element)).collect();
    Some(cases)
}

fn case(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Case> {
    let object = reader.object(value, Expected { name: "a case", example: CASES_EXAMPLE })?;
    let fields = reader.fields(object, &CASE);
    if fields.lacks("name") {
        reader.refuse(
            fields.span.clone(),
            "this case has no `name`",
            "say what it shows, as in \"name\": \"greets\"",
        );
    }
    let name = fields.get("name").and_then(|value| text(reader, value, "`name`", r#""name": "greets""#));
    let with = with(reader, &fields)?;
    Some(Case {
        name: name.unwrap_or_default(),
        with,
        env: fields.get("env").map(|value| env(reader, value)).unwrap_or_default(),
        inputs: fields.get("inputs").map(|value| inputs(reader, value)).unwrap_or_default(),
        facts: fields.get("facts").map_or_else(|| json!({}), |value| any(reader, value)),
        files: texts(reader, &fields, "files", r#""files": { "notes.txt": "some text" }"#),
        allow: allow(reader, &fields),
        secrets: texts(reader, &fields, "secrets", r#""secrets": { "TOKEN": "a value" }"#),
        commands: list(
            reader,
            &fields,
            "commands",
            r#""commands": [{ "run": "helm *", "stdout": "ok" }]"#,
            command,
        ),
        http: list(
            reader,
            &fields,
            "http",
            r#""http": [{ "request": "GET https://example.com/*", "status": 200 }]"#,
            answer,
        ),
        cancel: fields
            .get("cancel")
            .and_then(|value| {
                reader.boolean(value, Expected { name: "`cancel`", example: r#""cancel": true"# })
            })
            .unwrap_or_default(),
        expect: fields.get("expect").and_then(|value| expect(reader, value)).unwrap_or_default(),
    })
}

pub(super) fn setup(reader: &mut Reader<'_>, root: &Value<'_>) -> Option<BackendSetup> {
    let object = reader.object(root, Expected { name: "how to open a backend", example: SETUP_EXAMPLE })?;
    let fields = reader.fields(object, &SETUP);
    let limits = fields.get("limits").map(|value| read_limits(reader, value));
    Some(BackendSetup {
        with: with(reader, &fields)?,
        allow: allow(reader, &fields),
        limits: limits.unwrap_or_default(),
        secrets: fields.get("secrets").map(|value| read_secrets(reader, value)).unwrap_or_default(),
    })
}

fn with(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Json> {
    let with = read_with(reader, fields.get("with"), &fields.span, Expressions::Taken)?;
    for pointer in with.templates.keys() {
        let help = format!("write the value itself; `{WORKSPACE}` stands for the workspace");
        reader.refuse(with.span(pointer), "an expression cannot stand here", help);
    }
    Some(with)
}

fn allow(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Allow {
    fields.get("allow").map(|value| read_allow(reader, value)).unwrap_or_default()
}

fn env(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, String)> {
    let values = read_env(reader, value, None);
    values.into_iter().map(|(name, template)| (name, template.source().to_owned())).collect()
}

fn inputs(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, String, JsonValue)> {
    let expected = Expected { name: "`inputs`", example: r#""inputs": { "build": { "version": "1.2" } }"# };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut inputs = Vec::new();
    for (step, _, outputs) in reader.entries(object) {
        let Some(outputs) = reader.object(outputs, expected) else { continue };
        for (name, _, value) in reader.entries(outputs) {
            inputs.push((step.to_owned(), name.to_owned(), any(reader, value)));
        }
    }
    inputs
}

fn command(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<FakeCommand> {
    const EXAMPLE: &str = r#"{ "run": "helm upgrade *", "exit_code": 0, "stdout": "done" }"#;
    let object = reader.object(value, Expected { name: "a command", example: EXAMPLE })?;
    let fields = reader.fields(object, &COMMAND);
    if fields.lacks("run") {
        reader.refuse(
            fields.span.clone(),
            "this command does not say which it is",
            format!("add `run`: {EXAMPLE}"),
        );
    }
    let mut string =
        |key: &str| fields.get(key).and_then(|value| text(reader, value, &format!("`{key}`"), EXAMPLE));
    let (run, stdout, stderr) = (string("run"), string("stdout"), string("stderr"));
    let code =
        fields.get("exit_code").and_then(|value| number(reader, value, "`exit_code`", EXAMPLE, 0..=255));
    Some(FakeCommand {
        run: run?,
        exit_code: code.unwrap_or_default(),
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
    })
}

fn answer(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<FakeAnswer> {
    const EXAMPLE: &str =
        r#"{ "request": "POST https://example.com/*", "status": 201, "body": { "id": 7 } }"#;
    let object = reader.object(value, Expected { name: "an answer", example: EXAMPLE })?;
    let fields = reader.fields(object, &ANSWER);
    if fields.lacks("request") {
        reader.refuse(
            fields.span.clone(),
            "this answer does not say to what",
            format!("add `request`: {EXAMPLE}"),
        );
    }
    let request = fields.get("request").and_then(|value| text(reader, value, "`request`", EXAMPLE));
    let status = fields.get("status").and_then(|value| number(reader, value, "`status`", EXAMPLE, 100..=599));
    let body = match fields.get("body") {
        None => String::new(),
        Some(Value::StringLit(literal)) => literal.value.clone().into_owned(),
        Some(value) => any(reader, value).to_string(),
    };
    Some(FakeAnswer {
        request: request?,
        status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
        headers: texts(reader, &fields, "headers", r#""headers": { "retry-after": "2" }"#),
        body,
    })
}

fn expect(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Expect> {
    const EXAMPLE: &str = r#""expect": { "outcome": "failure", "output": { "contains": "no" } }"#;
    let object = reader.object(value, Expected { name: "`expect`", example: EXAMPLE })?;
    let fields = reader.fields(object, &EXPECT);
    let mut expect = Expect::default();
    if let Some(value) = fields.get("outcome") {
        expect.end = end(reader, value)?;
    }
    if let Some(value) = fields.get("outputs") {
        let expected = Expected { name: "`outputs`", example: r#""outputs": { "status": 200 }"# };
        reader.object(value, expected)?;
        expect.outputs = Some(any(reader, value));
    }
    let mut looked_into =
        |key: &str| fields.get(key).and_then(|value| wanted(reader, value, &format!("`{key}`")));
    expect.summary = looked_into("summary");
    expect.output = looked_into("output");
    expect.problem = looked_into("problem");
    expect.log = looked_into("log");
    expect.files = fields.get("files").map(|value| files(reader, value)).unwrap_or_default();
    expect.commands =
        fields.get("commands").map(|value| strings(reader, value, "`commands`", r#"["helm upgrade *"]"#));
    let requests = Expected { name: "`requests`", example: r#"["GET https://example.com/*"]"# };
    expect.requests =
        fields.get("requests").map(|value| read_list(reader, Some(value), requests, wanted_request));
    Some(expect)
}

fn end(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<End> {
    let word = reader.string(value, Expected { name: "`outcome`", example: r#""outcome": "failure""# })?;
    match word.value.as_str() {
        "success" => Some(End::Outcome(Outcome::Success)),
        "failure" => Some(End::Outcome(Outcome::Failure)),
        "error" => Some(End::Outcome(Outcome::Error)),
        "cancellation" => Some(End::Outcome(Outcome::Cancellation)),
        "refused" => Some(End::Refused),
        other => {
            let message = format!("a case does not end in `{}`", printable(other));
            let help = "it is `success`, `failure`, `error`, `cancellation`, or `refused` for a config that is wrong";
            reader.refuse(word.span, message, help);
            None
        }
    }
}

fn files(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, Option<Wanted>)> {
    let expected =
        Expected { name: "`files`", example: r#""files": { "out.txt": "text", "gone.txt": null }"# };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut files = Vec::new();
    for (path, _, value) in reader.entries(object) {
        if let Value::NullKeyword(_) = value {
            files.push((path.to_owned(), None));
        } else if let Some(wanted) = wanted(reader, value, &format!("the file `{}`", printable(path))) {
            files.push((path.to_owned(), Some(wanted)));
        }
    }
    files
}

fn wanted(reader: &mut Reader<'_>, value: &Value<'_>, name: &str) -> Option<Wanted> {
    const EXAMPLE: &str = r#""the whole text", or { "contains": ["a part", "another"] }"#;
    match value {
        Value::StringLit(literal) => Some(Wanted::Text(literal.value.clone().into_owned())),
        Value::Object(object) => {
            let fields = reader.fields(object, &CONTAINS);
            if fields.lacks("contains") {
                reader.refuse(
                    fields.span.clone(),
                    "this does not say what is looked for",
                    format!("write {EXAMPLE}"),
                );
            }
            match fields.get("contains")? {
                Value::StringLit(literal) => Some(Wanted::Contains(vec![literal.value.clone().into_owned()])),
                list => Some(Wanted::Contains(strings(reader, list, "`contains`", EXAMPLE))),
            }
        }
        _ => reader.wrong_type(value, "a string or an object", Expected { name, example: EXAMPLE }),
    }
}

fn wanted_request(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<WantedRequest> {
    const EXAMPLE: &str = r#"{ "request": "POST https://example.com/*", "body": { "contains": "text" } }"#;
    if let Value::StringLit(literal) = value {
        return Some(WantedRequest { request: literal.value.clone().into_owned(), body: None });
    }
    let Value::Object(object) = value else {
        let expected = Expected { name: "a request", example: EXAMPLE };
        return reader.wrong_type(value, "a string or an object", expected);
    };
    let fields = reader.fields(object, &REQUEST);
    if fields.lacks("request") {
        let help = format!("add `request`: {EXAMPLE}");
        reader.refuse(fields.span.clone(), "this request does not say which it is", help);
    }
    let request = fields.get("request").and_then(|value| text(reader, value, "`request`", EXAMPLE));
    let body = fields.get("body").and_then(|value| wanted(reader, value, "`body`"));
    Some(WantedRequest { request: request?, body })
}

fn list<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    key: &str,
    example: &str,
    read: fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    read_list(reader, fields.get(key), Expected { name: &format!("`{key}`"), example }, read)
}

fn strings(reader: &mut Reader<'_>, value: &Value<'_>, name: &str, example: &str) -> Vec<String> {
    read_list(reader, Some(value), Expected { name, example }, |reader, value| {
        text(reader, value, &format!("an element of {name}"), example)
    })
}

/// An object whose values are texts.
fn texts(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, example: &str) -> Vec<(String, String)> {
    let name = format!("`{key}`");
    let object = fields.get(key).and_then(|value| reader.object(value, Expected { name: &name, example }));
    let Some(object) = object else { return Vec::new() };
    let mut texts = Vec::new();
    for (key, _, value) in reader.entries(object) {
        if let Some(value) = text(reader, value, &format!("a value of {name}"), example) {
            texts.push((key.to_owned(), value));
        }
    }
    texts
}

fn text(reader: &mut Reader<'_>, value: &Value<'_>, name: &str, example: &str) -> Option<String> {
    reader.string(value, Expected { name, example }).map(|text| text.value)
}

fn number(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    name: &str,
    example: &str,
    range: std::ops::RangeInclusive<i32>,
) -> Option<i32> {
    let Value::NumberLit(literal) = value else {
        return reader.wrong_type(value, "a number", Expected { name, example });
    };
    let number = literal.value.parse().ok().filter(|number| range.contains(number));
    if number.is_none() {
        let message = format!("{name} cannot be {}", printable(literal.value));
        reader.refuse(
            reader.span(literal),
            message,
            format!("it is from {} to {}", range.start(), range.end()),
        );
    }
    number
}

/// Any value. It recurses as deep as the text nests, which is bounded before it is parsed.
fn any(reader: &mut Reader<'_>, value: &Value<'_>) -> JsonValue {
    match value {
        Value::NullKeyword(_) => JsonValue::Null,
        Value::BooleanLit(literal) => JsonValue::Bool(literal.value),
        Value::NumberLit(literal) => {
            read_number(reader, literal.value, &reader.span(literal)).unwrap_or_default()
        }
        Value::StringLit(literal) => JsonValue::String(literal.value.clone().into_owned()),
        Value::Array(array) => array.elements.iter().map(|element| any(reader, element)).collect(),
        Value::Object(object) => {
            let mut map = Map::new();
            for (key, _, value) in reader.entries(object) {
                let value = any(reader, value);
                map.insert(key.to_owned(), value);
            }
            JsonValue::Object(map)
        }
    }
}
