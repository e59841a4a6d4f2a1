//! What of a config does not fit its plugin's schema, in words for who wrote it.

mod fits;

use std::sync::{Arc, OnceLock};

use jsonschema::{
    Draft, JsonType, Registry, RegistryBuilder, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::{Value, json};

use crate::{
    pipeline::{Json, did_you_mean, printable},
    plugin::PluginError,
};

/// What the SDK's schemas are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What a known schema is called where it hangs.
const KNOWN: &str = "json-schema:///config";

type Branch = Vec<ValidationError<'static>>;

/// A plugin's schema, ready to check configs with.
pub(crate) struct Schema {
    plugin: Arc<str>,
    json: Value,
    /// Made when it is needed, where the schema was found valid earlier.
    validator: OnceLock<Result<Validator, PluginError>>,
}

/// One thing that is wrong.
struct Finding {
    /// What it is about, as a JSON Pointer into the config.
    pointer: String,
    /// The key is wrong, not its value.
    key: bool,
    message: String,
    help: Option<String>,
    /// The setting that should have been there, if one is missing.
    missing: Option<String>,
}

fn unusable(plugin: &str, what: &str) -> PluginError {
    PluginError::new(format!("plugin {plugin} has a config schema that {what}"))
        .help("report this to the plugin's author")
}

impl Schema {
    /// The schema that the plugin gave.
    pub(crate) fn parse(plugin: &Arc<str>, text: &str) -> Result<Self, PluginError> {
        let json =
            serde_json::from_str(text).map_err(|error| unusable(plugin, &format!("is not JSON: {error}")))?;
        Schema::new(plugin, json)
    }

    /// A schema that was found valid when the plugin was installed.
    pub(crate) fn known(plugin: &Arc<str>, json: Value) -> Result<Self, PluginError> {
        if json["$schema"] != DIALECT {
            return Schema::new(plugin, json);
        }
        Ok(Schema { plugin: plugin.clone(), json, validator: OnceLock::new() })
    }

    fn new(plugin: &Arc<str>, json: Value) -> Result<Self, PluginError> {
        let validator = jsonschema::validator_for(&json)
            .map_err(|error| unusable(plugin, &format!("is not valid: {error}")))?;
        Ok(Schema { plugin: plugin.clone(), json, validator: Ok(validator).into() })
    }

    /// To find a known schema valid again takes a millisecond, as the rules of its dialect are many: so it hangs from a
    /// schema of a dialect that has few.
    fn validator(&self) -> Result<&Validator, PluginError> {
        let make = || {
            let registry = Registry::new().add(KNOWN, self.json.clone()).and_then(RegistryBuilder::prepare);
            let registry = registry.map_err(|error| error.to_string())?;
            let options = jsonschema::options().with_draft(Draft::Draft4).with_registry(&registry);
            options.build(&json!({ "$ref": KNOWN })).map_err(|error| error.to_string())
        };
        let invalid = |error| unusable(&self.plugin, &format!("is not valid: {error}"));
        self.validator.get_or_init(|| make().map_err(invalid)).as_ref().map_err(Clone::clone)
    }

    /// The schema itself.
    pub(crate) fn into_json(self) -> Value {
        self.json
    }

    /// All that is wrong with the config, each with its place.
    pub(crate) fn check(&self, with: &Json) -> Vec<PluginError> {
        if self.validator.get().is_none() && fits::certainly_fits(&self.json, &with.value) {
            return Vec::new();
        }
        let validator = match self.validator() {
            Ok(validator) => validator,
            Err(error) => return vec![error.at(with.span(""))],
        };
        let errors = validator.iter_errors(&with.value);
        let mut findings: Vec<_> = errors.flat_map(|error| self.explain(&error)).collect();
        // A setting that was misspelt is not missing, too.
        let meant: Vec<_> =
            findings.iter().filter(|found| found.key).map(|found| found.help.clone()).collect();
        let is_meant = |name: &String| meant.contains(&Some(suggestion(name)));
        findings.retain(|found| !found.missing.as_ref().is_some_and(is_meant));
        // What an expression will be is not known yet.
        let expression = |found: &Finding| {
            let around = |pointer: &String| {
                let rest = pointer.strip_prefix(&found.pointer);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            !found.key && found.missing.is_none() && with.templates.keys().any(around)
        };
        findings.retain(|found| !expression(found));
        let error = |found: Finding| PluginError {
            span: Some(if found.key { with.key_span(&found.pointer) } else { with.span(&found.pointer) }),
            message: found.message,
            help: found.help,
        };
        findings.into_iter().map(error).collect()
    }

    fn explain(&self, error: &ValidationError<'_>) -> Vec<Finding> {
        let pointer = error.instance_path().as_str();
        let found = |message: String, help| {
            vec![Finding { pointer: pointer.to_owned(), key: false, message, help, missing: None }]
        };
        let must = |what: &str| {
            let message =
                format!("{} must be {what}, and is {}", self.setting(pointer), shown(error.instance()));
            found(message, self.description(pointer))
        };
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let unknown = |name: &String| self.unknown(error, name);
                unexpected.iter().map(unknown).collect()
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let place = self.place(pointer);
                vec![Finding {
                    pointer: pointer.to_owned(),
                    key: false,
                    message: format!("`{name}` is missing in {place}"),
                    help: self.takes(error),
                    missing: Some(name.to_owned()),
                }]
            }
            Kind::Type { kind } => {
                let message = format!(
                    "{} must be {}, and is {}",
                    self.setting(pointer),
                    types(&names(kind)),
                    type_of(error.instance())
                );
                found(message, self.description(pointer))
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => self.alternatives(error, context),
            Kind::Enum { options } => {
                let options: Vec<_> = options.as_array().into_iter().flatten().collect();
                vec![self.choice(pointer, error.instance(), &options)]
            }
            Kind::Constant { expected_value } => {
                vec![self.choice(pointer, error.instance(), &[&**expected_value])]
            }
            Kind::Minimum { limit } => must(&format!("at least {limit}")),
            Kind::Maximum { limit } => must(&format!("at most {limit}")),
            Kind::ExclusiveMinimum { limit } => must(&format!("more than {limit}")),
            Kind::ExclusiveMaximum { limit } => must(&format!("less than {limit}")),
            Kind::Pattern { pattern } => must(&format!("a text of the form `{pattern}`")),
            _ => {
                let place = self.place(pointer);
                found(format!("in {place}: {error}"), None)
            }
        }
    }

    fn unknown(&self, error: &ValidationError<'_>, name: &str) -> Finding {
        let pointer = error.instance_path().as_str();
        let known = self.properties(error);
        let close = did_you_mean(name, known.iter().copied());
        let of = if pointer.is_empty() {
            format!("plugin {}", self.plugin)
        } else {
            format!("`{}` of plugin {}", path(pointer), self.plugin)
        };
        Finding {
            pointer: format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")),
            key: true,
            message: format!("`{}` is not a setting of {of}", printable(name)),
            help: close.map(suggestion).or_else(|| self.takes(error)),
            missing: None,
        }
    }

    /// A value that is none of those that are possible.
    fn choice(&self, pointer: &str, value: &Value, options: &[&Value]) -> Finding {
        let list: Vec<_> = options.iter().map(|option| format!("`{}`", bare(option))).collect();
        let close =
            did_you_mean(value.as_str().unwrap_or_default(), options.iter().filter_map(|o| o.as_str()));
        let one_of = if list.len() == 1 { "" } else { "one of " };
        Finding {
            pointer: pointer.to_owned(),
            key: false,
            message: format!("{} is {}, which it cannot be", self.setting(pointer), shown(value)),
            help: Some(close.map_or_else(|| format!("it must be {one_of}{}", list.join(", ")), suggestion)),
            missing: None,
        }
    }

    /// None of several forms fits: what is wrong with the one that was most likely meant.
    fn alternatives(&self, error: &ValidationError<'_>, context: &[Branch]) -> Vec<Finding> {
        let pointer = error.instance_path().as_str();
        let is_absence = |branch: &&Branch| matches!(branch.as_slice(), [only] if matches!(only.kind(), Kind::Type { kind: TypeKind::Single(JsonType::Null) }));
        let branches: Vec<&Branch> = context.iter().filter(|branch| !is_absence(branch)).collect();
        let meant = branches.iter().filter(|branch| !branch.iter().any(|wrong| is_another(wrong, pointer)));
        let meant = meant.min_by_key(|branch| branch.len());
        if let Some(branch) = meant.or(if let [only] = branches.as_slice() { Some(only) } else { None }) {
            return branch.iter().flat_map(|error| self.explain(error)).collect();
        }
        let mut options: Vec<(&str, &Value, &Value)> = Vec::new();
        let mut kinds = Vec::new();
        for wrong in branches.iter().flat_map(|branch| branch.iter()) {
            gather(wrong, &mut options, &mut kinds);
        }
        if let Some((place, value, _)) = options.first() {
            let values: Vec<_> = options.iter().map(|(_, _, option)| *option).collect();
            return vec![self.choice(place, value, &values)];
        }
        let message = format!(
            "{} must be {}, and is {}",
            self.setting(pointer),
            types(&kinds),
            type_of(error.instance())
        );
        let help = self.description(pointer);
        vec![Finding { pointer: pointer.to_owned(), key: false, message, help, missing: None }]
    }

    /// What the schema says of a setting.
    fn description(&self, pointer: &str) -> Option<String> {
        let name = pointer.split('/').nth(1)?;
        let said = self.json.get("properties")?.get(name)?.get("description")?.as_str()?;
        let said: Vec<_> = said.split_whitespace().collect();
        Some(format!("`{name}`: {}", said.join(" ").trim_end_matches('.')))
    }

    /// The schema that holds the keyword which objected.
    fn holder(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let keyword = error.schema_path().as_str();
        self.json.pointer(&keyword[..keyword.rfind('/')?])
    }

    fn properties(&self, error: &ValidationError<'_>) -> Vec<&str> {
        let properties = self.holder(error).and_then(|schema| schema.get("properties")?.as_object());
        properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str)).collect()
    }

    /// The settings that there are; for a missing one that says which variant is meant, the variants.
    fn takes(&self, error: &ValidationError<'_>) -> Option<String> {
        if let Kind::Required { property } = error.kind() {
            let variants = self.variants(error, property.as_str().unwrap_or_default());
            if variants.len() > 1 {
                return Some(format!("it is one of {}", variants.join(", ")));
            }
        }
        let known: Vec<_> = self.properties(error).iter().map(|name| format!("`{name}`")).collect();
        (!known.is_empty()).then(|| format!("it takes {}", known.join(", ")))
    }

    /// What the property may be in the schema's variants, of which each has it as a constant.
    fn variants(&self, error: &ValidationError<'_>, property: &str) -> Vec<String> {
        let path = error.schema_path().as_str();
        let variants = path.rsplitn(3, '/').nth(2).and_then(|path| self.json.pointer(path)?.as_array());
        let constant = |variant: &Value| {
            Some(format!("`{}`", bare(variant.get("properties")?.get(property)?.get("const")?)))
        };
        variants.into_iter().flatten().filter_map(constant).collect()
    }

    /// `url` of plugin http.
    fn setting(&self, pointer: &str) -> String {
        if pointer.is_empty() {
            format!("the config of plugin {}", self.plugin)
        } else {
            format!("`{}` of plugin {}", path(pointer), self.plugin)
        }
    }

    fn place(&self, pointer: &str) -> String {
        if pointer.is_empty() {
            format!("the settings of plugin {}", self.plugin)
        } else {
            format!("`{}` of plugin {}", path(pointer), self.plugin)
        }
    }
}

