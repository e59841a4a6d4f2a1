//! The file beside a plugin in an image, `NAME.json`: what the image grants it. Read as a pipeline's `plugins` block is.

use serde_json::{Value as JsonValue, json};

use super::{
    Diagnostic, GrantsFile, Source, Wrong,
    grants::{ALLOW, read_allow},
    json::{Expressions, read_with},
    limits::{LIMITS, read_limits},
    names::check_sha256,
    reader::{Expected, Key, Keys, Reader},
    schema, syntax,
    values::read_checked,
};

const GRANTS: Keys = Keys {
    place: "a plugin's grants",
    allowed: &[
        Key::new(
            "sha256",
            "The SHA-256 of the .wasm that they are for. Default: any.",
            || json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
        ),
        Key::new("allow", "What the plugin may touch. Default: nothing.", || schema::object(&ALLOW)),
        Key::new("limits", "The most that the plugin may use.", || schema::object(&LIMITS)),
        Key::new("locked", "Nothing but this file grants it anything. Default: false.", schema::boolean),
    ],
    misplaced: &[("path", "remove it; the file lies beside its plugin")],
    elsewhere: &[("digest", "sha256"), ("hash", "sha256"), ("grants", "allow"), ("permissions", "allow")],
};

const EXAMPLE: &str = r#"{ "allow": { "http": ["https://api.example.com"] }, "locked": true }"#;

/// Reads a grants file's text. `path` is what to call it in an error.
pub fn parse_grants(text: &str, path: &str) -> Result<GrantsFile, Wrong> {
    let mut reader = Reader::new(text, 0);
    let file = match syntax::parse(text) {
        Ok(root) => read(&mut reader, &root),
        Err(error) => {
            // What is wrong with a pipeline that has no text is said of one.
            let help = error.help.clone().filter(|help| !help.contains("steps"));
            reader.report(Diagnostic { help: help.or(Some(format!("write it like {EXAMPLE}"))), ..*error });
            None
        }
    };
    let diagnostics = reader.into_errors();
    file.filter(|_| diagnostics.is_empty()).ok_or_else(|| Wrong {
        diagnostics,
        sources: vec![Source { path: path.to_owned(), text: text.to_owned() }],
    })
}

fn read(reader: &mut Reader<'_>, root: &jsonc_parser::ast::Value<'_>) -> Option<GrantsFile> {
    let object = reader.object(root, Expected { name: "a plugin's grants", example: EXAMPLE })?;
    let fields = reader.fields(object, &GRANTS);
    let sha256 =
        Expected { name: "`sha256`", example: r#""sha256": "9f86d0...", as `sha256sum FILE` prints it"# };
    let locked = Expected { name: "`locked`", example: r#""locked": true"# };
    Some(GrantsFile {
        sha256: fields
            .get("sha256")
            .and_then(|value| read_checked(reader, value, sha256, "`sha256`", check_sha256)),
        allow: fields.get("allow").map(|value| read_allow(reader, value)).unwrap_or_default(),
        limits: fields.get("limits").map(|value| read_limits(reader, value)).unwrap_or_default(),
        locked: fields.get("locked").and_then(|value| reader.boolean(value, locked)).unwrap_or_default(),
        json: read_with(reader, Some(root), &(0..0), Expressions::Refused)
            .map_or(JsonValue::Null, |json| json.value),
    })
}
