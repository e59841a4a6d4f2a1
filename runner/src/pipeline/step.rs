//! One element of `steps`.

use std::{collections::BTreeMap, time::Duration};

use jsonc_parser::ast::{Array, Value};

use super::{
    Action, Command, Diagnostic, Reports, Retry, Span, Spanned, Step,
    diagnostic::printable,
    duration,
    expression::Template,
    json::read_with,
    names::{check_name, check_variable},
    plugins::{object_to, read_checked, read_uses},
    reader::{Expected, Fields, Keys, Reader, kind, span},
};

const STEP: Keys = Keys {
    place: "a step",
    allowed: &["name", "run", "uses", "with", "env", "workdir", "timeout", "continue_on_error"],
    later: &[
        ("needs", "remove it; steps run one after the other, in the order of the file"),
        ("if", "remove it; a step runs when those above it have succeeded or say `continue_on_error`"),
        ("matrix", "remove it, and write one step for each combination"),
        (
            "retry",
            "remove it; a script can repeat a command: for i in 1 2 3; do make test && exit 0; done; exit 1",
        ),
        ("outputs", "remove it; steps share the workspace, so later ones find the files there"),
        ("secrets", "remove it; steps inherit dcd's own environment, so start it with `docker run -e NAME`"),
        ("reports", "remove it; the files stay in the workspace"),
    ],
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
    ],
};

