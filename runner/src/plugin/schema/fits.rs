//! Whether a config fits its schema, for the schemas that most plugins have.
//!
//! To make a validator takes longer than to load a plugin, and it is needed only to say what is wrong.

use serde_json::Value;

/// How deep schemas may lie in each other: one can refer to itself.
const DEPTH: u32 = 64;
/// Integers up to this are the same as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether the value certainly fits. If not, it may fit all the same: what is not understood here fits nothing.
pub(super) fn certainly_fits(schema: &Value, value: &Value) -> bool {
    Root(schema).fits(schema, value, DEPTH)
}

struct Root<'a>(&'a Value);

impl Root<'_> {
    fn fits(&self, schema: &Value, value: &Value, depth: u32) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        match schema {
            Value::Bool(anything) => *anything,
            Value::Object(keywords) => keywords.iter().all(|(keyword, says)| match keyword.as_str() {
                // This one belongs to another.
                "additionalProperties" => self.others_fit(schema, says, value, depth),
                keyword => self.keyword_fits(keyword, says, value, depth),
            }),
            _ => false,
        }
    }

    fn keyword_fits(&self, keyword: &str, says: &Value, value: &Value, depth: u32) -> bool {
        match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" => true,
            // Those of numbers only tell a program's own types.
            "format" => !value.is_string(),
            "type" => match says {
                Value::Array(types) => types.iter().any(|one| is(one, value)),
                one => is(one, value),
            },
            "const" => says == value,
            "enum" => says.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => compare(says, value, |limit, number| number >= limit),
            "maximum" => compare(says, value, |limit, number| number <= limit),
            "exclusiveMinimum" => compare(says, value, |limit, number| number > limit),
            "exclusiveMaximum" => compare(says, value, |limit, number| number < limit),
            "minLength" => length(says, value, |limit, length| length >= limit),
            "maxLength" => length(says, value, |limit, length| length <= limit),
            "minItems" => items(says, value, |limit, items| items >= limit),
            "maxItems" => items(says, value, |limit, items| items <= limit),
            "items" => all(value.as_array(), |item| self.fits(says, item, depth)),
            "required" => all(value.as_object().map(|_| says).and_then(Value::as_array), |name| {
                name.as_str().is_some_and(|name| value.get(name).is_some())
            }),
            "properties" => match (value, says) {
                (Value::Object(settings), Value::Object(known)) => settings.iter().all(|(name, setting)| {
                    known.get(name).is_none_or(|schema| self.fits(schema, setting, depth))
                }),
                (_, known) => known.is_object(),
            },
            "anyOf" => {
                says.as_array().is_some_and(|forms| forms.iter().any(|form| self.fits(form, value, depth)))
            }
            "allOf" => {
                says.as_array().is_some_and(|forms| forms.iter().all(|form| self.fits(form, value, depth)))
            }
            "$ref" => {
                let pointer = says.as_str().and_then(|reference| reference.strip_prefix('#'));
                // Nothing is escaped in it that would have to be read first.
                let pointer = pointer.filter(|pointer| !pointer.contains(['%', '~']));
                let schema = pointer.and_then(|pointer| self.0.pointer(pointer));
                schema.is_some_and(|schema| self.fits(schema, value, depth))
            }
            _ => false,
        }
    }

    /// Whether the settings fit that `properties` does not name.
    fn others_fit(&self, schema: &Value, says: &Value, value: &Value, depth: u32) -> bool {
        let known = &schema["properties"];
        let others = value.as_object().into_iter().flatten().filter(|(name, _)| known.get(name).is_none());
        others.into_iter().all(|(_, setting)| self.fits(says, setting, depth))
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

/// Whether all of it are so; where it is nothing of the kind, the keyword says nothing.
fn all(values: Option<&Vec<Value>>, is_so: impl FnMut(&Value) -> bool) -> bool {
    values.is_none_or(|values| values.iter().all(is_so))
}

fn compare(limit: &Value, value: &Value, holds: impl Fn(f64, f64) -> bool) -> bool {
    let exact = |value: &Value| value.as_f64().filter(|number| number.abs() < EXACT);
    !value.is_number() || exact(limit).zip(exact(value)).is_some_and(|(limit, number)| holds(limit, number))
}

fn length(limit: &Value, value: &Value, holds: impl Fn(u64, u64) -> bool) -> bool {
    let Value::String(text) = value else { return true };
    limit.as_u64().is_some_and(|limit| holds(limit, text.chars().count() as u64))
}

fn items(limit: &Value, value: &Value, holds: impl Fn(u64, u64) -> bool) -> bool {
    let Value::Array(items) = value else { return true };
    limit.as_u64().is_some_and(|limit| holds(limit, items.len() as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Config",
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "url": { "type": "string", "description": "Where.", "minLength": 1, "maxLength": 3 },
                "retries": { "type": ["integer", "null"], "format": "uint32", "minimum": 0, "maximum": 9, "default": 0 },
                "factor": { "type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2.5 },
                "mode": { "enum": ["a", 1, null] },
                "kind": { "anyOf": [{ "const": "x" }, { "$ref": "#/$defs/Status" }, { "type": "null" }] },
                "list": { "type": "array", "items": { "$ref": "#/$defs/Status" }, "minItems": 1, "maxItems": 2 },
                "map": { "type": "object", "additionalProperties": { "type": "string" } },
                "both": { "allOf": [{ "type": "integer" }, { "minimum": 3 }] },
                "tree": { "$ref": "#/$defs/Tree" },
                "any": true,
                "none": false,
                "code": { "type": "string", "pattern": "^[0-9]$" },
            },
            "$defs": {
                "Status": { "type": "integer", "minimum": 100, "maximum": 599 },
                "Tree": { "properties": { "tree": { "$ref": "#/$defs/Tree" } }, "additionalProperties": false },
            },
        })
    }

    #[test]
    fn usual_configs_fit() {
        let schema = schema();
        for config in [
            json!({ "url": "abc" }),
            json!({ "url": "ü", "retries": null, "factor": 2, "mode": 1, "kind": "x", "any": [1] }),
            json!({ "url": "a", "retries": 9, "kind": 200, "list": [100, 599], "map": { "a": "b" }, "both": 3 }),
            json!({ "url": "a", "tree": { "tree": { "tree": {} } } }),
        ] {
            assert!(certainly_fits(&schema, &config), "{config}");
        }
    }

    #[test]
    fn what_is_not_understood_is_left_to_a_validator() {
        for (schema, config) in [
            (json!({ "pattern": "a" }), json!("a")),
            (json!({ "oneOf": [true] }), json!(1)),
            (json!({ "$ref": "#" }), json!(1)),
            (json!({ "$ref": "other.json" }), json!(1)),
            (json!({ "format": "uri" }), json!("a:b")),
            (json!({ "type": "integer" }), json!(1.0)),
            (json!({ "maximum": u64::MAX }), json!(1)),
            (json!(1), json!(1)),
        ] {
            assert!(!certainly_fits(&schema, &config), "{schema}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let number =
            prop_oneof![Just(-1.0), Just(0.5), Just(2.5), Just(3.0), Just(1e300)].prop_map(|n| json!(n));
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|b| json!(b)),
            prop_oneof![Just(0), Just(1), Just(3), Just(9), Just(10), Just(99), Just(100), Just(600)]
                .prop_map(|n| json!(n)),
            number,
            prop_oneof![Just(""), Just("a"), Just("x"), Just("7"), Just("äöü"), Just("long")]
                .prop_map(|s| json!(s)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|values| json!(values)),
                proptest::collection::btree_map(prop_oneof![Just("tree"), Just("a")], inner, 0..3)
                    .prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_fits_here_fits(settings in proptest::collection::btree_map(proptest::sample::select(vec![
            "url", "retries", "factor", "mode", "kind", "list", "map", "both", "tree", "any", "none", "code", "other",
        ]), any_value(), 0..4), with_url in any::<bool>()) {
            let schema = schema();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let mut config = json!(settings);
            if with_url {
                config["url"] = json!("a");
            }
            let valid = validator.is_valid(&config);
            prop_assert!(valid || !certainly_fits(&schema, &config), "{config}");
            // Of what is valid, only what needs a pattern, or is an integer as a float, is left.
            let understood = config.get("code").is_none() && !config.to_string().contains('.');
            prop_assert!(!valid || !understood || certainly_fits(&schema, &config), "{config}");
        }
    }
}
