//! JSON that belongs to a plugin: its value, and the place of each part of it.

use std::collections::BTreeMap;

use jsonc_parser::ast::Value;
use serde_json::{Map, Value as JsonValue};

use super::{
    Json, Span, Spanned,
    embed::{Place, template},
    reader::{Expected, Reader},
    values::read_number,
};

/// Whether `with` may have expressions in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expressions {
    Taken,
    Refused,
}

/// Reads `with`, or an empty object when there is none; then what is wrong with it is shown at `owner`.
pub(super) fn read_with(
    reader: &mut Reader<'_>,
    value: Option<&Value<'_>>,
    owner: &Span,
    expressions: Expressions,
) -> Option<Json> {
    let mut json = Json {
        value: JsonValue::Object(Map::new()),
        templates: BTreeMap::new(),
        spans: BTreeMap::new(),
        keys: BTreeMap::new(),
    };
    let Some(value) = value else {
        json.spans.insert(String::new(), owner.clone());
        return Some(json);
    };
    let expected = Expected { name: "`with`", example: r#""with": { "url": "https://example.com" }"# };
    reader.object(value, expected)?;
    json.value = convert(reader, value, &mut String::new(), &mut json, expressions);
    Some(json)
}

/// Recurses as deep as the text nests, which is bounded before it is parsed.
fn convert(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    pointer: &mut String,
    json: &mut Json,
    expressions: Expressions,
) -> JsonValue {
    json.spans.insert(pointer.clone(), reader.span(value));
    match value {
        Value::NullKeyword(_) => JsonValue::Null,
        Value::BooleanLit(literal) => JsonValue::Bool(literal.value),
        Value::NumberLit(literal) => {
            read_number(reader, literal.value, &reader.span(literal)).unwrap_or_default()
        }
        Value::StringLit(literal) => {
            let text = Spanned { value: literal.value.clone().into_owned(), span: reader.span(literal) };
            match expressions {
                Expressions::Taken if text.value.contains("${{") => {
                    json.templates.insert(pointer.clone(), template(reader, &text, Place::WITH));
                }
                Expressions::Taken => {}
                Expressions::Refused => {
                    let help =
                        "write the value itself; the history backend is opened before the build begins";
                    reader.refuse_expression(&text.value, &text.span, help);
                }
            }
            JsonValue::String(text.value)
        }
        Value::Array(array) => {
            let mut elements = Vec::with_capacity(array.elements.len());
            for (index, element) in array.elements.iter().enumerate() {
                elements.push(within(pointer, &index.to_string(), |pointer| {
                    convert(reader, element, pointer, json, expressions)
                }));
            }
            JsonValue::Array(elements)
        }
        Value::Object(object) => {
            let mut map = Map::new();
            for (key, at, value) in reader.entries(object) {
                reader.refuse_expression(key, &at, "write the key itself; only values can have expressions");
                let value = within(pointer, key, |pointer| {
                    json.keys.insert(pointer.clone(), at);
                    convert(reader, value, pointer, json, expressions)
                });
                map.insert(key.to_owned(), value);
            }
            JsonValue::Object(map)
        }
    }
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
