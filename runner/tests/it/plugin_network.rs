//! What a plugin may connect to.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::support::{Answer, Output, Project, Server};

/// Answers each line with itself, on as many connections as there are.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut line = String::new();
                while BufReader::new(&stream).read_line(&mut line).is_ok_and(|read| read > 0) {
                    let _ = (&stream).write_all(line.as_bytes());
                    line.clear();
                }
            });
        }
    });
    port
}

fn pipeline(project: Project, steps: &[(&str, Value)]) -> Project {
    let step = |(name, with): &(&str, Value)| json!({ "name": name, "uses": "fixture", "with": with, "continue_on_error": true, "timeout": "20s" });
    let steps: Vec<_> = steps.iter().map(step).collect();
    project.pipeline(json!({ "steps": steps }))
}

fn connect(to: impl std::fmt::Display) -> Value {
    json!({ "do": "connect", "to": to.to_string() })
}

fn get(url: impl std::fmt::Display) -> Value {
    json!({ "do": "get", "url": url.to_string() })
}

/// `NAME OUTCOME` of each step.
fn outcomes(project: &Project) -> Vec<String> {
    let build = project.show("1");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = build["steps"].as_array().unwrap();
    steps.iter().map(|step| format!("{} {}", text(&step["name"]), text(&step["outcome"]))).collect()
}

/// What was said of a step, without its port.
fn said(output: &Output, step: &str, port: u16) -> String {
    let start = output.out.find(&format!("> {step}\n")).unwrap();
    let rest = &output.out[start..];
    let end = rest.find(&format!(" {step}  error")).unwrap_or(rest.len());
    rest[..end].replace(&port.to_string(), "PORT")
}

#[test]
fn connections_go_to_the_address_that_is_granted() {
    let (port, other) = (echo_server(), echo_server());
    let project = Project::new().granted("fixture", &json!({ "tcp": [format!("127.0.0.1:{port}")] }));
    let project = pipeline(
        project,
        &[
            ("granted", connect(format!("127.0.0.1:{port}"))),
            ("port", connect(format!("127.0.0.1:{other}"))),
            ("address", connect(format!("127.0.0.2:{port}"))),
            ("name", connect(format!("localhost:{port}"))),
            ("lookup", json!({ "do": "resolve", "name": "example.com" })),
            ("listen", json!({ "do": "listen" })),
            ("datagram", json!({ "do": "datagram", "to": format!("127.0.0.1:{port}") })),
        ],
    );
    let output = project.run(&["run"]);
    output.expect(0);
    assert_eq!(
        outcomes(&project),
        [
            "granted success",
            "port error",
            "address error",
            "name error",
            "lookup error",
            "listen error",
            "datagram error"
        ]
    );
    let build = project.show("1");
    assert_eq!(build["steps"][0]["outputs"]["answer"], "hello");
    let used = json!({ "plugin": "fixture", "tcp": [format!("127.0.0.1:{port}")] });
    assert_eq!(build["steps"][0]["attempts"][0]["used"], used);
    assert_eq!(build["steps"][1]["attempts"][0]["used"], json!(null));
    let page = project.run(&["history", "show", "1"]).out;
    assert!(page.contains(&format!("used tcp: 127.0.0.1:{port}")), "{page}");
    insta::assert_snapshot!(said(&output, "port", other), @r#"
    > port
      plugin fixture: Permission denied (os error 2)
      help: plugin fixture wanted to connect to 127.0.0.1:PORT, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"tcp": ["127.0.0.1:PORT"]}}}
    !!
    "#);
    insta::assert_snapshot!(said(&output, "name", port), @r#"
    > name
      plugin fixture: Permission denied (os error 2)
      help: plugin fixture wanted to look up localhost, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"tcp": ["localhost:PORT"]}}}
    !!
    "#);
}

#[test]
fn a_name_is_granted_with_its_port() {
    let (port, other) = (echo_server(), echo_server());
    let project = Project::new().granted("fixture", &json!({ "tcp": [format!("localhost:{port}")] }));
    let steps = [
        ("granted", connect(format!("localhost:{port}"))),
        ("port", connect(format!("localhost:{other}"))),
        ("address", connect(format!("127.0.0.1:{port}"))),
    ];
    let project = pipeline(project, &steps);
    project.run(&["run"]).expect(0);
    assert_eq!(outcomes(&project), ["granted success", "port error", "address error"]);
    let used = &project.show("1")["steps"][0]["attempts"][0]["used"];
    assert_eq!(used["tcp"], json!([format!("localhost:{port}")]));
}

