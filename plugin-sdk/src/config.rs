//! A plugin's configuration: its schema, and reading it with errors that point.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::types::{Diagnostic, Error, PluginInfo};

/// What can be a plugin's configuration. Derive `Deserialize` and `JsonSchema`; nothing else is needed.
///
/// The runner checks the user's configuration against the schema before the plugin is called, and shows the
/// fields' doc comments to the user. `#[serde(deny_unknown_fields)]` is what catches misspelt fields.
pub trait Config: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> Config for T {}

/// What the `export_*!` macros know about the crate that they are called in.
#[doc(hidden)]
pub trait Package {
    const NAME: &'static str;
    const VERSION: &'static str;
}

/// Reads a configuration. Errors carry a JSON Pointer to the offending place.
pub fn parse<C: Config>(json: &str) -> Result<C, Error> {
    // By way of a value: so messages have no line and column, which mean nothing in the text that the runner
    // made.
    let value: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Error::invalid_config("", format!("the configuration is not JSON: {error}")))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| Error::invalid_config(pointer(error.path()), error.inner().to_string()))
}

/// What is wrong with a configuration. One that cannot be read is a finding, like any other.
pub(crate) fn findings<C: Config>(
    json: &str,
    validate: impl FnOnce(&C) -> Vec<Diagnostic>,
) -> Result<Vec<Diagnostic>, Error> {
    match parse(json) {
        Ok(config) => Ok(validate(&config)),
        Err(Error::InvalidConfig(diagnostics)) => Ok(diagnostics),
        Err(error) => Err(error),
    }
}

/// The JSON Schema (2020-12) of a configuration, as text.
pub fn schema<C: Config>() -> String {
    schemars::schema_for!(C).to_value().to_string()
}

pub(crate) fn info<P: Package, C: Config>(summary: &str, features: &[&str]) -> PluginInfo {
    PluginInfo {
        name: P::NAME.into(),
        version: P::VERSION.into(),
        summary: summary.into(),
        config_schema: schema::<C>(),
        features: features.iter().map(ToString::to_string).collect(),
    }
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        // A variant's name is not a place in the document unless it is also a key, and then it comes as a
        // key.
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        /// Who to greet.
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        limits: BTreeMap<String, u8>,
    }

    fn error(json: &str) -> (String, String) {
        match parse::<Sample>(json) {
            Err(Error::InvalidConfig(mut diagnostics)) => {
                let diagnostic = diagnostics.remove(0);
                (diagnostic.pointer, diagnostic.message)
            }
            Err(other) => (String::new(), other.to_string()),
            Ok(sample) => (String::new(), format!("{:?} {:?}", sample.names, sample.limits)),
        }
    }

    #[test]
    fn errors_point_at_the_offending_place() {
        assert_eq!(
            error(r#"{"names": ["a", 7]}"#),
            ("/names/1".into(), "invalid type: integer `7`, expected a string".into())
        );
        assert_eq!(
            error(r#"{"limits": {"a/b~c": 300}}"#),
            ("/limits/a~1b~0c".into(), "invalid value: integer `300`, expected u8".into())
        );
        let (pointer, message) = error(r#"{"nmaes": []}"#);
        assert_eq!(pointer, "/nmaes");
        assert!(message.starts_with("unknown field `nmaes`"), "{message}");
        assert!(error("{").1.starts_with("the configuration is not JSON"));
    }

    #[test]
    fn the_schema_has_the_dialect_and_the_doc_comments() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Sample>()).unwrap_or_default();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["properties"]["names"]["description"], "Who to greet.");
        assert_eq!(schema["additionalProperties"], false);
    }
}
