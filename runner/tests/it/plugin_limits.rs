//! Limits of plugins: each ends the step that runs into it, says which it was and what raises it, and nothing else
//! ends.

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server};

/// A plugin's step beside others.
fn step(name: &str, with: &Value) -> Value {
    json!({ "name": name, "uses": "fixture", "with": with, "needs": [], "continue_on_error": true })
}

fn problem(build: &Value, name: &str) -> String {
    let step = build["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap();
    assert_eq!(step["outcome"], "error", "{step}");
    let problem = &step["attempts"][0]["problem"];
    let text =
        format!("{}\nhelp: {}", problem["message"].as_str().unwrap(), problem["help"].as_str().unwrap());
    // Where the servers are differs from run to run.
    let words = text.split(' ').map(|word| match word.rsplit_once("127.0.0.1:") {
        Some((before, _)) => format!("{before}127.0.0.1:PORT"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn each_limit_ends_its_step_only() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = Server::start([Answer::new("200 OK", &"x".repeat(2000)), Answer::new("200 OK", "short")]);
    let other = Server::start([Answer::new("200 OK", "never")]);
    let allow = json!({ "tcp": [to], "http": [server.origin(), other.origin()] });
    let limits = json!({ "memory": "64MiB", "call_timeout": "2s", "connections": 2, "http_body": "1KiB" });
    let project = Project::new().limited("fixture", &allow, &limits).pipeline(json!({ "steps": [
        step("memory", &json!({ "do": "use", "bytes": 100_000_000 })),
        step("less memory", &json!({ "do": "use", "bytes": 10_000_000 })),
        step("loop", &json!({ "do": "loop" })),
        step("sleep", &json!({ "do": "sleep", "ms": 3_600_000 })),
        step("flood", &json!({ "do": "flood" })),
        step("connections", &json!({ "do": "connect", "to": to, "connections": 3 })),
        step("answer", &json!({ "do": "get", "url": server.origin() })),
        step("request", &json!({ "do": "post", "url": other.origin(), "bytes": 2000 })),
        { "name": "shell", "run": "for i in 1 2 3; do echo $i; sleep 0.1; done", "needs": [] },
        { "name": "after", "uses": "fixture", "with": { "do": "get", "url": server.origin() } },
    ] }));
    project.run(&["run", "--jobs", "9"]).expect(0);
    let build = project.show("1");
    let succeeded = |name: &str| {
        let steps = build["steps"].as_array().unwrap();
        steps.iter().any(|step| step["name"] == name && step["outcome"] == "success")
    };
    assert!(succeeded("less memory") && succeeded("shell") && succeeded("after"), "{build}");
    assert_eq!(project.logs(&["1", "shell"]), b"1\n2\n3\n");
    insta::assert_snapshot!(problem(&build, "memory"), @r#"
    plugin fixture failed in `run`: it used more than its limit of 64MiB of memory
    help: if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"memory": "128MiB"}}}
    "#);
    insta::assert_snapshot!(problem(&build, "loop"), @r#"
    plugin fixture was stopped: `run` took longer than its limit of 2.0s
    help: if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"call_timeout": "4s"}}}
    "#);
    assert_eq!(problem(&build, "loop"), problem(&build, "sleep"));
    assert_eq!(problem(&build, "loop"), problem(&build, "flood"));
    insta::assert_snapshot!(problem(&build, "connections"), @r#"
    plugin fixture: No file descriptors available (os error 33)
    help: plugin fixture has 2 connections open, which is its limit; if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"connections": 4}}}
    "#);
    insta::assert_snapshot!(problem(&build, "answer"), @r#"
    plugin fixture: http://127.0.0.1:PORT broke off its answer (http/unreachable)
    help: plugin fixture: an answer's body has more than its limit of 1KiB; if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"http_body": "2KiB"}}}
    "#);
    insta::assert_snapshot!(problem(&build, "request"), @r#"
    plugin fixture: the request to http://127.0.0.1:PORT failed: ErrorCode::HttpRequestBodySize(Some(1024)) (http/protocol)
    help: plugin fixture: a request's body has more than its limit of 1KiB; if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"http_body": "2KiB"}}}
    "#);
}

#[test]
fn what_is_too_big_or_too_deep_ends_its_step_only() {
    let project = Project::new().limited("fixture", &json!({}), &json!({ "memory": "1GiB" }));
    let mut twice = step("twice", &json!({ "do": "trap" }));
    twice["retry"] = json!({ "attempts": 2, "on": ["error"] });
    let project = project.pipeline(json!({ "steps": [
        step("long", &json!({ "do": "long_output", "bytes": 100 << 20 })),
        step("over", &json!({ "do": "long_output", "bytes": 5 << 20 })),
        step("recurse", &json!({ "do": "recurse" })),
        step("recurse deep", &json!({ "do": "recurse_deep" })),
        twice,
        { "name": "shell", "run": "echo still here", "needs": [] },
        { "name": "after", "uses": "fixture", "with": { "do": "echo", "text": "still here" } },
    ] }));
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    let steps = build["steps"].as_array().unwrap();
    assert_eq!((&steps[5]["outcome"], &steps[6]["outcome"]), (&json!("success"), &json!("success")));
    assert_eq!(steps[4]["attempts"].as_array().unwrap().len(), 2, "each attempt has an instance of its own");
    assert_eq!(steps[4]["attempts"][0]["problem"], steps[4]["attempts"][1]["problem"]);
    insta::assert_snapshot!(problem(&build, "long"), @"
    plugin fixture failed in `run`: it handed over more than its limit of 64MiB in one call
    help: let it write what is big to a file; the limit is the same for every plugin
    ");
    insta::assert_snapshot!(problem(&build, "over"), @"
    plugin fixture gave outputs of 5242886 bytes, more than its limit of 4194304
    help: report this to the plugin's author
    ");
    insta::assert_snapshot!(problem(&build, "recurse"), @"
    plugin fixture failed in `run`: it reached outside its memory: most likely it used up its stack, as an endless recursion does
    help: report it to the plugin's author
    ");
    insta::assert_snapshot!(problem(&build, "recurse deep"), @"
    plugin fixture failed in `run`: it used more than its limit of stack, as an endless recursion does
    help: report it to the plugin's author
    ");
}

#[test]
fn a_panic_says_what_and_where() {
    let project =
        Project::new().plugin("fixture").pipeline(json!({ "steps": [step("a", &json!({ "do": "panic" }))] }));
    project.run(&["run"]).expect(0);
    let problem = problem(&project.show("1"), "a");
    let said = "plugin fixture failed in `run`: it panicked: the fixture panics, as it was told (at fixture/src/misdeed.rs:";
    assert!(problem.starts_with(said), "{problem}");
}
