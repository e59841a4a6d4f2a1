//! `allow`: what a plugin is granted.

use jsonc_parser::ast::Value;
use serde_json::json;

use super::{
    Allow, Diagnostic, FsGrant,
    diagnostic::printable,
    names::{
        Objection, check_address, check_origin, check_program, check_secret_pattern, check_variable_pattern,
    },
    plugins::read_path,
    reader::{Expected, Key, Keys, Reader},
    schema,
    values::{read_checked, read_list},
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
            "tcp",
            "Addresses: `host:port`; the host may begin with `*.`.",
            || json!({ "type": "array", "items": { "type": "string", "pattern": "^[^/?#@A-Z]+:[0-9]+$" } }),
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
        Key::new("exec", "Programs: names that are found in PATH, or absolute paths.", || {
            let pattern = "^(/.+|(?!\\.{1,2}$)[^/*\\s]+)$";
            json!({ "type": "array", "items": { "type": "string", "pattern": pattern } })
        }),
        Key::new(
            "secrets",
            "Names of the pipeline's secrets; a `*` at the end stands for any rest.",
            || json!({ "type": "array", "items": { "type": "string", "pattern": "^[^=*\\s]+\\*?$" } }),
        ),
    ],
    misplaced: &[],
    elsewhere: &[
        ("https", "http"),
        ("net", "http"),
        ("network", "http"),
        ("hosts", "http"),
        ("sockets", "tcp"),
        ("environment", "env"),
        ("files", "fs"),
        ("filesystem", "fs"),
        ("paths", "fs"),
        ("commands", "exec"),
        ("programs", "exec"),
        ("run", "exec"),
        ("secret", "secrets"),
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
    misplaced: &[],
    elsewhere: &[("mode", "access")],
};

/// A kind of grant whose entries are strings.
struct Kind {
    key: &'static str,
    list: Expected<'static>,
    entry: Expected<'static>,
    /// What an objection to an entry is about.
    subject: &'static str,
    check: fn(&str) -> Result<(), Objection>,
}

const HTTP: Kind = Kind {
    key: "http",
    list: Expected { name: "`http`", example: r#""http": ["https://api.example.com"]"# },
    entry: Expected { name: "an `http` grant", example: r#""https://api.example.com""# },
    subject: "the `http` grant",
    check: check_origin,
};
const TCP: Kind = Kind {
    key: "tcp",
    list: Expected { name: "`tcp`", example: r#""tcp": ["db.example.com:5432"]"# },
    entry: Expected { name: "a `tcp` grant", example: r#""db.example.com:5432""# },
    subject: "the `tcp` grant",
    check: check_address,
};
const ENV: Kind = Kind {
    key: "env",
    list: Expected { name: "`env`", example: r#""env": ["API_TOKEN", "AWS_*"]"# },
    entry: Expected { name: "an `env` grant", example: r#""API_TOKEN" or "AWS_*""# },
    subject: "the `env` grant",
    check: check_variable_pattern,
};
const EXEC: Kind = Kind {
    key: "exec",
    list: Expected { name: "`exec`", example: r#""exec": ["helm"]"# },
    entry: Expected { name: "an `exec` grant", example: r#""helm" or "/usr/bin/helm""# },
    subject: "the `exec` grant",
    check: check_program,
};
const SECRETS: Kind = Kind {
    key: "secrets",
    list: Expected { name: "`secrets`", example: r#""secrets": ["DEPLOY_TOKEN", "AWS_*"]"# },
    entry: Expected { name: "a `secrets` grant", example: r#""DEPLOY_TOKEN" or "AWS_*""# },
    subject: "the `secrets` grant",
    check: check_secret_pattern,
};

/// Reads `allow`.
pub(super) fn read_allow(reader: &mut Reader<'_>, value: &Value<'_>) -> Allow {
    let expected = Expected { name: "`allow`", example: r#""allow": { "http": ["https://example.com"] }"# };
    let Some(object) = reader.object(value, expected) else { return Allow::default() };
    let fields = reader.fields(object, &ALLOW);
    let mut strings = |kind: &Kind| {
        read_list(reader, fields.get(kind.key), kind.list, |reader, value| {
            read_checked(reader, value, kind.entry, kind.subject, kind.check)
        })
    };
    let (http, tcp, env) = (strings(&HTTP), strings(&TCP), strings(&ENV));
    let (exec, secrets) = (strings(&EXEC), strings(&SECRETS));
    let fs = Expected { name: "`fs`", example: r#""fs": [{ "path": "dist", "access": "rw" }]"# };
    Allow { http, tcp, env, exec, secrets, fs: read_list(reader, fields.get("fs"), fs, read_fs_grant) }
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
