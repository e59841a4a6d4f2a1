//! `plugins` and `history`.

use std::collections::BTreeMap;

use jsonc_parser::ast::Value;
use serde_json::json;

use super::{
    Allow, Diagnostic, FsGrant, HistoryBlock, PluginBlock, Span, Spanned,
    diagnostic::printable,
    json::{Expressions, read_with},
    names::{check_origin, check_plugin, check_sha256, check_variable_pattern},
    reader::{Expected, Key, Keys, Reader},
    schema,
    values::{object_to, read_checked, read_list},
};

pub(super) const PLUGIN: Keys = Keys {
    place: "a plugin",
    allowed: &[
        Key::new(
            "path",
            "The plugin's file, relative to the workspace. Default: found by its name.",
            schema::path,
        ),
        Key::new(
            "sha256",
            "The SHA-256 that the file must have, as `sha256sum` prints it.",
            || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
        ),
        Key::new("allow", "What the plugin may touch. Default: nothing.", || schema::object(&ALLOW)),
    ],
    later: &[("locked", "remove it; what the image grants and what this file grants count together")],
    elsewhere: &[
        ("file", "path"),
        ("wasm", "path"),
        ("digest", "sha256"),
        ("hash", "sha256"),
        ("grants", "allow"),
        ("permissions", "allow"),
    ],
    misplaced: &[],
};

pub(super) const ALLOW: Keys = Keys {
    place: "`allow`",
    allowed: &[
        Key::new(
            "http",
            "Origins: `scheme://host[:port]`; the host may begin with `*.`.",
            || json!({ "type": "array", "items": { "type": "string", "pattern": "^https?://[^/?#@A-Z]+$" } }),
        ),
        Key::new(
            "env",
            "Names of variables of dcd's environment; a `*` at the end stands for any rest.",
            || json!({ "type": "array", "items": { "type": "string", "pattern": "^[^=*\\s]+\\*?$" } }),
        ),
        Key::new("fs", "Directories: one to read, or an object that says more.", || {
            let mut grant = schema::object(&FS);
            grant["required"] = json!(["path"]);
            json!({ "type": "array", "items": { "anyOf": [schema::path(), grant] } })
        }),
    ],
    later: &[
        ("tcp", "remove it; plugins reach the network through `http` only"),
        ("exec", "remove it; start programs in a step with `run`"),
        ("secrets", "remove it; grant the variable that holds the value with `env`"),
    ],
    misplaced: &[],
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
    allowed: &[
        Key::new("path", "Relative to the workspace (`.` is the workspace), or absolute.", schema::path),
        Key::new(
            "access",
            "`ro` to read only, `rw` to write too. Default: `ro`.",
            || json!({ "enum": ["ro", "rw"], "default": "ro" }),
        ),
    ],
    later: &[],
    misplaced: &[],
    elsewhere: &[("mode", "access")],
};

pub(super) const HISTORY: Keys = Keys {
    place: "`history`",
    allowed: &[
        Key::new("uses", "The plugin that keeps builds.", schema::plugin),
        Key::new("with", "Its config. It takes no expressions.", || json!({ "type": "object" })),
    ],
    later: &[],
    misplaced: &[],
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

pub(super) fn read_allow(reader: &mut Reader<'_>, value: &Value<'_>) -> Allow {
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
    let with = read_with(reader, fields.get("with"), &owner, Expressions::Refused);
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
