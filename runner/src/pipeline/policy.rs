//! `defaults`, `require`, `lock` and `retry`.

use std::time::Duration;

use globset::GlobBuilder;
use jsonc_parser::ast::Value;
use serde_json::json;

use super::{
    Diagnostic, GitRequirement, Lock, Require, Retry, Spanned,
    diagnostic::{did_you_mean, printable},
    embed::{Place, template},
    expression::Template,
    reader::{Expected, Key, Keys, Reader},
    schema,
    step::read_workdir,
    values::{read_duration, read_list, refuse_twice},
};
use crate::event::Outcome;

/// What a file's steps get where they say nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub shell: Option<Vec<String>>,
    pub timeout: Option<Duration>,
    pub workdir: Option<Template>,
}

pub(super) const DEFAULTS: Keys = Keys {
    place: "`defaults`",
    allowed: &[
        Key::new(
            "shell",
            "The program, with its arguments, that scripts are given to as the last argument. Default: `/bin/sh -eu -c`.",
            || json!({ "type": "array", "minItems": 1, "items": schema::plain_text() }),
        ),
        Key::new("timeout", "How long an attempt of a step may take.", schema::duration),
        Key::new("workdir", "Where commands start. Default: the workspace.", schema::template),
    ],
    misplaced: &[
        ("env", "write `env` beside `defaults`: it is added to the environment of all the file's steps"),
        ("retry", "write `retry` in each step that is to be tried again"),
    ],
    elsewhere: &[
        ("cwd", "workdir"),
        ("dir", "workdir"),
        ("working-directory", "workdir"),
        ("working_directory", "workdir"),
    ],
};

pub(super) const REQUIRE: Keys = Keys {
    place: "`require`",
    allowed: &[
        Key::new(
            "git",
            "What the repository's state must be: `clean` (nothing differs from the commit), `pushed` (the upstream has the commit), `branch:GLOB`.",
            || {
                let words = json!({ "enum": ["clean", "pushed"] });
                let branch = json!({ "type": "string", "pattern": "^branch:." });
                json!({ "type": "array", "items": { "anyOf": [words, branch] } })
            },
        ),
        Key::new("docker", "The container and its image must be known.", schema::boolean),
        Key::new(
            "history",
            "The history backend must have given the build its number before the first step.",
            schema::boolean,
        ),
    ],
    misplaced: &[],
    elsewhere: &[("image", "docker"), ("container", "docker"), ("branch", "git"), ("clean", "git")],
};

pub(super) const LOCK: Keys = Keys {
    place: "`lock`",
    allowed: &[
        Key::new("name", "Builds with the same name run one after the other.", schema::template),
        Key::new("wait", "How long to wait for it. Default: as long as it takes.", schema::duration),
    ],
    misplaced: &[],
    elsewhere: &[("key", "name"), ("group", "name"), ("timeout", "wait")],
};

/// The ends after which a step can be tried again.
const ENDS: [(&str, Outcome); 3] =
    [("failure", Outcome::Failure), ("timeout", Outcome::Timeout), ("error", Outcome::Error)];

const MAX_ATTEMPTS: u32 = 100;

pub(super) const RETRY: Keys = Keys {
    place: "`retry`",
    allowed: &[
        Key::new("attempts", "How many tries there are at most, the first included.", attempts),
        Key::new("delay", "How long to wait before the second try. Default: not at all.", schema::duration),
        Key::new(
            "backoff",
            "What each further delay is multiplied with. Default: 1.",
            || json!({ "type": "number", "minimum": 1, "maximum": 1000, "default": 1 }),
        ),
        Key::new("on", "The ends after which it is tried again. Default: all three.", || {
            let ends = ENDS.map(|(name, _)| name);
            json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "enum": ends } })
        }),
    ],
    misplaced: &[],
    elsewhere: &[
        ("times", "attempts"),
        ("count", "attempts"),
        ("max", "attempts"),
        ("max_attempts", "attempts"),
        ("wait", "delay"),
        ("interval", "delay"),
        ("factor", "backoff"),
        ("when", "on"),
        ("if", "on"),
    ],
};

pub(super) fn attempts() -> serde_json::Value {
    json!({ "type": "integer", "minimum": 2, "maximum": MAX_ATTEMPTS })
}

