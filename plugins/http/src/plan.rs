//! What a pipeline says, understood: every text is parsed here and nowhere else.

use std::time::Duration;

use dcd_plugin_sdk::Diagnostic;
use dcd_plugin_sdk::http::{self, Request, Url};

use crate::config::{Config, Expect, Status};
use crate::duration;
use crate::take::Take;

/// Headers that belong to the connection, which is the client's.
const RESERVED: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];

/// What to send, and what to make of the answer.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) request: Request,
    /// The method and the URL without its query's values, to be printed.
    pub(crate) label: String,
    pub(crate) expected: Vec<Status>,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) timeout: Duration,
    pub(crate) outputs: Vec<(String, Take)>,
}

impl Plan {
    /// Understands a configuration, or says everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let has_body = config.body.is_some() || config.json.is_some();
        let method =
            config.method.clone().unwrap_or_else(|| if has_body { "POST" } else { "GET" }.to_owned());
        if !is_method(&method) {
            findings
                .add("/method", format!("{method:?} is not a method: write it in capitals, such as \"PUT\""));
        }
        if config.body.is_some() && config.json.is_some() {
            findings.add("/json", "a request has one body: give either `body` or `json`");
        }
        let label = match Url::parse(&config.url) {
            Ok(url) => label(&method, &url),
            Err(error) => {
                findings.add("/url", error.message());
                String::new()
            }
        };
        check_headers(config, &mut findings);
        let retry_delay = findings.duration("/retry_delay", config.retry_delay.as_deref(), 1);
        let timeout = findings.duration("/timeout", config.timeout.as_deref(), 60);
        if timeout.is_zero() {
            findings.add("/timeout", "an attempt needs more time than none");
        }
        let expected = expected(config, &mut findings);
        let outputs = outputs(config, &mut findings);
        let request = match request(config, method) {
            Ok(request) if findings.0.is_empty() => request,
            Ok(_) => return Err(findings.0),
            Err(error) => {
                findings.add("/json", error.message());
                return Err(findings.0);
            }
        };
        Ok(Self { request, label, expected, retries: config.retries, retry_delay, timeout, outputs })
    }

    pub(crate) fn expects(&self, status: u16) -> bool {
        self.expected.iter().any(|expected| match expected {
            Status::Code(code) => *code == status,
            Status::Class(class) => status / 100 == class_number(class),
        })
    }

    /// What is expected, in words.
    pub(crate) fn expectation(&self) -> String {
        let one = |status: &Status| match status {
            Status::Code(code) => code.to_string(),
            Status::Class(class) => class.clone(),
        };
        self.expected.iter().map(one).collect::<Vec<_>>().join(" or ")
    }
}

#[derive(Default)]
struct Findings(Vec<Diagnostic>);

impl Findings {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Diagnostic::new(pointer, message));
    }

    fn duration(&mut self, pointer: &str, text: Option<&str>, default_seconds: u64) -> Duration {
        let default = Duration::from_secs(default_seconds);
        text.map_or(Ok(default), duration::parse).unwrap_or_else(|why| {
            self.add(pointer, why);
            default
        })
    }
}

fn is_method(method: &str) -> bool {
    (1..=32).contains(&method.len())
        && method != "CONNECT"
        && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// The names of the query's fields help to find a mistake; their values may be tokens.
fn label(method: &str, url: &Url) -> String {
    let query = url.query().map_or(String::new(), |query| {
        let hide = |field: &str| match field.split_once('=') {
            Some((name, _)) => format!("{name}=..."),
            // Without a name all of it may be a token.
            None => "...".to_owned(),
        };
        format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
    });
    format!("{method} {}{}{query}", url.origin(), url.path())
}

fn check_headers(config: &Config, findings: &mut Findings) {
    for (name, value) in &config.headers {
        let pointer = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            findings.add(pointer, format!("{name:?} is not a header's name"));
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            findings.add(pointer, format!("the header `{name}` is set by the client and cannot be given"));
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            findings.add(pointer, "a header's value must be one line without control characters");
        }
    }
}

