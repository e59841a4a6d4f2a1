//! What a pipeline says, understood: every text is parsed here and nowhere else.

use std::time::Duration;

use dcd_plugin_sdk::Diagnostic;
use dcd_plugin_sdk::http::Url;
use shared::retry::Retry;
use shared::status::Expected;
use shared::{Findings, field, files};

use crate::config::{Auth, Config, Header};
use crate::take::Take;

/// Headers that belong to the connection, which is the client's.
const RESERVED: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];
const REDIRECTS: u32 = 5;

/// What to send, and what to make of the answer.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) url: Url,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, Header)>,
    pub(crate) auth: Option<Auth>,
    pub(crate) body: Body,
    pub(crate) expected: Expected,
    pub(crate) redirects: u32,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    pub(crate) save_to: Option<String>,
    pub(crate) outputs: Vec<(String, Take)>,
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Bytes(Vec<u8>),
    /// A path relative to the workspace.
    File(String),
}

impl Plan {
    /// Understands a configuration, or says everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let (body, content_type) = body(config, &mut findings);
        let default = if body == Body::None { "GET" } else { "POST" };
        let method = config.method.clone().unwrap_or_else(|| default.to_owned());
        if !is_method(&method) {
            findings
                .add("/method", format!("{method:?} is not a method: write it in capitals, such as \"PUT\""));
        }
        let url = Url::parse(&config.url).map_err(|error| findings.add("/url", error.message())).ok();
        let headers = headers(config, content_type, &mut findings);
        let retry = Retry {
            retries: config.retries,
            delay: findings.duration("/retry_delay", config.retry_delay.as_deref(), Duration::from_secs(1)),
            backoff: config.backoff.unwrap_or(2.0),
        };
        if !(1.0..=100.0).contains(&retry.backoff) {
            findings.add("/backoff", "a wait grows by a factor from 1 to 100");
        }
        let timeout = findings.time("/timeout", config.timeout.as_deref(), Duration::from_mins(1));
        let expected = Expected::new(config.expect_status.as_ref(), "/expect_status", &mut findings);
        let outputs = outputs(config, &mut findings);
        let save_to = config.save_to.as_deref().and_then(|path| relative(path, "/save_to", &mut findings));
        let Some(url) = url else { return Err(findings.0) };
        findings.none_or(Self {
            url,
            method,
            headers,
            auth: config.auth.clone(),
            body,
            expected,
            redirects: config.redirects.unwrap_or(REDIRECTS),
            retry,
            timeout,
            save_to,
            outputs,
        })
    }
}

fn relative(path: &str, pointer: &str, findings: &mut Findings) -> Option<String> {
    files::relative(path).map_err(|why| findings.add(pointer, why)).ok()
}

fn is_method(method: &str) -> bool {
    (1..=32).contains(&method.len())
        && method != "CONNECT"
        && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// The body, and the content type that goes with it.
fn body(config: &Config, findings: &mut Findings) -> (Body, Option<&'static str>) {
    let Config { body, json, form, file, .. } = config;
    let given = [
        ("/body", body.is_some()),
        ("/json", json.is_some()),
        ("/form", form.is_some()),
        ("/file", file.is_some()),
    ];
    for (pointer, _) in given.iter().filter(|(_, given)| *given).skip(1) {
        findings.add(*pointer, "a request has one body: give one of `body`, `json`, `form` and `file`");
    }
    if let Some(json) = json {
        return (Body::Bytes(json.to_string().into_bytes()), Some("application/json"));
    }
    if let Some(form) = form {
        let encoded = form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let text = encoded.collect::<Vec<_>>().join("&");
        return (Body::Bytes(text.into_bytes()), Some("application/x-www-form-urlencoded"));
    }
    if let Some(file) = file {
        let path = relative(file, "/file", findings).unwrap_or_default();
        return (Body::File(path), Some("application/octet-stream"));
    }
    (body.as_ref().map_or(Body::None, |body| Body::Bytes(body.clone().into_bytes())), None)
}

/// As forms are encoded (WHATWG URL, `application/x-www-form-urlencoded`).
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'*' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn headers(
    config: &Config,
    content_type: Option<&'static str>,
    findings: &mut Findings,
) -> Vec<(String, Header)> {
    let mut headers: Vec<_> = config.headers.clone().into_iter().collect();
    for (name, value) in &headers {
        let pointer = field("/headers", name);
        let value = match value {
            Header::Text(text) => text,
            Header::Secret(secret) => &secret.prefix,
        };
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            findings.add(pointer, format!("{name:?} is not a header's name"));
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            findings.add(pointer, format!("the header `{name}` is set by the client and cannot be given"));
        } else if config.auth.is_some() && name.eq_ignore_ascii_case("authorization") {
            findings.add(pointer, "`auth` sets this header: give one of the two");
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            findings.add(pointer, "a header's value must be one line without control characters");
        }
    }
    let has_type = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if let (Some(content_type), false) = (content_type, has_type) {
        headers.push(("content-type".to_owned(), Header::Text(content_type.to_owned())));
    }
    headers
}

