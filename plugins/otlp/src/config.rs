//! Where to send, and what goes with it.

use std::collections::BTreeMap;

use dcd_plugin_sdk::{Diagnostic, Error, schemars};

/// The observer's settings. Each may come from OpenTelemetry's own variables instead, as far as they are granted.
#[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The collector, without `/v1/traces`. Default: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (as it is), else
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://localhost:4318`.
    endpoint: Option<String>,
    /// Headers of each request, beside those of `OTEL_EXPORTER_OTLP_HEADERS`.
    headers: BTreeMap<String, String>,
    /// Headers whose values are secrets: header to the secret's name.
    secret_headers: BTreeMap<String, String>,
    /// `service.name`. Default: `OTEL_SERVICE_NAME`, else the component.
    service_name: Option<String>,
    /// Attributes of the resource, beside those of `OTEL_RESOURCE_ATTRIBUTES`.
    attributes: BTreeMap<String, String>,
}

/// Where to send, all settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) resource: BTreeMap<String, String>,
}

impl Config {
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        match &self.endpoint {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                vec![Diagnostic {
                    pointer: "/endpoint".into(),
                    message: "this is no URL of http or https".into(),
                    help: Some("write it like https://otel.example:4318".into()),
                }]
            }
            _ => Vec::new(),
        }
    }
}

impl Target {
    pub(crate) fn new(
        config: Config,
        component: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        secret: &dyn Fn(&str) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        let url = match (config.endpoint, variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) {
            (None, Some(traces)) => traces,
            (endpoint, _) => {
                let base = endpoint.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
                let base = base.unwrap_or_else(|| "http://localhost:4318".to_owned());
                format!("{}/v1/traces", base.trim_end_matches('/'))
            }
        };
        let mut headers = pairs(variable("OTEL_EXPORTER_OTLP_HEADERS"));
        headers.extend(config.headers);
        for (header, name) in config.secret_headers {
            headers.insert(header, secret(&name)?);
        }
        let mut resource = pairs(variable("OTEL_RESOURCE_ATTRIBUTES"));
        resource.extend(config.attributes);
        let service = config.service_name.or_else(|| variable("OTEL_SERVICE_NAME"));
        resource.entry("service.name".to_owned()).or_insert_with(|| component.to_owned());
        resource.extend(service.map(|service| ("service.name".to_owned(), service)));
        Ok(Target { url, headers: headers.into_iter().collect(), resource })
    }
}

/// `key=value,key=value`, with percent-encoded values, as OpenTelemetry's variables have them.
fn pairs(text: Option<String>) -> BTreeMap<String, String> {
    let text = text.unwrap_or_default();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((key.trim().to_owned(), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
