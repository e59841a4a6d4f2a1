//! `plugins` and `history`.

use std::collections::BTreeMap;

use jsonc_parser::ast::Value;

use super::{
    Allow, Diagnostic, FsGrant, HistoryBlock, PluginBlock, Span, Spanned,
    diagnostic::printable,
    json::read_with,
    names::{Objection, check_origin, check_plugin, check_sha256, check_variable_pattern},
    reader::{Expected, Keys, Reader},
};

const PLUGIN: Keys = Keys {
    place: "a plugin",
    allowed: &["path", "sha256", "allow"],
    later: &[("locked", "remove it; what the image grants and what this file grants count together")],
    elsewhere: &[
        ("file", "path"),
        ("wasm", "path"),
        ("digest", "sha256"),
        ("hash", "sha256"),
        ("grants", "allow"),
        ("permissions", "allow"),
    ],
};

const ALLOW: Keys = Keys {
    place: "`allow`",
    allowed: &["http", "env", "fs"],
    later: &[
        ("tcp", "remove it; plugins reach the network through `http` only"),
        ("exec", "remove it; start programs in a step with `run`"),
        ("secrets", "remove it; grant the variable that holds the value with `env`"),
    ],
    elsewhere: &[
        ("https", "http"),
        ("net", "http"),
        ("network", "http"),
        ("hosts", "http"),
        ("environment", "env"),
        ("files", "fs"),
        ("filesystem", "fs"),
        ("paths", "fs"),
    ],
};

const FS: Keys = Keys {
    place: "an `fs` grant",
    allowed: &["path", "access"],
    later: &[],
    elsewhere: &[("mode", "access")],
};

const HISTORY: Keys = Keys {
    place: "`history`",
    allowed: &["uses", "with"],
    later: &[],
    elsewhere: &[
        ("plugin", "uses"),
        ("type", "uses"),
        ("backend", "uses"),
        ("config", "with"),
        ("options", "with"),
    ],
};

/// Reads `plugins`.
pub(super) fn read_plugins(reader: &mut Reader<'_>, value: &Value<'_>) -> BTreeMap<String, PluginBlock> {
    let expected = Expected {
        name: "`plugins`",
        example: r#""plugins": { "http": { "allow": { "env": ["TOKEN"] } } }"#,
    };
    let mut plugins = BTreeMap::new();
    let Some(object) = reader.object(value, expected) else { return plugins };
    for (name, at, value) in reader.entries(object) {
        if let Err(objection) = check_plugin(name) {
            object_to(reader, &at, &format!("the plugin name `{}`", printable(name)), objection);
        }
        if let Some(block) = read_plugin(reader, at, value) {
            plugins.insert(name.to_owned(), block);
        }
    }
    plugins
}

