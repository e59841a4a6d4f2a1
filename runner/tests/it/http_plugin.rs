//! The `http` step type against a server.

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server};

fn send(server: &Server, mut with: Value, code: i32) -> (Project, String) {
    with["url"] = json!(format!("{}/v1/deploys?token=hidden", server.origin()));
    let project = Project::new().granted("http", &json!({ "http": [server.origin()] }));
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "http", "with": with }] }));
    let run = project.run(&["run"]);
    let out = &run.expect(code).out;
    let said = out[out.find("> a").unwrap()..out.find("\nSee it again").unwrap()].to_owned();
    let said = said.replace(&server.port.to_string(), "PORT");
    // A time with a blank before its unit, as the plugin prints it.
    let cut = |line: &str| {
        line.split_once(" in ").filter(|(_, took)| took.ends_with(" ms")).map(|(line, _)| line.to_owned())
    };
    let said = said.lines().map(|line| cut(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
    (project, said)
}

#[test]
fn json_goes_out_and_comes_back() {
    let server = Server::start([Answer {
        headers: "content-type: application/json\r\netag: \"e\"\r\n",
        ..Answer::new("201 Created", r#"{"id": 7, "items": [{"name": "x"}]}"#)
    }]);
    let with = json!({
        "json": { "text": "build" }, "headers": { "authorization": "Bearer hidden" },
        "outputs": { "id": "/id", "name": "/items/0/name", "tag": "header:ETag" },
    });
    let (project, said) = send(&server, with, 0);
    insta::assert_snapshot!(said, @r#"
    > a
    [TIME] a | POST http://127.0.0.1:PORT/v1/deploys?token=... -> 201 Created
    ok a  [TOOK]
       201 Created
    shop #1: success in [TOOK]
    "#);
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/deploys?token=hidden HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer hidden"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({ "text": "build" }));
    let outputs = &project.show("1")["steps"][0]["outputs"];
    assert_eq!(*outputs, json!({ "status": 201, "id": 7, "name": "x", "tag": "\"e\"" }));
    let kept = project.logs(&["1"]);
    assert!(!String::from_utf8(kept).unwrap().contains("hidden"));
}

#[test]
fn what_passes_is_tried_again() {
    let server = Server::start([
        Answer::new("503 Service Unavailable", ""),
        Answer::new("429 Too Many Requests", ""),
        Answer::new("200 OK", "done"),
    ]);
    let (project, said) = send(&server, json!({ "retries": 2, "retry_delay": "10ms" }), 0);
    insta::assert_snapshot!(said, @r#"
    > a
    [TIME] a | GET http://127.0.0.1:PORT/v1/deploys?token=... -> 503 Service Unavailable
    [TIME] a | GET http://127.0.0.1:PORT/v1/deploys?token=... -> 429 Too Many Requests
    [TIME] a | GET http://127.0.0.1:PORT/v1/deploys?token=... -> 200 OK
    ok a  [TOOK]
       200 OK
    shop #1: success in [TOOK]
    "#);
    assert_eq!(server.requests().len(), 3);
    assert_eq!(project.show("1")["steps"][0]["summary"], "200 OK");
}

#[test]
fn another_status_fails_the_step() {
    let server = Server::start([Answer::new("404 Not Found", "no such\n\u{1b}[31mthing")]);
    let (project, said) = send(&server, json!({}), 1);
    insta::assert_snapshot!(said, @r#"
    > a
    [TIME] a | GET http://127.0.0.1:PORT/v1/deploys?token=... -> 404 Not Found
      GET http://127.0.0.1:PORT/v1/deploys?token=... answered 404 Not Found, but 2xx was expected; the answer: no such [31mthing
    !! a  failure, [TOOK]
    shop #1: failure in [TOOK]: a
    "#);
    assert_eq!(project.show("1")["steps"][0]["outcome"], "failure");
}

#[test]
fn no_answer_is_an_error() {
    // It hangs up once, then it is gone.
    let server = Server::start([]);
    let with = json!({ "retries": 1, "retry_delay": "10ms", "timeout": "5s" });
    let (project, said) = send(&server, with, 3);
    assert_eq!(said.matches("GET http://127.0.0.1:PORT/v1/deploys?token=... -> ").count(), 2, "{said}");
    assert_eq!(project.show("1")["steps"][0]["outcome"], "error");
    let problem =
        project.show("1")["steps"][0]["attempts"][0]["problem"]["message"].as_str().unwrap().to_owned();
    assert!(problem.starts_with("plugin http: no answer in 2 attempts: "), "{problem}");
}

#[test]
fn an_origin_that_is_not_granted_is_named() {
    let project = Project::new().plugin("http");
    let with = json!({ "url": "https://api.example.com/x" });
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "http", "with": with }] }));
    let run = project.run(&["run"]);
    let out = &run.expect(3).out;
    insta::assert_snapshot!(out[out.find("> a").unwrap()..].split(" (").next().unwrap(), @r#"
    > a
    [TIME] a | [error] plugin http wanted to send a request to https://api.example.com, which it is not granted. To allow it: "plugins": {"http": {"allow": {"http": ["https://api.example.com"]}}}
    [TIME] a | GET https://api.example.com/x -> the plugin is not granted to reach https://api.example.com
    "#);
    let problem = &project.show("1")["steps"][0]["attempts"][0]["problem"];
    insta::assert_snapshot!(format!("{problem:#}"), @r#"
    {
      "help": "grant it in the plugin's entry of the pipeline's `plugins` block: \"allow\": {\"http\": [\"https://api.example.com\"]}",
      "message": "plugin http: the plugin is not granted to reach https://api.example.com (http/denied)"
    }
    "#);
}
