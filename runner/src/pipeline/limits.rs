//! `limits`: how much a plugin may use.

use std::ops::RangeInclusive;

use jsonc_parser::ast::Value;
use serde_json::{Value as JsonValue, json};

use super::{
    Limits, Spanned,
    reader::{Expected, Fields, Key, Keys, Reader},
    schema, size,
    values::read_duration,
};

/// No plugin runs in less, and none can address more.
const MEMORY: RangeInclusive<u64> = 1 << 20..=4 << 30;
/// More are more than a machine has files for.
const CONNECTIONS: RangeInclusive<u32> = 1..=1000;

pub(super) const LIMITS: Keys = Keys {
    place: "`limits`",
    allowed: &[
        Key::new("memory", "Memory of each instance. Default: 256MiB.", size_schema),
        Key::new(
            "call_timeout",
            "How long one call may take. Default: 1h for a step without a timeout, 30s for a history backend.",
            schema::duration,
        ),
        Key::new(
            "connections",
            "Connections that may be open at the same time. Default: 32.",
            || json!({ "type": "integer", "minimum": CONNECTIONS.start(), "maximum": CONNECTIONS.end() }),
        ),
        Key::new("http_body", "The body of a request, and of an answer. Default: 64MiB.", size_schema),
    ],
    misplaced: &[],
    elsewhere: &[
        ("mem", "memory"),
        ("ram", "memory"),
        ("timeout", "call_timeout"),
        ("call-timeout", "call_timeout"),
        ("sockets", "connections"),
        ("body", "http_body"),
        ("http-body", "http_body"),
    ],
};

fn size_schema() -> JsonValue {
    let pattern = "^[0-9]*[1-9][0-9]*(B|KiB|MiB|GiB)$";
    json!({ "type": "string", "pattern": pattern, "examples": ["512KiB", "64MiB", "1GiB"] })
}

/// Reads `limits`.
pub(super) fn read_limits(reader: &mut Reader<'_>, value: &Value<'_>) -> Limits {
    let expected = Expected { name: "`limits`", example: r#""limits": { "memory": "512MiB" }"# };
    let Some(object) = reader.object(value, expected) else { return Limits::default() };
    let fields = reader.fields(object, &LIMITS);
    let memory = read_size(reader, &fields, "memory").filter(|memory| {
        let fits = MEMORY.contains(&memory.value);
        if !fits {
            let message = format!("`memory` cannot be {}", size::format(memory.value));
            reader.refuse(memory.span.clone(), message, "write a size from 1MiB to 4GiB");
        }
        fits
    });
    let call_timeout = fields.get("call_timeout").and_then(|value| {
        let span = reader.span(value);
        read_duration(reader, value, "call_timeout").map(|value| Spanned { value, span })
    });
    let connections = fields.get("connections").and_then(|value| read_connections(reader, value));
    Limits { memory, call_timeout, connections, http_body: read_size(reader, &fields, "http_body") }
}

fn read_size(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Spanned<u64>> {
    let (name, example) = (format!("`{key}`"), format!(r#""{key}": "64MiB""#));
    let text = match fields.get(key)? {
        // Refused by the same rule as "600", and with the same advice.
        Value::NumberLit(literal) => Spanned { value: literal.value.to_owned(), span: reader.span(literal) },
        value => reader.plain_string(value, Expected { name: &name, example: &example })?,
    };
    match size::parse(&text.value) {
        Ok(value) => Some(Spanned { value, span: text.span }),
        Err(reason) => {
            let message = format!("`{key}` is not a size: {reason}");
            reader.refuse(text.span, message, "a size is written like 512KiB, 64MiB or 1GiB");
            None
        }
    }
}

fn read_connections(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Spanned<u32>> {
    let expected = Expected { name: "`connections`", example: r#""connections": 8"# };
    let Value::NumberLit(literal) = value else { return reader.wrong_type(value, "a number", expected) };
    let span = reader.span(literal);
    let count = literal.value.parse::<u32>().ok().filter(|count| CONNECTIONS.contains(count));
    if count.is_none() {
        let message = format!("`connections` cannot be {}", literal.value);
        reader.refuse(span.clone(), message, "write a whole number from 1 to 1000");
    }
    count.map(|value| Spanned { value, span })
}
