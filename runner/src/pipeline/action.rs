//! What a step does: `run`, `uses`, `include`, and `with`.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Array, Value};

use super::{
    Action, Command, Diagnostic, Spanned, TemplateValue,
    diagnostic::printable,
    draft::Use,
    embed::{Place, template},
    json::{Expressions, read_with},
    plugins::read_uses,
    policy::Defaults,
    reader::{Expected, Fields, Reader},
    values::{read_env, read_scalar},
};

const RUN: Expected<'_> =
    Expected { name: "`run`", example: r#""run": "make test" or "run": ["make", "test"]"# };

/// The shell of scripts, where a file has no other.
const SHELL: [&str; 3] = ["/bin/sh", "-eu", "-c"];

/// Whether the value of `uses` names a pipeline file, not a plugin.
pub(super) fn is_file(uses: &Value<'_>) -> bool {
    uses.as_string_lit().is_some_and(|literal| {
        let path: &str = &literal.value;
        match path.rsplit_once('.') {
            Some((_, "json" | "jsonc")) => true,
            // A plugin's own file, whatever its path: there is other advice for that.
            Some((_, "wasm")) => false,
            _ => path.contains('/'),
        }
    })
}

/// Reads what a step does that is not the use of a file.
pub(super) fn read_action(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    defaults: &Defaults,
) -> Option<Action> {
    if let (Some(run), Some(uses)) = (fields.key_span("run"), fields.key_span("uses")) {
        let diagnostic = Diagnostic::new(run, "this step has both `run` and `uses`")
            .related(uses, "and here")
            .label("here")
            .help("keep one of them, or make two steps of it");
        reader.report(diagnostic);
    } else if fields.lacks("run") && fields.lacks("uses") && fields.lacks("include") {
        let help = r#"add what it does, such as "run": "make test""#;
        reader.refuse(fields.span.clone(), "this step has neither `run` nor `uses`", help);
    } else if let (Some(with), true) = (fields.key_span("with"), fields.lacks("uses")) {
        let help = "remove it; a command gets its values through `env`";
        reader.refuse(with, "`with` is for a step with `uses`", help);
    }
    if let (Some(workdir), Some(_)) = (fields.key_span("workdir"), fields.get("uses")) {
        // The plugin contract has no such thing; taking the key would promise it.
        let help = "remove it; a plugin is given the workspace";
        reader.refuse(workdir, "`workdir` is for a step with `run`", help);
    }
    let run = fields.get("run").map(|value| read_run(reader, value, defaults));
    // With `run` beside it, that it is a file is no matter.
    let uses = fields.get("uses").filter(|value| !is_file(value)).map(|value| read_uses(reader, value));
    let given = fields.get("with");
    let with = if given.is_some() || uses.is_some() {
        let owner = uses.iter().flatten().next().map_or(fields.span.clone(), |uses| uses.span.clone());
        read_with(reader, given, &owner, Expressions::Taken)
    } else {
        None
    };
    match (run, uses) {
        (Some(command), None) => Some(Action::Run(command?)),
        (None, Some(plugin)) => Some(Action::Uses { plugin: plugin?, with: with? }),
        _ => None,
    }
}

fn read_run(reader: &mut Reader<'_>, value: &Value<'_>, defaults: &Defaults) -> Option<Spanned<Command>> {
    let command = match value {
        Value::StringLit(_) => read_script(reader, value, defaults)?,
        Value::Array(array) => read_program(reader, array)?,
        _ => return reader.wrong_type(value, "a string or an array of strings", RUN),
    };
    Some(Spanned { value: command, span: reader.span(value) })
}

fn read_script(reader: &mut Reader<'_>, value: &Value<'_>, defaults: &Defaults) -> Option<Command> {
    let script = reader.string(value, RUN)?;
    if script.value.trim().is_empty() {
        reader.refuse(script.span, "`run` is empty", format!("write the command, as in {}", RUN.example));
        return None;
    }
    let help = "a script takes values from its environment: write the expression in `env`, as in \
                \"env\": { \"TARGET\": \"${{ params.target }}\" }, and \"$TARGET\" in the script";
    reader.refuse_expression(&script.value, &script.span, help);
    let shell = defaults.shell.clone().unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
    Some(Command::Shell { shell, script: script.value })
}

fn read_program(reader: &mut Reader<'_>, array: &Array<'_>) -> Option<Command> {
    const HELP: &str = "an array is executed without a shell, so nothing is replaced in it; \
                        write a string, the expression in `env`, and a variable such as \"$TARGET\" in the string";
    let mut words = Vec::with_capacity(array.elements.len());
    for element in &array.elements {
        let expected = Expected { name: "an element of `run`", example: r#""run": ["make", "test"]"# };
        if let Some(word) = reader.string(element, expected) {
            reader.refuse_expression(&word.value, &word.span, HELP);
            words.push(word);
        }
    }
    let empty = match array.elements.first() {
        None => Some((reader.span(array), "`run` is empty")),
        Some(Value::StringLit(program)) if program.value.is_empty() => {
            Some((reader.span(program), "the program's name is empty"))
        }
        Some(_) => None,
    };
    if let Some((at, message)) = empty {
        reader.refuse(at, message, r#"write the program and its arguments: ["make", "test"]"#);
        return None;
    }
    Some(Command::Exec(words.into_iter().map(|word| word.value).collect()))
}

/// Reads the use of a file; `path` is the value of `uses` or `include`.
pub(super) fn read_use(reader: &mut Reader<'_>, fields: &Fields<'_>, path: &Value<'_>) -> Option<Use> {
    let expected = Expected { name: "the file", example: r#""include": "ci/rust.json""# };
    let path = reader.plain_string(path, expected);
    let (given, given_at) = fields.get("with").map(|value| read_given(reader, value)).unwrap_or_default();
    let env = fields.get("env").map(|value| read_env(reader, value, None)).unwrap_or_default();
    Some(Use { path: path?, file: None, given, given_at, env })
}

type Given = (BTreeMap<String, Spanned<TemplateValue>>, BTreeMap<String, super::Span>);

/// Reads the values for a file's params.
fn read_given(reader: &mut Reader<'_>, value: &Value<'_>) -> Given {
    let mut given = Given::default();
    let expected = Expected { name: "`with`", example: r#""with": { "target": "${{ params.target }}" }"# };
    let Some(object) = reader.object(value, expected) else { return given };
    for (name, at, value) in reader.entries(object) {
        let subject = format!("the param `{}`", printable(name));
        let expected =
            Expected { name: &subject, example: r#""staging", 3, true or "${{ params.target }}""# };
        let span = reader.span(value);
        let read = match value {
            Value::StringLit(literal) if literal.value.contains("${{") => {
                let text = reader.string(value, expected);
                text.map(|text| TemplateValue::Template(template(reader, &text, Place::GIVEN)))
            }
            _ => read_scalar(reader, value, expected).map(TemplateValue::Plain),
        };
        given.1.insert(name.to_owned(), at);
        if let Some(value) = read {
            given.0.insert(name.to_owned(), Spanned { value, span });
        }
    }
    given
}
