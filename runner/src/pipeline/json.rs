//! JSON that belongs to a plugin: its value, and the place of each part of it.

use std::{collections::BTreeMap, str::FromStr};

use jsonc_parser::ast::Value;
use serde_json::{Map, Number, Value as JsonValue};

use super::{
    Diagnostic, Json, Span,
    diagnostic::printable,
    reader::{Expected, Reader, span},
};

/// Reads `with`, or an empty object when there is none; then what is wrong with it is shown at `owner`.
pub(super) fn read_with(reader: &mut Reader<'_>, value: Option<&Value<'_>>, owner: &Span) -> Option<Json> {
    let Some(value) = value else {
        let spans = BTreeMap::from([(String::new(), owner.clone())]);
        return Some(Json {
            value: JsonValue::Object(Map::new()),
            templates: BTreeMap::new(),
            spans,
            keys: BTreeMap::new(),
        });
    };
    let expected = Expected { name: "`with`", example: r#""with": { "url": "https://example.com" }"# };
    reader.object(value, expected)?;
    let mut json = Json {
        value: JsonValue::Null,
        templates: BTreeMap::new(),
        spans: BTreeMap::new(),
        keys: BTreeMap::new(),
    };
    json.value = convert(reader, value, &mut String::new(), &mut json);
    Some(json)
}

/// Recurses as deep as the text nests, which is bounded before it is parsed.
fn convert(reader: &mut Reader<'_>, value: &Value<'_>, pointer: &mut String, json: &mut Json) -> JsonValue {
    json.spans.insert(pointer.clone(), span(value));
    match value {
        Value::NullKeyword(_) => JsonValue::Null,
        Value::BooleanLit(literal) => JsonValue::Bool(literal.value),
        Value::NumberLit(literal) => Number::from_str(literal.value).map_or_else(
            |_| {
                let message = format!("the number {} is out of range", printable(literal.value));
                let help = "write it as a string, if the plugin takes one";
                reader.report(Diagnostic::new(span(literal), message).help(help));
                JsonValue::Null
            },
            JsonValue::Number,
        ),
        Value::StringLit(literal) => {
            refuse_expression(reader, &literal.value, &span(literal));
            JsonValue::String(literal.value.clone().into_owned())
        }
        Value::Array(array) => {
            let elements = array.elements.iter().enumerate();
            JsonValue::Array(
                elements
                    .map(|(index, element)| {
                        within(pointer, &index.to_string(), |pointer| convert(reader, element, pointer, json))
                    })
                    .collect(),
            )
        }
        Value::Object(object) => {
            let mut map = Map::new();
            for (key, at, value) in reader.entries(object) {
                refuse_expression(reader, key, &at);
                let value = within(pointer, key, |pointer| {
                    json.keys.insert(pointer.clone(), at);
                    convert(reader, value, pointer, json)
                });
                map.insert(key.to_owned(), value);
            }
            JsonValue::Object(map)
        }
    }
}

fn refuse_expression(reader: &mut Reader<'_>, string: &str, at: &Span) {
    reader.refuse_expression(
        string,
        at,
        "write the value itself; the plugin is told the build's number, commit and component",
    );
}

/// Calls `inner` with the pointer to `token` below `pointer` (RFC 6901).
fn within<T>(pointer: &mut String, token: &str, inner: impl FnOnce(&mut String) -> T) -> T {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    let result = inner(pointer);
    pointer.truncate(length);
    result
}