fn outputs(config: &Config, findings: &mut Findings) -> Vec<(String, Take)> {
    let mut outputs = Vec::new();
    for (name, text) in &config.outputs {
        let pointer = field("/outputs", name);
        match Take::parse(text) {
            Ok(take) if name == "status" && take != Take::Status => {
                findings.add(pointer, "the output `status` is always the status: choose another name");
            }
            Ok(take) => outputs.push((name.clone(), take)),
            Err(why) => findings.add(pointer, why),
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        dcd_plugin_sdk::parse(json).unwrap_or_default()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_where() {
        let config = config(
            r#"{"url": "example.com", "method": "get", "body": "a", "json": 1, "retry_delay": "5", "timeout": "0s",
                "headers": {"a b": "x", "Host": "y", "ok": "l\nm", "authorization": {"secret": "T"}},
                "auth": {"bearer": "T"}, "expect_status": [200, "20x", 7], "backoff": 0, "save_to": "../x",
                "outputs": {"id": "id", "a/b": "/x~", "status": "body"}}"#,
        );
        let pointers: Vec<_> =
            Plan::new(&config).err().unwrap_or_default().into_iter().map(|d| d.pointer).collect();
        assert_eq!(
            pointers,
            [
                "/json",
                "/method",
                "/url",
                "/headers/Host",
                "/headers/a b",
                "/headers/authorization",
                "/headers/ok",
                "/retry_delay",
                "/backoff",
                "/timeout",
                "/expect_status/1",
                "/expect_status/2",
                "/outputs/a~1b",
                "/outputs/id",
                "/outputs/status",
                "/save_to",
            ]
        );
    }

    #[test]
    fn a_body_makes_it_a_post_and_has_a_type() {
        let plan = |json| {
            let plan = Plan::new(&config(json)).map_err(|_| ())?;
            Ok::<_, ()>((plan.method, plan.headers.first().map(|(_, value)| value.clone()), plan.body))
        };
        let typed = |text: &str| Some(Header::Text(text.to_owned()));
        assert_eq!(plan(r#"{"url": "http://a"}"#), Ok(("GET".into(), None, Body::None)));
        let wanted = ("POST".into(), typed("application/json"), Body::Bytes(b"{}".into()));
        assert_eq!(plan(r#"{"url": "http://a", "json": {}}"#), Ok(wanted));
        let wanted = ("PUT".into(), None, Body::Bytes(Vec::new()));
        assert_eq!(plan(r#"{"url": "http://a", "body": "", "method": "PUT"}"#), Ok(wanted));
        let form = Body::Bytes(b"a+b=%C3%A4%26&c=1".into());
        let wanted = ("POST".into(), typed("application/x-www-form-urlencoded"), form);
        assert_eq!(plan(r#"{"url": "http://a", "form": {"a b": "ä&", "c": "1"}}"#), Ok(wanted));
        let with = r#"{"url": "http://a", "file": "./x.bin", "headers": {"Content-Type": "image/png"}}"#;
        assert_eq!(plan(with), Ok(("POST".into(), typed("image/png"), Body::File("x.bin".into()))));
    }

    #[test]
    fn auth_names_its_fields() {
        for wrong in [r#"{"bearer": "A", "user": "b"}"#, r#"{"user": "a"}"#, r#""A""#] {
            let json = format!(r#"{{"url": "http://a", "auth": {wrong}}}"#);
            assert!(dcd_plugin_sdk::parse::<Config>(&json).is_err(), "{wrong}");
        }
    }
}
