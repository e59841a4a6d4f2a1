//! What a pipeline says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use shared::status::Expect;

/// An HTTP request, and what to expect of the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to send it: an `http` or `https` URL. Its origin must be granted.
    pub url: String,
    /// The method, in capitals. Default: GET, or POST when there is a body.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers to send: each a text, or a secret by its name: `{ "secret": "TOKEN", "prefix": "Bearer " }`. Their
    /// values are never printed.
    #[serde(default)]
    pub headers: BTreeMap<String, Header>,
    /// Sets the header `authorization` from a secret.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// The body, as text. There is one body: this, `json`, `form` or `file`.
    #[serde(default)]
    pub body: Option<String>,
    /// The body, as any JSON value but null; sets the content type unless `headers` does.
    #[serde(default)]
    pub json: Option<serde_json::Value>,
    /// The body, as a form's fields; sets the content type unless `headers` does.
    #[serde(default)]
    pub form: Option<BTreeMap<String, String>>,
    /// The body, as a file's content: a path relative to the workspace.
    #[serde(default)]
    pub file: Option<String>,
    /// Which statuses are a success: one such as 204, a class such as "2xx", or a list of these. Default:
    /// "2xx".
    #[serde(default)]
    pub expect_status: Option<Expect>,
    /// How many redirects are followed, each only to an origin that is granted. A redirect whose status is
    /// expected is the answer. Default: 5.
    #[serde(default)]
    pub redirects: Option<u32>,
    /// How often to try again after 408, 429, 502, 503, 504, or no answer at all. Default: 0.
    #[serde(default)]
    pub retries: u32,
    /// How long to wait before trying again, such as "2s", "500ms" or "1m30s"; longer when the server asks
    /// for it. Default: "1s".
    #[serde(default)]
    pub retry_delay: Option<String>,
    /// What the wait is multiplied with after each try, up to five minutes. Default: 2.
    #[serde(default)]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub backoff: Option<f64>,
    /// How long each attempt may take, such as "10s". Default: "60s".
    #[serde(default)]
    pub timeout: Option<String>,
    /// Where to write the answer's body: a path relative to the workspace.
    #[serde(default)]
    pub save_to: Option<String>,
    /// The step's outputs: each name with what it is: "status", "body", "header:NAME", or a JSON Pointer such
    /// as "/items/0/id" into the answer's JSON body. The output `status` is always there.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

/// A header's value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Header {
    /// As it is.
    Text(String),
    /// A secret's.
    Secret(Secret),
}

/// A secret, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The secret's name. It must be granted.
    pub secret: String,
    /// What stands before its value, such as "Bearer ".
    #[serde(default)]
    pub prefix: String,
}

/// How to authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Auth {
    /// By a token.
    Bearer {
        /// The name of the secret that is the token.
        bearer: String,
    },
    /// By a user's name and password.
    Basic {
        /// The user.
        user: String,
        /// The name of the secret that is the password.
        password: String,
    },
}
