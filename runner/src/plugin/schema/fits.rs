//! Whether a config fits its schema, for the schemas that most plugins have.
//!
//! To make a validator takes longer than to load a plugin, and few configs need one: those that do not fit, and those whose
//! schemas say what is not understood here.

use std::cell::Cell;

use serde_json::Value;

use super::DIALECT;

/// How many schemas are looked at: one can refer to itself, also twice.
const STEPS: u32 = 10_000;
/// How deep they may lie in each other.
const DEPTH: u32 = 64;
/// Integers below this are the same as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether it does, where that is certain.
type Fits = Option<bool>;

/// Whether the value certainly fits. If not, it may fit all the same.
pub(super) fn certainly_fits(schema: &Value, value: &Value) -> bool {
    let steps = Cell::new(STEPS);
    Root { schema, steps }.fits(schema, value, DEPTH) == Some(true)
}

struct Root<'a> {
    schema: &'a Value,
    /// How many schemas may still be looked at.
    steps: Cell<u32>,
}

impl Root<'_> {
    fn fits(&self, schema: &Value, value: &Value, depth: u32) -> Fits {
        let depth = depth.checked_sub(1)?;
        self.steps.set(self.steps.get().checked_sub(1)?);
        match schema {
            Value::Bool(anything) => Some(*anything),
            // What it refers to would be elsewhere, or its keywords would mean something else.
            Value::Object(keywords)
                if keywords.contains_key("$id")
                    || keywords.get("$schema").is_some_and(|dialect| dialect != DIALECT) =>
            {
                None
            }
            Value::Object(keywords) => all(keywords.iter().map(|(keyword, says)| match keyword.as_str() {
                // These two need another.
                "additionalProperties" => self.others_fit(schema, says, value, depth),
                "items" if keywords.contains_key("prefixItems") => None,
                keyword => self.keyword_fits(keyword, says, value, depth),
            })),
            _ => None,
        }
    }

    fn keyword_fits(&self, keyword: &str, says: &Value, value: &Value, depth: u32) -> Fits {
        let forms = || says.as_array().map(|forms| forms.iter().map(|form| self.fits(form, value, depth)));
        match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" => Some(true),
            // Formats of numbers only tell a program's own types.
            "pattern" | "format" => (!value.is_string()).then_some(true),
            "type" => match says {
                Value::Array(types) => any(types.iter().map(|one| is(one, value))),
                one => is(one, value),
            },
            "const" => same(says, value),
            "enum" => any(says.as_array()?.iter().map(|one| same(one, value))),
            "minimum" => compare(says, value, |limit, number| number >= limit),
            "maximum" => compare(says, value, |limit, number| number <= limit),
            "exclusiveMinimum" => compare(says, value, |limit, number| number > limit),
            "exclusiveMaximum" => compare(says, value, |limit, number| number < limit),
            "minLength" | "maxLength" => match value {
                Value::String(text) => count(keyword, says, text.chars().count()),
                _ => Some(true),
            },
            "minItems" | "maxItems" => match value {
                Value::Array(items) => count(keyword, says, items.len()),
                _ => Some(true),
            },
            "items" => all(value.as_array().into_iter().flatten().map(|item| self.fits(says, item, depth))),
            "required" => {
                let has = |name: &Value| name.as_str().map(|name| value.get(name).is_some());
                if value.is_object() { all(says.as_array()?.iter().map(has)) } else { Some(true) }
            }
            "properties" => {
                let known = says.as_object()?;
                let settings = value.as_object().into_iter().flatten();
                all(settings.filter_map(|(name, setting)| Some(self.fits(known.get(name)?, setting, depth))))
            }
            "allOf" => all(forms()?),
            "anyOf" => any(forms()?),
            "oneOf" => {
                let forms: Option<Vec<bool>> = forms()?.collect();
                Some(forms?.into_iter().filter(|fits| *fits).count() == 1)
            }
            "$ref" => {
                // Nothing is escaped in the name that would have to be read first.
                let name = says.as_str()?.strip_prefix("#/$defs/")?;
                let name = Some(name).filter(|name| !name.contains(['%', '~', '/']))?;
                self.fits(self.schema.get("$defs")?.get(name)?, value, depth)
            }
            _ => None,
        }
    }

    /// Whether the settings fit that `properties` does not name.
    fn others_fit(&self, schema: &Value, says: &Value, value: &Value, depth: u32) -> Fits {
        if schema.get("patternProperties").is_some() {
            return None;
        }
        let known = schema.get("properties");
        let is_known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
        let others = value.as_object().into_iter().flatten().filter(|(name, _)| !is_known(name));
        all(others.map(|(_, setting)| self.fits(says, setting, depth)))
    }
}

