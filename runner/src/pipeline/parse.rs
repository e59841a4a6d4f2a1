//! The whole pipeline file.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use jsonc_parser::ast::Value;

use super::{
    Diagnostic, Pipeline, Require, Span, Step,
    diagnostic::printable,
    expression::Template,
    model::{Scope, Source},
    names::{check_component, check_name},
    plugins::{read_checked, read_history, read_plugins},
    reader::{Expected, Fields, Keys, Reader, span},
    step::{read_env, read_step},
    syntax,
};

const PIPELINE: Keys = Keys {
    place: "a pipeline",
    allowed: &["$schema", "name", "component", "env", "plugins", "history", "steps"],
    later: &[
        (
            "params",
            "remove it; scripts read values from the environment, so start dcd with `docker run -e NAME=VALUE`",
        ),
        ("secrets", "remove it; steps inherit dcd's own environment, so start it with `docker run -e NAME`"),
        (
            "defaults",
            "remove it; write `timeout` and `workdir` in each step, and another shell as \"run\": [\"bash\", \"-c\", \"...\"]",
        ),
        ("require", "remove it; check it in the first step, such as \"run\": \"git diff --quiet HEAD\""),
        ("lock", "remove it; nothing keeps two builds from running at the same time yet"),
        ("include", "remove it, and write the steps into this file"),
        ("reports", "remove it; the files stay in the workspace"),
        ("matrix", "remove it, and write one step for each combination"),
    ],
    elsewhere: &[
        ("jobs", "steps"),
        ("stages", "steps"),
        ("tasks", "steps"),
        ("pipeline", "steps"),
        ("environment", "env"),
        ("variables", "env"),
        ("schema", "$schema"),
    ],
};

const STEPS_EXAMPLE: &str = r#""steps": [{ "name": "test", "run": "make test" }]"#;

/// Reads a pipeline file's text. The errors are all that could be found, in the order of the file; there is at least one.
///
/// `file_name` gives the pipeline its name when the text does not.
pub fn parse(text: &str, file_name: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    // As many spaces as the byte order mark has bytes, so that all places stay right.
    let text: Cow<'_, str> = match text.strip_prefix('\u{feff}') {
        Some(rest) => format!("   {rest}").into(),
        None => text.into(),
    };
    let root = syntax::parse(&text).map_err(|error| vec![*error])?;
    let mut reader = Reader::new(&text);
    let pipeline = read_pipeline(&mut reader, &root, file_name, &text);
    let errors = reader.into_errors();
    match pipeline {
        Some(pipeline) if errors.is_empty() => Ok(pipeline),
        _ => {
            debug_assert!(!errors.is_empty(), "a pipeline that cannot be used must say why");
            Err(errors)
        }
    }
}

fn read_pipeline(reader: &mut Reader<'_>, root: &Value<'_>, file_name: &str, text: &str) -> Option<Pipeline> {
    let expected = Expected {
        name: "a pipeline",
        example: "{ \"steps\": [{ \"name\": \"test\", \"run\": \"make test\" }] }",
    };
    let object = reader.object(root, expected)?;
    let fields = reader.fields(object, &PIPELINE);
    if let Some(value) = fields.get("$schema") {
        let example = r#""$schema": "https://example.org/pipeline.json""#;
        reader.string(value, Expected { name: "`$schema`", example });
    }
    let expected = Expected { name: "`name`", example: r#""name": "release""# };
    let name =
        fields.get("name").and_then(|value| read_checked(reader, value, expected, "`name`", check_name));
    let expected = Expected { name: "`component`", example: r#""component": "shop""# };
    let component = fields
        .get("component")
        .and_then(|value| read_checked(reader, value, expected, "`component`", check_component));
    let env = fields.get("env").map(|value| read_env(reader, value)).unwrap_or_default();
    let plugins = fields.get("plugins").map(|value| read_plugins(reader, value)).unwrap_or_default();
    let history = fields.get("history").and_then(|value| read_history(reader, value));
    let steps = read_steps(reader, &fields)?;
    Some(Pipeline {
        name: name.map_or_else(|| default_name(file_name), |name| name.value),
        component: component.map(|component| component.value),
        secrets: Vec::new(),
        timeout: None,
        require: Require::default(),
        lock: None,
        plugins,
        history,
        sources: vec![Source { path: file_name.to_owned(), text: text.to_owned() }],
        scopes: vec![Scope {
            source: 0,
            parent: None,
            params: Vec::new(),
            given: BTreeMap::new(),
            matrix: BTreeMap::new(),
            env: env.into_iter().map(|(name, value)| (name, Template::plain(value))).collect(),
        }],
        steps,
    })
}

/// The file's stem, unless it could not be a name.
fn default_name(file_name: &str) -> String {
    let stem = Path::new(file_name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if check_name(stem).is_ok() { stem.to_owned() } else { "pipeline".to_owned() }
}

fn read_steps(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Vec<Step>> {
    if fields.lacks("steps") {
        let diagnostic = Diagnostic::new(fields.span.clone(), "this pipeline has no `steps`");
        reader.report(diagnostic.help(format!("add them: {STEPS_EXAMPLE}")));
    }
    let array = reader.array(fields.get("steps")?, Expected { name: "`steps`", example: STEPS_EXAMPLE })?;
    if array.elements.is_empty() {
        let diagnostic = Diagnostic::new(span(array), "`steps` is empty");
        reader.report(diagnostic.help(format!("write at least one step: {STEPS_EXAMPLE}")));
    }
    refuse_same_names(reader, &array.elements);
    // Every step is read before the first that is wrong ends it.
    let steps = array.elements.iter().enumerate();
    let steps: Vec<_> = steps.map(|(index, element)| read_step(reader, element, index)).collect();
    steps.into_iter().collect()
}

/// A step is found by its name in logs and histories. Also looks at steps that have other faults.
fn refuse_same_names(reader: &mut Reader<'_>, elements: &[Value<'_>]) {
    let mut first: HashMap<&str, Span> = HashMap::with_capacity(elements.len());
    for element in elements {
        let name = element.as_object().and_then(|object| object.get_string("name"));
        let Some(name) = name.filter(|name| !name.value.trim().is_empty()) else { continue };
        if let Some(earlier) = first.get(&*name.value) {
            let message = format!("two steps have the name `{}`", printable(&name.value));
            let diagnostic = Diagnostic::new(span(name), message)
                .label("again here")
                .related(earlier.clone(), "first here");
            reader.report(diagnostic.help("give each step a name of its own"));
        } else {
            first.insert(&name.value, span(name));
        }
    }
}