/// Reads `defaults`.
pub(super) fn read_defaults(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Defaults> {
    let expected = Expected { name: "`defaults`", example: r#""defaults": { "timeout": "30m" }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &DEFAULTS);
    Some(Defaults {
        shell: fields.get("shell").and_then(|value| read_shell(reader, value)),
        timeout: fields.get("timeout").and_then(|value| read_duration(reader, value, "timeout")),
        workdir: fields.get("workdir").and_then(|value| read_workdir(reader, value, Place::DEFAULT_WORKDIR)),
    })
}

fn read_shell(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    let expected =
        Expected { name: "`shell`", example: r#""shell": ["/bin/bash", "-euo", "pipefail", "-c"]"# };
    let array = reader.array(value, expected)?;
    let word = Expected { name: "an element of `shell`", ..expected };
    let words = read_list(reader, Some(value), expected, |reader, value| reader.plain_string(value, word));
    if array.elements.is_empty() || words.first().is_some_and(|program| program.value.is_empty()) {
        reader.refuse(
            reader.span(array),
            "`shell` names no program",
            format!("write it like {}", expected.example),
        );
        return None;
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

/// Reads `require`; the second says where it asks for a history, if it does.
pub(super) fn read_require(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
) -> Option<(Require, Option<super::Span>)> {
    let expected =
        Expected { name: "`require`", example: r#""require": { "git": ["clean"], "docker": true }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &REQUIRE);
    let git = Expected { name: "`git`", example: r#""git": ["clean", "pushed", "branch:main"]"# };
    let git = read_list(reader, fields.get("git"), git, read_git);
    let docker = Expected { name: "`docker`", example: r#""docker": true"# };
    let docker = fields.get("docker").and_then(|value| reader.boolean(value, docker)) == Some(true);
    let history = Expected { name: "`history`", example: r#""history": true"# };
    let history = fields.get("history").and_then(|value| reader.boolean(value, history)) == Some(true);
    let at = if history { fields.key_span("history") } else { None };
    Some((Require { git, docker, history }, at))
}

fn read_git(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<GitRequirement>> {
    let expected = Expected { name: "an element of `git`", example: r#""clean", "pushed" or "branch:main""# };
    let string = reader.plain_string(value, expected)?;
    let requirement = match string.value.as_str() {
        "clean" => GitRequirement::Clean,
        "pushed" => GitRequirement::Pushed,
        other => match other.strip_prefix("branch:") {
            Some(glob) if !glob.is_empty() => {
                if let Err(error) = GlobBuilder::new(glob).build() {
                    let message = format!("`branch:` is not followed by a glob: {}", error.kind());
                    reader.refuse(
                        string.span,
                        message,
                        "write it like \"branch:main\" or \"branch:release/*\"",
                    );
                    return None;
                }
                GitRequirement::Branch(glob.to_owned())
            }
            _ => {
                let message = format!("`git` cannot require `{}`", printable(other));
                let diagnostic = Diagnostic::new(string.span, message);
                reader.report(match did_you_mean(other, ["clean", "pushed"]) {
                    Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
                    None => {
                        diagnostic.help("it takes `clean`, `pushed` and `branch:GLOB`, as in \"branch:main\"")
                    }
                });
                return None;
            }
        },
    };
    Some(Spanned { value: requirement, span: string.span })
}

/// Reads `lock`.
pub(super) fn read_lock(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Lock> {
    const EXAMPLE: &str = r#""lock": "deploy" or "lock": { "name": "deploy", "wait": "10m" }"#;
    let expected = Expected { name: "`lock`", example: EXAMPLE };
    let (name, wait) = match value {
        Value::StringLit(_) => (reader.string(value, expected)?, None),
        Value::Object(object) => {
            let fields = reader.fields(object, &LOCK);
            if fields.lacks("name") {
                reader.refuse(
                    fields.span.clone(),
                    "this `lock` has no `name`",
                    format!("write it like {EXAMPLE}"),
                );
            }
            let wait = fields.get("wait").and_then(|value| read_duration(reader, value, "wait"));
            (reader.string(fields.get("name")?, Expected { name: "`name`", example: EXAMPLE })?, wait)
        }
        _ => return reader.wrong_type(value, "a string or an object", expected),
    };
    if name.value.trim().is_empty() {
        reader.refuse(name.span, "the name of this `lock` is empty", format!("write it like {EXAMPLE}"));
        return None;
    }
    Some(Lock { name: template(reader, &name, Place::LOCK), wait })
}

/// Reads `retry`.
pub(super) fn read_retry(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Retry> {
    const EXAMPLE: &str = r#""retry": 3 or "retry": { "attempts": 3, "delay": "5s", "backoff": 2 }"#;
    match value {
        Value::NumberLit(_) => {
            Some(Retry { attempts: read_attempts(reader, value, "`retry`")?, ..Retry::default() })
        }
        Value::Object(object) => {
            let fields = reader.fields(object, &RETRY);
            if fields.lacks("attempts") {
                reader.refuse(
                    fields.span.clone(),
                    "this `retry` does not say how many `attempts` there are",
                    format!("write it like {EXAMPLE}"),
                );
            }
            let delay = fields.get("delay").and_then(|value| read_duration(reader, value, "delay"));
            let backoff = fields.get("backoff").map_or(Some(1.0), |value| read_backoff(reader, value));
            if let (Some(at), true) = (fields.key_span("backoff"), fields.lacks("delay")) {
                reader.refuse(
                    at,
                    "`backoff` multiplies `delay`, which is missing",
                    r#"add it: "delay": "5s""#,
                );
            }
            let on = fields.get("on").map_or(Some(Retry::default().on), |value| read_ends(reader, value));
            let attempts = read_attempts(reader, fields.get("attempts")?, "`attempts`")?;
            Some(Retry { attempts, delay: delay.unwrap_or_default(), backoff: backoff?, on: on? })
        }
        _ => {
            reader.wrong_type(value, "a number or an object", Expected { name: "`retry`", example: EXAMPLE })
        }
    }
}

fn read_attempts(reader: &mut Reader<'_>, value: &Value<'_>, name: &str) -> Option<u32> {
    let Value::NumberLit(literal) = value else {
        return reader.wrong_type(value, "a number", Expected { name, example: r#""attempts": 3"# });
    };
    let attempts = literal.value.parse::<u32>().ok().filter(|count| (2..=MAX_ATTEMPTS).contains(count));
    if attempts.is_none() {
        let message = format!("{name} must be a whole number from 2 to {MAX_ATTEMPTS}");
        let help = match literal.value {
            "0" | "1" => "it counts all tries, the first included; to try once, remove it",
            _ => "it counts all tries, the first included",
        };
        reader.refuse(reader.span(value), message, help);
    }
    attempts
}

fn read_backoff(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<f64> {
    let Value::NumberLit(literal) = value else {
        let expected = Expected { name: "`backoff`", example: r#""backoff": 2"# };
        return reader.wrong_type(value, "a number", expected);
    };
    let backoff = literal.value.parse::<f64>().ok().filter(|factor| (1.0..=1000.0).contains(factor));
    if backoff.is_none() {
        let help = "each delay is the one before it times this number: 1 keeps them equal, 2 doubles them";
        reader.refuse(reader.span(value), "`backoff` must be a number from 1 to 1000", help);
    }
    backoff
}

fn read_ends(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Outcome>> {
    const EXAMPLE: &str = r#""on": ["timeout", "error"]"#;
    let array = reader.array(value, Expected { name: "`on`", example: EXAMPLE })?;
    if array.elements.is_empty() {
        let help = "name the ends after which it is tried again, or remove it: then it is after any of them";
        reader.refuse(reader.span(array), "`on` is empty", help);
        return None;
    }
    let mut ends = Vec::new();
    let mut outcomes = Vec::new();
    for element in &array.elements {
        let end = reader.plain_string(element, Expected { name: "an element of `on`", example: EXAMPLE })?;
        let known = ENDS.iter().find(|(name, _)| *name == end.value);
        let Some((_, outcome)) = known else {
            let message = format!("a step is not tried again after `{}`", printable(&end.value));
            let diagnostic = Diagnostic::new(end.span, message);
            reader.report(match did_you_mean(&end.value, ENDS.map(|(name, _)| name)) {
                Some(meant) => diagnostic.label(format!("did you mean `{meant}`?")),
                None => diagnostic.help("it takes `failure`, `timeout` and `error`"),
            });
            return None;
        };
        outcomes.push(*outcome);
        ends.push(end);
    }
    refuse_twice(reader, "`on`", &ends);
    Some(outcomes)
}