fn all(fits: impl IntoIterator<Item = Fits>) -> Fits {
    let mut all = Some(true);
    for fits in fits {
        match fits {
            Some(true) => {}
            Some(false) => return fits,
            None => all = None,
        }
    }
    all
}

fn any(fits: impl IntoIterator<Item = Fits>) -> Fits {
    all(fits.into_iter().map(|fits| fits.map(|fits| !fits))).map(|none| !none)
}

fn is(name: &Value, value: &Value) -> Fits {
    Some(match name.as_str()? {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        // It may be a whole number all the same.
        "integer" if value.is_f64() => return None,
        "number" | "integer" => value.is_number(),
        _ => return None,
    })
}

fn same(one: &Value, other: &Value) -> Fits {
    match (one, other) {
        _ if one == other => Some(true),
        // Numbers, also in there, are the same in more than one form.
        (Value::Number(_), Value::Number(_))
        | (Value::Array(_), Value::Array(_))
        | (Value::Object(_), Value::Object(_)) => None,
        _ => Some(false),
    }
}

fn compare(limit: &Value, value: &Value, holds: impl Fn(f64, f64) -> bool) -> Fits {
    let exact = |value: &Value| value.as_f64().filter(|number| number.abs() < EXACT);
    if value.is_number() { Some(holds(exact(limit)?, exact(value)?)) } else { Some(true) }
}

fn count(keyword: &str, limit: &Value, count: usize) -> Fits {
    let (limit, count) = (limit.as_u64()?, count as u64);
    Some(if keyword.starts_with("min") { count >= limit } else { count <= limit })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::certainly_fits;

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
                "how": { "oneOf": [
                    { "type": "object", "properties": { "tag": { "const": "a" }, "a": { "type": "string" } }, "required": ["tag"] },
                    { "type": "object", "properties": { "tag": { "const": "b" } }, "required": ["tag", "a"] },
                ] },
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
            json!({ "url": "a", "tree": { "tree": { "tree": {} } }, "how": { "tag": "b", "a": 1 } }),
        ] {
            assert!(certainly_fits(&schema, &config), "{config}");
        }
    }

    #[test]
    fn what_is_not_understood_is_left_to_a_validator() {
        for (schema, config) in [
            (json!({ "pattern": "a" }), json!("a")),
            (json!({ "oneOf": [{ "type": "integer" }, { "pattern": "a" }] }), json!("a")),
            (json!({ "oneOf": [true, true] }), json!(1)),
            (json!({ "additionalProperties": false, "patternProperties": { "a": true } }), json!({ "a": 1 })),
            (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } }), json!(1)),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [
                { "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" },
            ] } } }),
                json!(1),
            ),
            (
                json!({ "oneOf": [
                { "prefixItems": [{ "type": "string" }], "items": false }, { "items": { "type": "string" } },
            ] }),
                json!(["a"]),
            ),
            (
                json!({ "oneOf": [
                { "$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/$defs/any", "type": "string" },
                { "type": "integer" },
            ], "$defs": { "any": true } }),
                json!(5),
            ),
            (json!({ "allOf": [{ "$id": "other" }] }), json!(1)),
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
            prop_oneof![Just(""), Just("a"), Just("b"), Just("x"), Just("7"), Just("äöü"), Just("long")]
                .prop_map(|s| json!(s)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|values| json!(values)),
                proptest::collection::btree_map(
                    prop_oneof![Just("tree"), Just("a"), Just("tag")],
                    inner,
                    0..3
                )
                .prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_fits_here_fits(settings in proptest::collection::btree_map(proptest::sample::select(vec![
            "url", "retries", "factor", "mode", "kind", "list", "map", "both", "tree", "how", "any", "none", "code", "other",
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