fn expected(config: &Config, findings: &mut Findings) -> Vec<Status> {
    let (expected, is_list) = match &config.expect_status {
        None => (vec![Status::Class("2xx".into())], false),
        Some(Expect::One(status)) => (vec![status.clone()], false),
        Some(Expect::AnyOf(list)) => (list.clone(), true),
    };
    if expected.is_empty() {
        findings.add("/expect_status", "an empty list lets nothing succeed");
    }
    for (index, status) in expected.iter().enumerate() {
        let wrong = match status {
            Status::Code(code) if (100..600).contains(code) => continue,
            Status::Class(class) if class_number(class) > 0 => continue,
            Status::Code(code) => code.to_string(),
            Status::Class(class) => format!("{class:?}"),
        };
        let pointer = if is_list { format!("/expect_status/{index}") } else { "/expect_status".into() };
        findings.add(
            pointer,
            format!("{wrong} is not a status: use a number from 100 to 599 or a class like \"2xx\""),
        );
    }
    expected
}

/// 2 for `2xx`; 0 for what is no class.
fn class_number(class: &str) -> u16 {
    match class.as_bytes() {
        [digit @ b'1'..=b'5', b'x', b'x'] => u16::from(digit - b'0'),
        _ => 0,
    }
}

fn outputs(config: &Config, findings: &mut Findings) -> Vec<(String, Take)> {
    let mut outputs = Vec::new();
    for (name, text) in &config.outputs {
        let pointer = format!("/outputs/{}", name.replace('~', "~0").replace('/', "~1"));
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

fn request(config: &Config, method: String) -> Result<Request, http::Error> {
    let mut request = Request::new(method, config.url.clone());
    for (name, value) in &config.headers {
        request = request.header(name, value);
    }
    match (&config.json, &config.body) {
        (Some(json), _) => request.json(json),
        (None, Some(body)) => Ok(request.body(body.clone())),
        (None, None) => Ok(request),
    }
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
                "headers": {"a b": "x", "Host": "y", "ok": "l\nm"}, "expect_status": [200, "20x", 7],
                "outputs": {"id": "id", "a/b": "/x~", "status": "body"}}"#,
        );
        let pointers: Vec<_> =
            Plan::new(&config).err().unwrap_or_default().into_iter().map(|d| d.pointer).collect();
        assert_eq!(
            pointers,
            [
                "/method",
                "/json",
                "/url",
                "/headers/Host",
                "/headers/a b",
                "/headers/ok",
                "/retry_delay",
                "/timeout",
                "/expect_status/1",
                "/expect_status/2",
                "/outputs/a~1b",
                "/outputs/id",
                "/outputs/status",
            ]
        );
    }

    #[test]
    fn a_body_makes_it_a_post() {
        let method = |json| Plan::new(&config(json)).map(|plan| plan.request.method().to_owned());
        assert_eq!(method(r#"{"url": "http://a"}"#), Ok("GET".into()));
        assert_eq!(method(r#"{"url": "http://a", "json": {}}"#), Ok("POST".into()));
        assert_eq!(method(r#"{"url": "http://a", "body": "", "method": "PUT"}"#), Ok("PUT".into()));
    }

    #[test]
    fn the_label_hides_the_query() {
        let label =
            Plan::new(&config(r#"{"url": "https://a/b?token=s3cr3t&s3cr3t"}"#)).map(|plan| plan.label);
        assert_eq!(label, Ok("GET https://a/b?token=...&...".into()));
    }

    #[test]
    fn statuses_are_expected_by_number_and_class() {
        let plan = Plan::new(&config(r#"{"url": "http://a", "expect_status": [404, "2xx"]}"#));
        assert!(plan.as_ref().is_ok_and(|p| p.expects(404) && p.expects(299) && !p.expects(304)));
        assert_eq!(plan.map(|plan| plan.expectation()), Ok("404 or 2xx".into()));
    }
}