#[test]
fn a_granted_name_does_not_lead_inside() {
    let port = echo_server();
    let server = Server::start([Answer::new("200 OK", "never")]);
    let http = server.port;
    let allow = json!({
        "tcp": [format!("inner.example:{port}"), "meta.example:80", "*.wild.example:80"],
        "http": [format!("http://inner.example:{http}"), "http://meta.example", "http://*.wild.example"],
    });
    let project = pipeline(
        Project::new().granted("fixture", &allow),
        &[
            ("tcp loopback", connect(format!("inner.example:{port}"))),
            ("tcp metadata", connect("meta.example:80")),
            ("tcp private", connect("a.wild.example:80")),
            ("http loopback", get(format!("http://inner.example:{http}/"))),
            ("http metadata", get("http://meta.example/latest/meta-data/")),
            ("http private", get("http://a.wild.example/")),
        ],
    );
    let hosts = "127.0.0.1 inner.example\n169.254.169.254 meta.example\n10.9.8.7 a.wild.example\n";
    let Some(output) = project.run_with_hosts(hosts, "run") else { return };
    output.expect(0);
    assert!(outcomes(&project).iter().all(|outcome| outcome.ends_with(" error")), "{:?}", outcomes(&project));
    assert!(server.requests().is_empty());
    for (step, address) in [
        ("tcp loopback", "127.0.0.1: the granted name leads to a loopback or link-local address"),
        ("tcp metadata", "169.254.169.254: the granted name leads to a loopback or link-local address"),
        ("tcp private", "10.9.8.7: the granted name leads to a private address"),
        ("http loopback", "127.0.0.1: the granted name leads to a loopback or link-local address"),
        ("http metadata", "169.254.169.254: the granted name leads to a loopback or link-local address"),
        ("http private", "10.9.8.7: the granted name leads to a private address"),
    ] {
        let said = said(&output, step, port);
        let denial = format!("plugin fixture may not connect to {address}");
        assert!(said.contains(&denial), "{said}");
    }
}

#[test]
fn a_redirect_is_a_request_of_its_own() {
    let other = Server::start([Answer::new("200 OK", "never")]);
    let location: &'static str = format!("location: {}/x\r\n", other.origin()).leak();
    let server = Server::start([Answer { headers: location, ..Answer::new("302 Found", "over there") }]);
    let project = Project::new().granted("fixture", &json!({ "http": [server.origin()] }));
    let steps = [("get", json!({ "do": "get", "url": server.origin(), "follow": true }))];
    let project = pipeline(project, &steps);
    let output = project.run(&["run"]);
    let denial = format!("wanted to send a request to {}, which it is not granted", other.origin());
    assert!(output.expect(0).out.contains(&denial), "{}", output.out);
    assert_eq!((outcomes(&project), other.requests().len()), (vec!["get error".to_owned()], 0));
    let used = &project.show("1")["steps"][0]["attempts"][0]["used"];
    assert_eq!(used["http"], json!([server.origin()]), "that is where it went");
}

#[test]
fn proxies_are_gone_through() {
    let answers = || [Answer::new("200 OK", "from the proxy"), Answer::new("403 Forbidden", "no")];
    let proxy = Server::start(answers());
    let direct = Server::start([Answer::new("200 OK", "direct")]);
    let allow = json!({ "http": ["http://api.example", "https://api.example", direct.origin()] });
    let at = format!("ada:p%40ss@127.0.0.1:{}", proxy.port);
    let project = Project::new()
        .granted("fixture", &allow)
        .env("http_proxy", &format!("http://{at}"))
        .env("HTTPS_PROXY", &format!("http://{at}"))
        .env("NO_PROXY", "localhost,127.0.0.0/8");
    let steps = [
        ("plain", get("http://api.example/x?y")),
        ("tunnel", get("https://api.example/")),
        ("direct", get(direct.origin())),
        ("denied", get("http://other.example/")),
    ];
    let project = pipeline(project, &steps);
    project.run(&["run"]).expect(0);
    assert_eq!(outcomes(&project), ["plain success", "tunnel error", "direct success", "denied error"]);
    let requests = proxy.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].starts_with("GET http://api.example/x?y HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[1].starts_with("CONNECT api.example:443 HTTP/1.1\r\n"), "{}", requests[1]);
    for request in &requests {
        let lower = request.to_ascii_lowercase();
        assert!(lower.contains("proxy-authorization: basic ywrhonbac3m="), "{request}");
    }
    assert!(direct.requests()[0].starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn connections_are_kept_from_step_to_step() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    if line.is_empty() {
                        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                    }
                }
            });
        }
    });
    let project = Project::new().granted("fixture", &json!({ "http": [origin] }));
    let project = pipeline(project, &[("a", get(&origin)), ("b", get(&origin)), ("c", get(&origin))]);
    project.run(&["run"]).expect(0);
    assert_eq!(outcomes(&project), ["a success", "b success", "c success"]);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
