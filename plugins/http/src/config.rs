//! What a pipeline says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// An HTTP request, and what to expect of the answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to send it: an `http` or `https` URL. Its origin must be granted.
    pub url: String,
    /// The method, in capitals. Default: GET, or POST when there is a body.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers to send. Their values are never printed.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as text. Not together with `json`.
    #[serde(default)]
    pub body: Option<String>,
    /// The body, as any JSON value but null; sets the content type unless `headers` does. Not together with
    /// `body`.
    #[serde(default)]
    pub json: Option<serde_json::Value>,
    /// Which statuses are a success: one such as 204, a class such as "2xx", or a list of these. Default:
    /// "2xx".
    #[serde(default)]
    pub expect_status: Option<Expect>,
    /// How often to try again after 429, 502, 503, 504, or no answer at all. Default: 0.
    #[serde(default)]
    pub retries: u32,
    /// How long to wait before trying again, such as "2s", "500ms" or "1m30s"; longer when the server asks
    /// for it. Default: "1s".
    #[serde(default)]
    pub retry_delay: Option<String>,
    /// How long each attempt may take, such as "10s". Default: "60s".
    #[serde(default)]
    pub timeout: Option<String>,
    /// The step's outputs: each name with what it is: "status", "body", "header:NAME", or a JSON Pointer such
    /// as "/items/0/id" into the answer's JSON body. The output `status` is always there.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

/// Which statuses are a success.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expect {
    /// One, or one class.
    One(Status),
    /// Any of these.
    AnyOf(Vec<Status>),
}

/// A status, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Status {
    /// A status code.
    Code(#[schemars(range(min = 100, max = 599))] u16),
    /// A class, such as "2xx".
    Class(#[schemars(regex(pattern = r"^[1-5]xx$"))] String),
}
