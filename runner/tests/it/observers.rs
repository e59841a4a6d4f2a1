//! Plugins that follow builds.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server};

fn observed(mut with: Value) -> Project {
    let project = Project::new();
    let workspace = project.path().display().to_string();
    if let Some(file) = with["file"].as_str() {
        with["file"] = json!(format!("{workspace}/{file}"));
    }
    project.granted("fixture-observer", &json!({ "fs": [{ "path": workspace, "access": "rw" }] })).pipeline(json!({
        "name": "release",
        "component": "shop",
        "observers": [{ "uses": "fixture-observer", "with": with }],
        "secrets": { "TOKEN": { "env": "TOKEN" } },
        "steps": [
            { "name": "a", "run": "echo \"$TOKEN and TRACEPARENT=${TRACEPARENT:-none}\"", "secrets": ["TOKEN"] },
            { "name": "b", "run": "echo \"x=$X\" >>\"$DCD_OUTPUT\"", "env": { "X": "1" } },
        ],
    }))
    .env("TOKEN", "s3cr3t-value")
}

#[test]
fn an_observer_is_told_of_all_but_the_output() {
    let project = observed(json!({ "file": "told.txt" }));
    let output = project.run(&["run"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let told = fs::read_to_string(project.path().join("told.txt")).unwrap();
    let kinds: Vec<_> =
        told.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    let kinds: Vec<_> = kinds.iter().map(|line| line.trim_end()).collect();
    let [first, middle @ .., last] = &kinds[..] else { panic!("{told}") };
    assert_eq!((*first, *last), ("open shop release", "close"));
    insta::assert_snapshot!(middle.join("\n"), @r#"
    0 build.started
    1 build.numbered
    2 build.facts
    3 attempt.started a
    5 attempt.finished a
    6 step.finished a
    7 attempt.started b
    8 attempt.finished b
    9 step.finished b
    10 build.finished
    "#);
    assert!(!told.contains("s3cr3t"), "{told}");
    let id = project.show("1")["id"].as_str().unwrap().replace('-', "");
    assert!(told.starts_with(&format!("open shop release {id}\n")), "the trace is the build's own: {told}");
}

#[test]
fn no_misdeed_harms_the_build() {
    let warning = |at: &str, misdeed: &str| {
        let project = observed(json!({ "at": at, "misdeed": misdeed }));
        let output = project.run(&["run"]);
        output.expect(0);
        assert_eq!(project.show("1")["outcome"], "success");
        output.err
    };
    let cases =
        [("open", "fail"), ("observe", "fail"), ("close", "fail"), ("open", "panic"), ("observe", "panic")];
    let said: Vec<_> = cases.iter().map(|(at, misdeed)| warning(at, misdeed)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    warning: observer plugin fixture-observer: the fixture fails in open, as it was told

    warning: observer plugin fixture-observer: the fixture fails in observe, as it was told

    warning: observer plugin fixture-observer: the fixture fails in close, as it was told

    warning: observer plugin fixture-observer failed in `open`: it panicked: the fixture panics in open, as it was told (at fixture-observer/src/lib.rs:41)
    help: report it to the plugin's author

    warning: observer plugin fixture-observer failed in `observe`: it panicked: the fixture panics in observe, as it was told (at fixture-observer/src/lib.rs:41)
    help: report it to the plugin's author
    "#);
}

#[test]
fn a_slow_observer_is_not_waited_for() {
    let project = observed(json!({ "at": "close", "misdeed": "sleep" }));
    let started = Instant::now();
    let output = project.run(&["run"]);
    output.expect(0);
    assert!(started.elapsed().as_secs() < 60, "it took {:?}", started.elapsed());
    insta::assert_snapshot!(output.err, @"warning: observer fixture-observer was still at work [TOOK] after the build's end");
}

#[test]
fn a_wrong_config_is_found_before_the_build() {
    let project = observed(json!({ "at": "never" }));
    let output = project.run(&["run"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r#"
     x `at` of plugin fixture-observer: there is no call `never`
      ,-[dcd.json:8:15]
    7 |       "with": {
    8 |         "at": "never"
      :               ^^^^^^^
    9 |       }
      `----
    "#);
    assert!(project.journals().is_empty());
}

#[test]
fn a_build_is_a_trace_that_goes_on_in_its_steps() {
    let server = Server::start([Answer::new("200 OK", "{}"), Answer::new("200 OK", "{}")]);
    let origin = server.origin();
    let project = Project::new()
        .granted("otlp", &json!({ "http": [origin], "env": ["OTEL_*"], "secrets": ["OTEL_TOKEN"] }))
        .pipeline(json!({
            "name": "release",
            "component": "shop",
            "observers": [{ "uses": "otlp", "with": { "secret_headers": { "authorization": "OTEL_TOKEN" } } }],
            "secrets": { "OTEL_TOKEN": { "env": "OTEL_TOKEN" } },
            "steps": [{ "name": "say", "run": "echo \"$TRACEPARENT\"" }],
        }))
        .env("OTEL_TOKEN", "s3cr3t-value")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &origin)
        .env("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let output = project.run(&["run"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let printed = String::from_utf8(project.logs(&["1", "say"])).unwrap();
    let handed: Vec<_> = printed.trim().split('-').collect();

    let requests = server.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /v1/traces "), "{request}");
    assert!(request.contains("authorization: s3cr3t-value"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    let spans = sent["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (step, build) = (named("say"), named("BUILD release"));
    assert_eq!(build["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(build["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(step["parentSpanId"], build["spanId"]);
    assert_eq!(handed, ["00", step["traceId"].as_str().unwrap(), step["spanId"].as_str().unwrap(), "01"]);
}

#[test]
fn without_an_observer_the_trace_is_handed_on_as_it_is() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let project = Project::new().scripts(&["echo \"$TRACEPARENT\""]).env("TRACEPARENT", parent);
    project.run(&["run"]).expect(0);
    assert_eq!(String::from_utf8(project.logs(&["1"])).unwrap().trim(), parent);
}