fn read_plugin(reader: &mut Reader<'_>, at: Span, value: &Value<'_>) -> Option<PluginBlock> {
    let expected =
        Expected { name: "a plugin", example: r#""http": { "allow": { "http": ["https://example.com"] } }"# };
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, &PLUGIN);
    let path =
        fields.get("path").and_then(|value| read_path(reader, value, r#""path": "plugins/deploy.wasm""#));
    let expected =
        Expected { name: "`sha256`", example: r#""sha256": "9f86d0...", as `sha256sum FILE` prints it"# };
    let sha256 = fields
        .get("sha256")
        .and_then(|value| read_checked(reader, value, expected, "`sha256`", check_sha256));
    let allow = fields.get("allow").map(|value| read_allow(reader, value)).unwrap_or_default();
    Some(PluginBlock { span: at, path, sha256, allow })
}

fn read_allow(reader: &mut Reader<'_>, value: &Value<'_>) -> Allow {
    let expected = Expected { name: "`allow`", example: r#""allow": { "http": ["https://example.com"] }"# };
    let Some(object) = reader.object(value, expected) else { return Allow::default() };
    let fields = reader.fields(object, &ALLOW);
    let http = Expected { name: "`http`", example: r#""http": ["https://api.example.com"]"# };
    let env = Expected { name: "`env`", example: r#""env": ["API_TOKEN", "AWS_*"]"# };
    let fs = Expected { name: "`fs`", example: r#""fs": [{ "path": "dist", "access": "rw" }]"# };
    Allow {
        http: read_list(reader, fields.get("http"), http, |reader, value| {
            read_checked(reader, value, http_entry(), "the `http` grant", check_origin)
        }),
        env: read_list(reader, fields.get("env"), env, |reader, value| {
            read_checked(reader, value, env_entry(), "the `env` grant", check_variable_pattern)
        }),
        fs: read_list(reader, fields.get("fs"), fs, read_fs_grant),
    }
}

fn http_entry<'e>() -> Expected<'e> {
    Expected { name: "an `http` grant", example: r#""https://api.example.com""# }
}

fn env_entry<'e>() -> Expected<'e> {
    Expected { name: "an `env` grant", example: r#""API_TOKEN" or "AWS_*""# }
}

/// An optional array; the elements that are wrong are reported and left out.
fn read_list<T>(
    reader: &mut Reader<'_>,
    value: Option<&Value<'_>>,
    expected: Expected<'_>,
    read: impl Fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(array) = value.and_then(|value| reader.array(value, expected)) else { return Vec::new() };
    array.elements.iter().filter_map(|element| read(reader, element)).collect()
}

fn read_fs_grant(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<FsGrant> {
    const EXAMPLE: &str = r#"{ "path": "dist", "access": "rw" }, or "dist" to read only"#;
    match value {
        Value::StringLit(_) => {
            read_path(reader, value, EXAMPLE).map(|path| FsGrant { path, writable: false })
        }
        Value::Object(object) => {
            let fields = reader.fields(object, &FS);
            let writable = fields.get("access").map_or(Some(false), |value| read_access(reader, value));
            if fields.lacks("path") {
                let diagnostic = Diagnostic::new(fields.span.clone(), "this `fs` grant has no `path`");
                reader.report(diagnostic.help(format!("write it like {EXAMPLE}")));
            }
            let path = read_path(reader, fields.get("path")?, EXAMPLE)?;
            Some(FsGrant { path, writable: writable? })
        }
        _ => reader.wrong_type(
            value,
            "an object or a string",
            Expected { name: "an `fs` grant", example: EXAMPLE },
        ),
    }
}

fn read_access(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<bool> {
    let access = reader.string(value, Expected { name: "`access`", example: r#""access": "ro""# })?;
    match access.value.as_str() {
        "ro" => Some(false),
        "rw" => Some(true),
        other => {
            let message = format!("`access` cannot be `{}`", printable(other));
            reader.report(
                Diagnostic::new(access.span, message)
                    .help("write \"ro\" to read only, or \"rw\" to write too"),
            );
            None
        }
    }
}

fn read_path(reader: &mut Reader<'_>, value: &Value<'_>, example: &str) -> Option<Spanned<String>> {
    let path = reader.plain_string(value, Expected { name: "`path`", example })?;
    if path.value.is_empty() {
        let help = "write a path relative to the workspace (\".\" is the workspace), or an absolute one";
        reader.report(Diagnostic::new(path.span, "`path` is empty").help(help));
        return None;
    }
    Some(path)
}

/// Reads `history`.
pub(super) fn read_history(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<HistoryBlock> {
    const EXAMPLE: &str = r#""history": { "uses": "postgres", "with": { "url": "..." } }"#;
    let object = reader.object(value, Expected { name: "`history`", example: EXAMPLE })?;
    let fields = reader.fields(object, &HISTORY);
    if fields.lacks("uses") {
        let diagnostic = Diagnostic::new(fields.span.clone(), "`history` does not say which plugin keeps it");
        reader.report(diagnostic.help(format!("add `uses`: {EXAMPLE}")));
    }
    let uses = fields.get("uses").and_then(|value| read_uses(reader, value));
    let owner = uses.as_ref().map_or(fields.span.clone(), |uses| uses.span.clone());
    let with = read_with(reader, fields.get("with"), &owner);
    Some(HistoryBlock { uses: uses?, with: with? })
}

/// The name of a plugin.
pub(super) fn read_uses(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<String>> {
    read_checked(
        reader,
        value,
        Expected { name: "`uses`", example: r#""uses": "http""# },
        "`uses`",
        check_plugin,
    )
}

/// A string that `check` has no objection to.
pub(super) fn read_checked(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    expected: Expected<'_>,
    subject: &str,
    check: fn(&str) -> Result<(), Objection>,
) -> Option<Spanned<String>> {
    let string = reader.string(value, expected)?;
    if string.value.contains("${{") {
        reader.refuse_expression(&string.value, &string.span, "write the value itself");
        return None;
    }
    match check(&string.value) {
        Ok(()) => Some(string),
        Err(objection) => {
            object_to(reader, &string.span, subject, objection);
            None
        }
    }
}

/// Reports an objection; `subject` is what it is about.
pub(super) fn object_to(reader: &mut Reader<'_>, at: &Span, subject: &str, objection: Objection) {
    reader
        .report(Diagnostic::new(at.clone(), format!("{subject} {}", objection.message)).help(objection.help));
}