/// Whether the error says that another form was meant than this one: it is of another type, or says another
/// variant's name.
fn is_another(error: &ValidationError<'_>, pointer: &str) -> bool {
    let place = error.instance_path().as_str();
    let is_here = place == pointer;
    match error.kind() {
        Kind::Type { .. } => is_here,
        Kind::Constant { .. } | Kind::Enum { .. } => {
            is_here || place.rfind('/').is_some_and(|cut| &place[..cut] == pointer)
        }
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            is_here && context.iter().all(|branch| branch.iter().any(|error| is_another(error, pointer)))
        }
        _ => false,
    }
}

/// The values and the types that would have been right somewhere below.
fn gather<'a>(
    error: &'a ValidationError<'_>,
    options: &mut Vec<(&'a str, &'a Value, &'a Value)>,
    kinds: &mut Vec<JsonType>,
) {
    let place = error.instance_path().as_str();
    match error.kind() {
        Kind::Type { kind } => kinds.extend(names(kind)),
        Kind::Constant { expected_value } => options.push((place, error.instance(), expected_value)),
        Kind::Enum { options: all } => {
            let all = all.as_array().into_iter().flatten();
            options.extend(all.map(|option| (place, error.instance().as_ref(), option)));
        }
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            for error in context.iter().flatten() {
                gather(error, options, kinds);
            }
        }
        _ => {}
    }
}

fn suggestion(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// `/headers/a/0` as people write it: `headers.a[0]`.
pub(crate) fn path(pointer: &str) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !path.is_empty() && token.parse::<usize>().is_ok() {
            path.push_str(&format!("[{token}]"));
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path.push_str(&format!("{dot}{}", printable(&token)));
        }
    }
    path
}

fn names(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

/// `a string or a number`; that a setting may be null as well helps nobody.
fn types(kinds: &[JsonType]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for kind in kinds {
        let word = word(*kind);
        if (*kind != JsonType::Null || kinds.len() == 1) && !words.contains(&word) {
            words.push(word);
        }
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((only, _)) => (*only).to_owned(),
        None => "something else".to_owned(),
    }
}

fn word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "`true`",
        Value::Bool(false) => "`false`",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value as a message may show it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", printable(text)),
        Value::Array(_) | Value::Object(_) => type_of(value).to_owned(),
        other => other.to_string(),
    }
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
