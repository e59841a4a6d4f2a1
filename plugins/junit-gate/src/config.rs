//! What a pipeline says.

use schemars::JsonSchema;
use serde::Deserialize;

/// How bad the recorded tests of earlier steps may be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The steps whose tests count: a name, that of a matrix as a whole, or that of a step that uses a file, for
    /// all in it. Default: every earlier step that recorded tests.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub steps: Option<Vec<String>>,
    /// How many tests may fail. Default: 0.
    #[serde(default)]
    pub max_failures: u64,
    /// How many may fail in an attempt of their step and succeed in a later one. Default: any number.
    #[serde(default)]
    pub max_flaky: Option<u64>,
    /// How many may be skipped. Default: any number.
    #[serde(default)]
    pub max_skipped: Option<u64>,
    /// How many there must be. Default: 1.
    #[serde(default)]
    pub min_tests: Option<u64>,
}
