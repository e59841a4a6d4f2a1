use std::collections::BTreeMap;

use super::*;
use crate::pipeline::expression::Template;

fn check(schema: &Value, with: Value) -> Vec<String> {
    let mut dialect = schema.clone();
    dialect["$schema"] = json!(DIALECT);
    let known = Schema::known(&"p".into(), dialect).unwrap();
    let schema = Schema::parse(&"p".into(), &schema.to_string()).unwrap();
    let spans = BTreeMap::from([(String::new(), 0..1)]);
    let with = Json { value: with, templates: BTreeMap::new(), spans, keys: BTreeMap::new() };
    let say = |error: PluginError| match error.help {
        Some(help) => format!("{}; {help}", error.message),
        None => error.message,
    };
    let said: Vec<_> = schema.check(&with).into_iter().map(say).collect();
    // An installed plugin's is the same.
    assert_eq!(known.check(&with).into_iter().map(say).collect::<Vec<_>>(), said);
    said
}

#[test]
fn an_expression_excuses_its_own_setting_only() {
    let schema = json!({
        "properties": { "url": { "type": "integer" }, "url_count": { "type": "integer" } },
    });
    let schema = Schema::parse(&"p".into(), &schema.to_string()).unwrap();
    let with = Json {
        value: json!({ "url": "x", "url_count": "${{ params.n }}" }),
        templates: BTreeMap::from([("/url_count".to_owned(), Template::plain("${{ params.n }}"))]),
        spans: BTreeMap::from([(String::new(), 0..1)]),
        keys: BTreeMap::new(),
    };
    let said: Vec<_> = schema.check(&with).into_iter().map(|error| error.message).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("`url` of plugin p must be"), "{said:?}");
}

fn http() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["url"],
        "properties": {
            "url": { "type": "string", "description": "Where to\nsend it." },
            "retries": { "type": "integer", "minimum": 0 },
            "headers": { "type": "object", "additionalProperties": { "type": "string" } },
            "status": { "anyOf": [{ "$ref": "#/$defs/Expect" }, { "type": "null" }] },
        },
        "$defs": {
            "Expect": { "anyOf": [
                { "$ref": "#/$defs/Status" },
                { "type": "array", "items": { "$ref": "#/$defs/Status" } },
            ] },
            "Status": { "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": "^[1-5]xx$" }] },
        },
    })
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_who_wrote_it() {
    assert!(check(&http(), json!({"url": "x", "retries": 1, "status": ["2xx", 3]})).is_empty());
    assert_eq!(
        check(&http(), json!({"urll": "x"})),
        ["`urll` is not a setting of plugin p; did you mean `url`?"]
    );
    assert_eq!(
        check(&http(), json!({"certainly": 1})),
        [
            "`certainly` is not a setting of plugin p; it takes `headers`, `retries`, `status`, `url`",
            "`url` is missing in the settings of plugin p; it takes `headers`, `retries`, `status`, `url`",
        ]
    );
    assert_eq!(
        check(&http(), json!({"url": 1, "retries": -1, "headers": {"a.b": true}})),
        [
            "`headers.a.b` of plugin p must be a string, and is `true`",
            "`retries` of plugin p must be at least 0, and is -1",
            "`url` of plugin p must be a string, and is a number; `url`: Where to send it",
        ]
    );
}

#[test]
fn of_several_forms_the_likely_one_is_explained() {
    let status = |status: Value| check(&http(), json!({"url": "x", "status": status}));
    assert_eq!(
        status(json!("3x")),
        ["`status` of plugin p must be a text of the form `^[1-5]xx$`, and is \"3x\""]
    );
    assert_eq!(
        status(json!([200, "x"])),
        ["`status[1]` of plugin p must be a text of the form `^[1-5]xx$`, and is \"x\""]
    );
    assert_eq!(
        status(json!(true)),
        ["`status` of plugin p must be a whole number, a string or an array, and is `true`"]
    );
}

#[test]
fn of_variants_the_one_that_is_named_is_explained() {
    let variant = |name: &str, extra: &str| {
        json!({
            "type": "object", "additionalProperties": false, "required": ["do", extra],
            "properties": { "do": { "type": "string", "const": name }, extra: { "type": "string" } },
        })
    };
    let schema = json!({ "oneOf": [variant("read", "path"), variant("get", "url"), variant("say", "text")] });
    assert_eq!(
        check(&schema, json!({"do": "read", "pathh": "x"})),
        ["`pathh` is not a setting of plugin p; did you mean `path`?"]
    );
    assert_eq!(
        check(&schema, json!({"do": "get", "url": 1})),
        ["`url` of plugin p must be a string, and is a number"]
    );
    assert_eq!(
        check(&schema, json!({"do": "reed", "path": "x"})),
        ["`do` of plugin p is \"reed\", which it cannot be; did you mean `read`?"]
    );
    assert_eq!(
        check(&schema, json!({"do": "dance"})),
        ["`do` of plugin p is \"dance\", which it cannot be; it must be one of `read`, `get`, `say`"]
    );
    assert_eq!(
        check(&schema, json!({"path": "x"})),
        ["`do` is missing in the settings of plugin p; it is one of `read`, `get`, `say`"]
    );
}
