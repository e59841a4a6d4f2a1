//! Natively, with a collector that is a closure; what it gets is read as collectors read it.

use std::cell::RefCell;
use std::rc::Rc;

use dcd_plugin_sdk::observer::{BuildInfo, Event, Payload};
use dcd_plugin_sdk::serde_json::{Value, json};
use dcd_plugin_sdk::{BuildObserver, Error, http, mock, serde_json};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};

use crate::Otlp;
use crate::config::{Config, Target};

fn event(seq: u64, kind: &str, step: Option<&str>, payload: &Value) -> Event {
    Event {
        seq,
        at: 1_000 + seq,
        kind: kind.into(),
        step: step.map(Into::into),
        payload: Payload::Json(payload.to_string()),
        hash: Vec::new(),
    }
}

fn build() -> BuildInfo {
    serde_json::from_value(json!({
        "id": "01a203e2-7a61-7000-8000-000000000001",
        "component": "shop",
        "pipeline": "release",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "parent_span_id": "1111111111111111",
        "trace_state": "vendor=1",
        "something_new": 1,
    }))
    .unwrap()
}

fn story() -> Vec<Event> {
    vec![
        event(0, "build.started", None, &json!({ "steps": [{ "name": "test", "type": "shell" }] })),
        event(1, "build.numbered", None, &json!({ "number": 7, "by": "journal" })),
        event(
            2,
            "build.facts",
            None,
            &json!({ "git": { "commit": "abc", "branch": { "absent": "detached" } } }),
        ),
        event(3, "attempt.started", Some("test"), &json!({ "attempt": 1 })),
        event(
            4,
            "attempt.finished",
            Some("test"),
            &json!({ "attempt": 1, "outcome": "failure", "exit_code": 3 }),
        ),
        event(5, "attempt.started", Some("test"), &json!({ "attempt": 2 })),
        event(
            6,
            "attempt.finished",
            Some("test"),
            &json!({ "attempt": 2, "outcome": "success", "exit_code": 0 }),
        ),
        event(7, "something.new", None, &json!({})),
        event(8, "build.finished", None, &json!({ "outcome": "success" })),
    ]
}

/// What the collector got, with the answers it gave.
fn sent(
    answers: impl IntoIterator<Item = u16, IntoIter: 'static>,
    events: Vec<Event>,
) -> (Vec<Span>, Result<(), Error>) {
    let got = Rc::new(RefCell::new(Vec::new()));
    let (collector, mut answers) = (got.clone(), answers.into_iter());
    mock::on_http(move |request| {
        let read: ExportTraceServiceRequest = serde_json::from_slice(request.body_bytes()).unwrap();
        let status = answers.next().unwrap_or(200);
        if status == 200 {
            let spans = read.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            collector.borrow_mut().extend(spans.flat_map(|scope| scope.spans));
        }
        Ok(http::Response::new(status))
    });
    let observer = Otlp::open(Config::default(), build()).unwrap();
    let ended = observer.observe(events).and_then(|()| observer.close());
    (got.take(), ended)
}

fn text(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?;
    serde_json::to_value(value).ok()?["stringValue"].as_str().map(str::to_owned)
}

#[test]
fn a_build_is_a_trace() {
    let (spans, ended) = sent([], story());
    assert!(ended.is_ok());
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["test", "test", "BUILD release"]);
    let [first, second, whole] = &spans[..] else { panic!("{spans:?}") };
    let hex = |bytes: &[u8]| {
        let number = |byte: &u8| format!("{byte:02x}");
        bytes.iter().map(number).collect::<Vec<_>>().concat()
    };
    assert_eq!(hex(&whole.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(
        (hex(&whole.span_id), hex(&whole.parent_span_id)),
        ("00f067aa0ba902b7".into(), "1".repeat(16))
    );
    assert_eq!(whole.kind(), SpanKind::Server);
    assert_eq!(whole.trace_state, "vendor=1");
    assert_eq!((whole.start_time_unix_nano, whole.end_time_unix_nano), (1_000_000_000, 1_008_000_000));
    assert_eq!(text(whole, "cicd.pipeline.result").as_deref(), Some("success"));
    assert_eq!(text(whole, "vcs.ref.head.revision").as_deref(), Some("abc"));
    assert_eq!(text(whole, "vcs.ref.head.name"), None, "it is not known");
    assert_eq!(hex(&first.span_id), build().attempt_span("test", 1));
    assert_eq!(first.parent_span_id, whole.span_id);
    assert_ne!(first.span_id, second.span_id);
    assert_eq!(first.status.as_ref().map(Status::code), Some(StatusCode::Error));
    assert_eq!(text(first, "error.type").as_deref(), Some("failure"));
    assert_eq!(second.status.as_ref().map(Status::code), Some(StatusCode::Unset));
}

#[test]
fn what_a_collector_could_not_take_is_sent_again() {
    let (spans, ended) = sent([503, 503, 200], story());
    assert!(ended.is_ok());
    assert_eq!(spans.len(), 3);
}

#[test]
fn what_a_collector_refuses_is_said() {
    let (spans, ended) = sent([401], story());
    assert!(spans.is_empty());
    assert!(matches!(ended, Err(Error::Denied(fault)) if fault.message == "the collector answered 401"));
}

#[test]
fn settings_come_from_the_file_then_from_the_variables() {
    let target = |config: Value, variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let config = serde_json::from_value(config).unwrap();
        Target::new(config, "shop", &variable, &|name| Ok(format!("value of {name}"))).unwrap()
    };
    let none = target(json!({}), &[]);
    assert_eq!(none.url, "http://localhost:4318/v1/traces");
    assert_eq!(none.resource["service.name"], "shop");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a.example/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,y=1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=red"),
        ("OTEL_SERVICE_NAME", "from-variable"),
    ];
    let by_variables = target(json!({}), &variables);
    assert_eq!(by_variables.url, "https://a.example/v1/traces");
    assert_eq!(by_variables.headers, [("x-key".into(), "a b".into()), ("y".into(), "1".into())]);
    assert_eq!(by_variables.resource["team"], "red");
    assert_eq!(by_variables.resource["service.name"], "from-variable");
    let file =
        json!({ "endpoint": "https://b.example", "secret_headers": { "y": "T" }, "service_name": "s" });
    let by_file = target(file, &variables);
    assert_eq!(by_file.url, "https://b.example/v1/traces");
    assert_eq!(by_file.headers[1], ("y".into(), "value of T".into()));
    assert_eq!(by_file.resource["service.name"], "s");
    let traces = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.example/x")];
    assert_eq!(target(json!({}), &traces).url, "https://c.example/x");
}
