//! What a pipeline says.

use schemars::JsonSchema;
use serde::Deserialize;

/// Whom to tell, and what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who is told.
    pub to: To,
    /// The name of the secret that is the webhook's URL. It must be granted, and so must the URL's origin.
    #[serde(default)]
    pub url_secret: Option<String>,
    /// The variable that is the webhook's URL, in place of `url_secret`. It must be granted, unless it stands in the
    /// step's `env`.
    #[serde(default)]
    pub url_env: Option<String>,
    /// What to say. Default: how the build goes so far.
    #[serde(default)]
    pub text: Option<String>,
    /// What to send instead, as any JSON. Only to `webhook`.
    #[serde(default)]
    pub json: Option<serde_json::Value>,
    /// How often to try again after 408, 429, 502, 503, 504, or no answer at all. Default: 3.
    #[serde(default)]
    pub retries: Option<u32>,
    /// How long to wait before trying again; twice as long each time. Default: "1s".
    #[serde(default)]
    pub retry_delay: Option<String>,
    /// How long each try may take. Default: "10s".
    #[serde(default)]
    pub timeout: Option<String>,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// A channel of Slack, by an incoming webhook.
    Slack,
    /// A channel of Microsoft Teams, by a workflow's webhook.
    Teams,
    /// Any service that takes JSON.
    Webhook,
}
