//! What a pipeline says.

use schemars::JsonSchema;
use serde::Deserialize;
use shared::status::Expect;

/// What to wait for: `tcp` or `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A host and port, such as "db.internal:5432", that must take a connection. It must be granted as `tcp`.
    #[serde(default)]
    pub tcp: Option<String>,
    /// A URL that must answer a GET. Its origin must be granted as `http`.
    #[serde(default)]
    pub url: Option<String>,
    /// Which statuses of `url` are ready: one such as 204, a class such as "2xx", or a list of these. Default:
    /// "2xx".
    #[serde(default)]
    pub status: Option<Expect>,
    /// A text that the answer's body must hold.
    #[serde(default)]
    pub contains: Option<String>,
    /// How long to wait in all, such as "30s" or "5m". Default: "60s".
    #[serde(default)]
    pub timeout: Option<String>,
    /// The pause between two looks. Default: "1s".
    #[serde(default)]
    pub interval: Option<String>,
    /// How long one look may take. Default: "5s".
    #[serde(default)]
    pub attempt_timeout: Option<String>,
}
