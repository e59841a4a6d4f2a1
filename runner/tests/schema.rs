//! The JSON Schema of pipeline files: the one that is published is the one that `dcd schema` prints, and it takes and
//! refuses what the reader does, as far as a schema can see it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use dcd::pipeline;
use jsonc_parser::{JsonValue, ParseOptions};
use serde_json::Value;

/// Bad files whose faults a schema cannot see, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("crlf", "two steps have one name"),
    ("deep", "a schema does not count levels"),
    ("duplicate_among_many_keys", "all but one are gone before the schema is asked"),
    ("duplicate_keys", "one of them is gone before the schema is asked"),
    ("duplicate_steps", "two steps have one name"),
    ("matrix_too_big", "a schema does not multiply"),
    ("needs_cycle", "who waits for whom"),
    ("needs_unknown", "which steps there are"),
    ("number_out_of_range", "its range is no matter of JSON"),
    ("reads", "expressions are strings"),
    ("reads_many", "expressions are strings"),
    ("require_history", "it may stand in another file than `history`"),
    ("secret_names", "which secrets there are"),
    ("use_conflicts", "what another file says"),
    ("use_cycle", "what another file says"),
    ("use_missing", "which files there are"),
    ("use_names", "what another file says"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// `None` for what is not JSON with comments.
fn read(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    let strict = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    jsonc_parser::parse_to_value(&text, &strict).ok().flatten().map(plain)
}

fn plain(value: JsonValue<'_>) -> Value {
    match value {
        JsonValue::Null => Value::Null,
        JsonValue::Boolean(value) => value.into(),
        JsonValue::Number(text) => text.parse().map_or(Value::Null, Value::Number),
        JsonValue::String(text) => text.into_owned().into(),
        JsonValue::Array(array) => array.into_iter().map(plain).collect(),
        JsonValue::Object(object) => object.into_iter().map(|(key, value)| (key, plain(value))).collect(),
    }
}

fn json_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc") {
            found.push(path);
        }
    }
    found.sort();
}

#[test]
fn the_published_schema_is_the_readers() {
    let path = root().join("schema/pipeline.json");
    let now = format!("{:#}\n", pipeline::schema());
    if std::env::var_os("DCD_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, now).unwrap();
    } else {
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(published == now, "{} is old; DCD_BLESS=1 writes it anew", path.display());
    }
}

#[test]
fn it_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&pipeline::schema()));
}

#[test]
fn it_takes_what_is_right() {
    let validator = jsonschema::validator_for(&pipeline::schema()).unwrap();
    let mut files = vec![root().join("dcd.json"), golden("pipeline-good.jsonc")];
    json_files(&golden("used"), &mut files);
    let mut examples = Vec::new();
    json_files(&root().join("examples"), &mut examples);
    // Projects have other JSON, too.
    examples.retain(|path| read(path).is_some_and(|value| value.get("steps").is_some()));
    files.extend(examples);
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        let value = read(&path).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn it_refuses_what_is_wrong() {
    let validator = jsonschema::validator_for(&pipeline::schema()).unwrap();
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for entry in fs::read_dir(golden("pipeline")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files = if path.is_dir() {
            let mut files = Vec::new();
            json_files(&path, &mut files);
            files
        } else if path.extension().is_some_and(|extension| extension == "json") {
            vec![path]
        } else {
            continue;
        };
        // Text that is no JSON is seen before any schema is asked.
        let passes = files.iter().all(|path| read(path).is_some_and(|value| validator.is_valid(&value)));
        let listed = UNSEEN.iter().any(|(unseen, _)| *unseen == name);
        if passes != listed {
            wrong.push(format!("{name}: {}", if passes { "passes" } else { "does not pass any more" }));
        }
        seen.push(name);
    }
    wrong.extend(
        UNSEEN
            .iter()
            .filter(|(name, _)| !seen.iter().any(|seen| seen == name))
            .map(|(name, _)| format!("{name} is gone")),
    );
    wrong.sort();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
