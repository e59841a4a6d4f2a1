//! Sending.

use std::time::Duration;

use dcd_plugin_sdk::serde_json::{self, Value};
use dcd_plugin_sdk::{Error, Fault, http};

use crate::config::Target;
use crate::wire::{self, Span};

/// How long to wait before each further try.
const AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// Sends the spans, if need be several times.
pub(crate) fn send(target: &Target, spans: &[Span]) -> Result<(), Error> {
    let body = wire::request(&target.resource, spans);
    let mut waits = AGAIN.iter();
    loop {
        match (once(target, &body), waits.next()) {
            (Err(Error::Unavailable(_)), Some(wait)) => std::thread::sleep(*wait),
            (done, _) => return done,
        }
    }
}

fn once(target: &Target, body: &Value) -> Result<(), Error> {
    let request = target
        .headers
        .iter()
        .fold(http::Request::post(&target.url), |request, (name, value)| request.header(name, value));
    let answer = request.json(body)?.send()?;
    let said = String::from_utf8_lossy(answer.bytes()).into_owned();
    match answer.status() {
        200..=299 => partial(&said),
        // Those that the protocol says are worth another try.
        status @ (429 | 502 | 503 | 504) => {
            Err(Error::unavailable(format!("the collector answered {status}")))
        }
        status @ (401 | 403) => Err(Error::Denied(
            Fault::new(format!("the collector answered {status}"))
                .help("check the token in `secret_headers` or OTEL_EXPORTER_OTLP_HEADERS"),
        )),
        status => Err(Error::Other(
            Fault::new(format!(
                "the collector answered {status}: {}",
                said.chars().take(200).collect::<String>()
            ))
            .help("check that `endpoint` is one of OTLP over HTTP, usually port 4318"),
        )),
    }
}

/// A collector may take some spans and refuse others.
fn partial(said: &str) -> Result<(), Error> {
    let answer: Value = serde_json::from_str(said).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = match &partial["rejectedSpans"] {
        Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    };
    if rejected == 0 {
        return Ok(());
    }
    let why = partial["errorMessage"].as_str().unwrap_or("it does not say why");
    Err(Error::Other(Fault::new(format!("the collector refused {rejected} spans: {why}"))))
}
