//! `plugins` and `history`.

use std::collections::BTreeMap;

use jsonc_parser::ast::Value;
use serde_json::json;

use super::{
    Diagnostic, PluginBlock, PluginUse, Span, Spanned,
    diagnostic::printable,
    grants::{ALLOW, read_allow},
    json::{Expressions, read_with},
    limits::{LIMITS, read_limits},
    names::{check_plugin, check_sha256},
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
        Key::new("limits", "How much the plugin may use.", || schema::object(&LIMITS)),
    ],
    elsewhere: &[
        ("file", "path"),
        ("wasm", "path"),
        ("digest", "sha256"),
        ("hash", "sha256"),
        ("grants", "allow"),
        ("permissions", "allow"),
        ("limit", "limits"),
        ("resources", "limits"),
    ],
    misplaced: &[(
        "locked",
        "remove it; it stands in the image's file about the plugin, and lets nothing else grant it more",
    )],
};

pub(super) const HISTORY: Keys = Keys {
    place: "`history`",
    allowed: &[
        Key::new("uses", "The plugin that keeps builds.", schema::plugin),
        Key::new("with", "Its config. It takes no expressions.", || json!({ "type": "object" })),
    ],
    misplaced: &[],
    elsewhere: &[
        ("plugin", "uses"),
        ("type", "uses"),
        ("backend", "uses"),
        ("config", "with"),
        ("options", "with"),
    ],
};

pub(super) const OBSERVER: Keys = Keys {
    place: "an observer",
    allowed: &[
        Key::new("uses", "The plugin that follows builds.", schema::plugin),
        Key::new("with", "Its config. It takes no expressions.", || json!({ "type": "object" })),
    ],
    misplaced: &[],
    elsewhere: &[("plugin", "uses"), ("type", "uses"), ("config", "with"), ("options", "with")],
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
    let limits = fields.get("limits").map(|value| read_limits(reader, value)).unwrap_or_default();
    Some(PluginBlock { span: at, path, sha256, allow, limits })
}

/// A path, relative to the workspace or absolute.
pub(super) fn read_path(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    example: &str,
) -> Option<Spanned<String>> {
    let path = reader.plain_string(value, Expected { name: "`path`", example })?;
    if path.value.is_empty() {
        let help = "write a path relative to the workspace (\".\" is the workspace), or an absolute one";
        reader.report(Diagnostic::new(path.span, "`path` is empty").help(help));
        return None;
    }
    Some(path)
}

/// Reads `history`.
pub(super) fn read_history(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<PluginUse> {
    const EXAMPLE: &str = r#""history": { "uses": "postgres", "with": { "url": "..." } }"#;
    let lacking = "`history` does not say which plugin keeps it";
    read_use(reader, value, &HISTORY, Expected { name: "`history`", example: EXAMPLE }, lacking)
}

/// Reads `observers`.
pub(super) fn read_observers(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<PluginUse> {
    const EXAMPLE: &str = r#""observers": [{ "uses": "otlp", "with": { "endpoint": "..." } }]"#;
    let one = Expected { name: "an observer", example: EXAMPLE };
    let lacking = "this observer does not say which plugin it is";
    read_list(reader, Some(value), Expected { name: "`observers`", example: EXAMPLE }, |reader, value| {
        read_use(reader, value, &OBSERVER, one, lacking)
    })
}

fn read_use(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    keys: &Keys,
    expected: Expected<'_>,
    lacking: &str,
) -> Option<PluginUse> {
    let object = reader.object(value, expected)?;
    let fields = reader.fields(object, keys);
    if fields.lacks("uses") {
        let diagnostic = Diagnostic::new(fields.span.clone(), lacking);
        reader.report(diagnostic.help(format!("add `uses`: {}", expected.example)));
    }
    let uses = fields.get("uses").and_then(|value| read_uses(reader, value));
    let owner = uses.as_ref().map_or(fields.span.clone(), |uses| uses.span.clone());
    let with = read_with(reader, fields.get("with"), &owner, Expressions::Refused);
    Some(PluginUse { uses: uses?, with: with? })
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