const RUN: Expected<'_> =
    Expected { name: "`run`", example: r#""run": "make test" or "run": ["make", "test"]"# };

/// Reads one step; what is missing afterwards has been reported.
pub(super) fn read_step(reader: &mut Reader<'_>, value: &Value<'_>, index: usize) -> Option<Step> {
    let expected = Expected { name: "a step", example: r#"{ "name": "test", "run": "make test" }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &STEP);
    let name = read_name(reader, &fields);
    let action = read_action(reader, &fields);
    let env = fields.get("env").map(|value| read_env(reader, value)).unwrap_or_default();
    let workdir = fields.get("workdir").and_then(|value| read_workdir(reader, value));
    let timeout = fields.get("timeout").and_then(|value| read_timeout(reader, value));
    let expected = Expected { name: "`continue_on_error`", example: r#""continue_on_error": true"# };
    let continue_on_error = fields.get("continue_on_error").and_then(|value| reader.boolean(value, expected));
    Some(Step {
        name: name?,
        scope: 0,
        action: action?,
        needs: index.checked_sub(1).into_iter().collect(),
        conditions: Vec::new(),
        matrix: BTreeMap::new(),
        env: env.into_iter().map(|(name, value)| (name, Template::plain(value))).collect(),
        secrets: Vec::new(),
        workdir: workdir.map(|workdir| Template::plain(workdir.value)),
        timeout,
        retry: Retry::default(),
        continue_on_error: continue_on_error == Some(true),
        outputs: Vec::new(),
        reports: Reports::default(),
        reads: BTreeMap::new(),
    })
}

fn read_name(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Spanned<String>> {
    if fields.lacks("name") {
        let diagnostic = Diagnostic::new(fields.span.clone(), "this step has no `name`");
        reader.report(diagnostic.help(r#"add one, such as "name": "test""#));
    }
    let expected = Expected { name: "`name`", example: r#""name": "test""# };
    read_checked(reader, fields.get("name")?, expected, "`name`", check_name)
}

fn read_action(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Action> {
    if let (Some(run), Some(uses)) = (fields.key_span("run"), fields.key_span("uses")) {
        let diagnostic = Diagnostic::new(run, "this step has both `run` and `uses`")
            .related(uses, "and here")
            .label("here")
            .help("keep one of them, or make two steps of it");
        reader.report(diagnostic);
    } else if fields.lacks("run") && fields.lacks("uses") {
        let diagnostic = Diagnostic::new(fields.span.clone(), "this step has neither `run` nor `uses`");
        reader.report(diagnostic.help(r#"add what it does, such as "run": "make test""#));
    } else if let (Some(with), true) = (fields.key_span("with"), fields.lacks("uses")) {
        let diagnostic = Diagnostic::new(with, "`with` is for a step with `uses`");
        reader.report(diagnostic.help("remove it; a command gets its values through `env`"));
    }
    if let (Some(workdir), Some(_)) = (fields.key_span("workdir"), fields.get("uses")) {
        // The plugin contract has no such thing; taking the key would promise it.
        let diagnostic = Diagnostic::new(workdir, "`workdir` is for a step with `run`");
        reader.report(diagnostic.help("remove it; a plugin is given the workspace"));
    }
    let run = fields.get("run").map(|value| read_run(reader, value));
    let uses = fields.get("uses").map(|value| read_uses(reader, value));
    let owner = uses.iter().flatten().next().map_or(fields.span.clone(), |uses| uses.span.clone());
    let with = read_with(reader, fields.get("with"), &owner);
    match (run, uses) {
        (Some(command), None) => Some(Action::Run(command?)),
        (None, Some(plugin)) => Some(Action::Uses { plugin: plugin?, with: with? }),
        _ => None,
    }
}

fn read_run(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<Command>> {
    let command = match value {
        Value::StringLit(_) => read_script(reader, value)?,
        Value::Array(array) => read_program(reader, array)?,
        _ => return reader.wrong_type(value, "a string or an array of strings", RUN),
    };
    Some(Spanned { value: command, span: span(value) })
}

fn read_script(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Command> {
    let script = reader.string(value, RUN)?;
    if script.value.trim().is_empty() {
        let help = format!("write the command, as in {}", RUN.example);
        reader.report(Diagnostic::new(script.span, "`run` is empty").help(help));
        return None;
    }
    let help = "a script takes values from its environment, such as \"$DCD_BUILD_NUMBER\"";
    reader.refuse_expression(&script.value, &script.span, help);
    Some(Command::Shell { shell: ["/bin/sh", "-eu", "-c"].map(str::to_owned).to_vec(), script: script.value })
}

fn read_program(reader: &mut Reader<'_>, array: &Array<'_>) -> Option<Command> {
    const HELP: &str = "an array is executed without a shell, so nothing is replaced in it; \
                        write a string, and in it a variable such as \"$DCD_BUILD_NUMBER\"";
    let mut words = Vec::with_capacity(array.elements.len());
    for element in &array.elements {
        let expected = Expected { name: "an element of `run`", example: r#""run": ["make", "test"]"# };
        if let Some(word) = reader.string(element, expected) {
            reader.refuse_expression(&word.value, &word.span, HELP);
            words.push(word);
        }
    }
    let empty = match array.elements.first() {
        None => Some((span(array), "`run` is empty")),
        Some(Value::StringLit(program)) if program.value.is_empty() => {
            Some((span(program), "the program's name is empty"))
        }
        Some(_) => None,
    };
    if let Some((at, message)) = empty {
        reader.report(
            Diagnostic::new(at, message).help(r#"write the program and its arguments: ["make", "test"]"#),
        );
        return None;
    }
    Some(Command::Exec(words.into_iter().map(|word| word.value).collect()))
}

/// Reads `env`, of the pipeline or of a step.
pub(super) fn read_env(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(String, String)> {
    let expected = Expected { name: "`env`", example: r#""env": { "RUST_LOG": "info" }"# };
    let Some(object) = reader.object(value, expected) else { return Vec::new() };
    let mut env = Vec::with_capacity(object.properties.len());
    for (name, at, value) in reader.entries(object) {
        let shown = printable(name);
        if name == "DCD" || name.starts_with("DCD_") {
            let diagnostic = Diagnostic::new(at, format!("the variable `{shown}` is dcd's own"));
            reader.report(diagnostic.help("choose a name that does not start with DCD_"));
        } else if let Err(objection) = check_variable(name) {
            object_to(reader, &at, &format!("the variable name `{shown}`"), objection);
        }
        if let Some(value) = read_env_value(reader, &shown, value) {
            env.push((name.to_owned(), value));
        }
    }
    env
}

/// Strings only: a number or a boolean would have to be formatted, and not everyone would expect the same.
fn read_env_value(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<String> {
    let help = match value {
        Value::NumberLit(literal) => format!("write \"{}\"", printable(literal.value)),
        Value::BooleanLit(literal) => format!("write \"{}\"", literal.value),
        Value::NullKeyword(_) => "write \"\" for an empty value, or remove it".to_owned(),
        _ => format!("write it like \"{name}\": \"value\""),
    };
    let subject = format!("the variable `{name}`");
    if value.as_string_lit().is_none() {
        let message = format!("{subject} must be a string, not {}", kind(value));
        reader.report(Diagnostic::new(span(value), message).help(help));
        return None;
    }
    reader.plain_string(value, Expected { name: &subject, example: "" }).map(|string| string.value)
}

fn read_workdir(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<String>> {
    let workdir =
        reader.plain_string(value, Expected { name: "`workdir`", example: r#""workdir": "web""# })?;
    if workdir.value.is_empty() {
        let help = "write a path relative to the workspace or an absolute one, or leave it out for the workspace itself";
        reader.report(Diagnostic::new(workdir.span, "`workdir` is empty").help(help));
        return None;
    }
    Some(workdir)
}

fn read_timeout(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    const HELP: &str = "a duration is written like 500ms, 90s, 10m or 1h30m";
    let (text, at): (&str, Span) = match value {
        // Refused by the same rule as "600", and with the same advice.
        Value::NumberLit(literal) => (literal.value, span(literal)),
        Value::StringLit(literal) => (&literal.value, span(literal)),
        _ => {
            return reader.wrong_type(
                value,
                "a string",
                Expected { name: "`timeout`", example: r#""timeout": "10m""# },
            );
        }
    };
    match duration::parse(text) {
        Ok(timeout) => Some(timeout),
        Err(reason) => {
            reader.report(Diagnostic::new(at, format!("`timeout` is not a duration: {reason}")).help(HELP));
            None
        }
    }
}
