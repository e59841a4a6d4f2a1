//! What a pipeline says, understood.

use std::time::Duration;

use dcd_plugin_sdk::Diagnostic;
use dcd_plugin_sdk::http::Url;
use shared::status::Expected;
use shared::{Findings, text};

use crate::config::Config;

/// What to wait for, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) target: Target,
    pub(crate) expected: Expected,
    pub(crate) contains: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) attempt_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The host is a name or an address without brackets.
    Tcp {
        host: String,
        port: u16,
    },
    Http(Url),
}

impl Plan {
    /// Understands a configuration, or says everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let target = target(config, &mut findings);
        for (pointer, given) in
            [("/status", config.status.is_some()), ("/contains", config.contains.is_some())]
        {
            if given && config.url.is_none() {
                findings.add(pointer, "only the answer of a `url` has it");
            }
        }
        let expected = Expected::new(config.status.as_ref(), "/status", &mut findings);
        let timeout = findings.time("/timeout", config.timeout.as_deref(), Duration::from_mins(1));
        let interval = findings.duration("/interval", config.interval.as_deref(), Duration::from_secs(1));
        let attempt = config.attempt_timeout.as_deref();
        let attempt_timeout = findings.time("/attempt_timeout", attempt, Duration::from_secs(5));
        let Some(target) = target else { return Err(findings.0) };
        let contains = config.contains.clone();
        findings.none_or(Self { target, expected, contains, timeout, interval, attempt_timeout })
    }

    /// What is waited for, to be printed.
    pub(crate) fn label(&self) -> String {
        match &self.target {
            Target::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Target::Tcp { host, port } => format!("{host}:{port}"),
            Target::Http(url) => text::label("GET", url),
        }
    }
}

fn target(config: &Config, findings: &mut Findings) -> Option<Target> {
    match (&config.tcp, &config.url) {
        (Some(tcp), None) => host_and_port(tcp).map_err(|why| findings.add("/tcp", why)).ok(),
        (None, Some(url)) => {
            let url = Url::parse(url).map_err(|error| findings.add("/url", error.message()));
            url.ok().map(Target::Http)
        }
        (Some(_), Some(_)) => {
            findings.add("/url", "wait for `tcp` or for `url`: the other can be a step of its own");
            None
        }
        (None, None) => {
            findings.add("", "say what to wait for: `tcp` or `url`");
            None
        }
    }
}

fn host_and_port(text: &str) -> Result<Target, String> {
    let wrong = || format!("{text:?} is not a host and port: write it like \"db.internal:5432\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let host = match inner {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        None if !host.is_empty() && is_name(host) => host,
        _ => return Err(wrong()),
    };
    Ok(Target::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(json: &str) -> Vec<String> {
        let config = dcd_plugin_sdk::parse::<Config>(json).unwrap_or_default();
        Plan::new(&config).err().unwrap_or_default().into_iter().map(|finding| finding.pointer).collect()
    }

    #[test]
    fn one_thing_is_waited_for() {
        assert_eq!(pointers(r#"{"tcp": "a:1"}"#), Vec::<String>::new());
        assert_eq!(pointers("{}"), [""]);
        assert_eq!(pointers(r#"{"tcp": "a:1", "url": "http://a"}"#), ["/url"]);
        let wrong = r#"{"tcp": "a", "contains": "x", "status": "20x", "timeout": "0s", "interval": "1"}"#;
        assert_eq!(pointers(wrong), ["/tcp", "/status", "/contains", "/status", "/timeout", "/interval"]);
    }

    #[test]
    fn hosts_have_ports() {
        let tcp = |host: &str, port| Ok(Target::Tcp { host: host.into(), port });
        assert_eq!(host_and_port("db.internal:5432"), tcp("db.internal", 5432));
        assert_eq!(host_and_port("[::1]:80"), tcp("::1", 80));
        for wrong in ["db", ":80", "db:0", "db:65536", "::1:80", "[db]:80", "a b:1", "http://a:80"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
