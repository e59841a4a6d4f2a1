//! What a plugin may touch: what it is granted.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server};

/// Runs each of these, and gives what each said: its lines between start and end.
fn said(project: Project, steps: &[(&str, Value)]) -> (Project, Vec<String>) {
    let step = |(name, with): &(&str, Value)| json!({ "name": name, "uses": "fixture", "with": with, "continue_on_error": true });
    let steps: Vec<_> = steps.iter().map(step).collect();
    let project = project.pipeline(json!({ "steps": steps }));
    let output = project.run(&["run"]);
    output.expect(0);
    let parts: Vec<_> = output.out.split("\n> ").skip(1).collect();
    let said = parts.iter().map(|part| {
        part[..part.find("; the build goes on").or(part.find("\nshop #")).unwrap_or(part.len())].to_owned()
    });
    let said = said.collect();
    (project, said)
}

fn read(path: &str) -> Value {
    json!({ "do": "read_file", "path": path })
}

fn write(path: &str) -> Value {
    json!({ "do": "write_file", "path": path, "text": "written" })
}

fn outcomes(project: &Project) -> Vec<String> {
    let build = project.show("1");
    let steps = build["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| format!("{} {}", step["name"].as_str().unwrap(), step["outcome"].as_str().unwrap()))
        .collect()
}

#[test]
fn without_a_grant_there_is_no_file() {
    let project = Project::new().plugin("fixture").file("a.txt", "a");
    let path = project.path().join("a.txt").display().to_string();
    let steps = [("absolute", read(&path)), ("relative", read("a.txt")), ("etc", read("/etc/passwd"))];
    let (_, said) = said(project, &steps);
    // What it asks for is said after it.
    let first = |said: &String| said[..said.find("\n  help: it asks for").unwrap()].to_owned();
    insta::assert_snapshot!(said.iter().map(first).collect::<Vec<_>>().join("\n> "), @"
    absolute
      plugin fixture: cannot read [ROOT]/shop/a.txt: No such file or directory (os error 44)
    > relative
      plugin fixture: cannot read a.txt: No such file or directory (os error 44)
    > etc
      plugin fixture: cannot read /etc/passwd: No such file or directory (os error 44)
    ");
    assert!(said[0].contains(r#""fs": [{"path": "DIR", "access": "rw"}]"#), "{}", said[0]);
}

#[test]
fn files_are_granted_by_directory_and_access() {
    let grants = json!({ "fs": [{ "path": "in", "access": "ro" }, { "path": "out", "access": "rw" }] });
    let project = Project::new()
        .granted("fixture", &grants)
        .file("in/a.txt", "a")
        .file("out/b.txt", "b")
        .file("secret.txt", "s");
    std::os::unix::fs::symlink("../secret.txt", project.path().join("in/link")).unwrap();
    std::os::unix::fs::symlink("/etc", project.path().join("out/etc")).unwrap();
    let at = |path: &str| project.path().join(path).display().to_string();
    let steps = [
        ("read ro", read(&at("in/a.txt"))),
        ("write ro", write(&at("in/a.txt"))),
        ("create ro", write(&at("in/new.txt"))),
        ("read rw", read(&at("out/b.txt"))),
        ("write rw", write(&at("out/b.txt"))),
        ("create rw", write(&at("out/c.txt"))),
        ("outside", read(&at("secret.txt"))),
        ("up", read(&at("in/../secret.txt"))),
        ("up again", write(&at("out/../in/a.txt"))),
        ("link", read(&at("in/link"))),
        ("absolute link", read(&at("out/etc/passwd"))),
    ];
    let (project, _) = said(project, &steps);
    assert_eq!(
        outcomes(&project),
        [
            "read ro success",
            "write ro error",
            "create ro error",
            "read rw success",
            "write rw success",
            "create rw success",
            "outside error",
            "up error",
            "up again error",
            "link error",
            "absolute link error",
        ]
    );
    let text = |path: &str| fs::read_to_string(project.path().join(path)).unwrap();
    assert_eq!(
        (text("in/a.txt").as_str(), text("out/b.txt").as_str(), text("out/c.txt").as_str()),
        ("a", "written", "written")
    );
    assert!(!project.path().join("in/new.txt").exists());
}

#[test]
fn a_request_that_is_not_granted_names_the_line_that_would() {
    let server = Server::start([Answer::new("200 OK", "never")]);
    let get = json!({ "do": "get", "url": format!("{}/x", server.origin()) });
    let (_, said) = said(Project::new().plugin("fixture"), &[("get", get)]);
    insta::assert_snapshot!(said[0].replace(&server.port.to_string(), "PORT"), @r#"
    get
    [TIME] get | [error] plugin fixture wanted to send a request to http://127.0.0.1:PORT, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"http": ["http://127.0.0.1:PORT"]}}}
      plugin fixture: the plugin is not granted to reach http://127.0.0.1:PORT (http/denied)
      help: grant it in the plugin's entry of the pipeline's `plugins` block: "allow": {"http": ["http://127.0.0.1:PORT"]}
    !! get  error, [TOOK]
    "#);
    assert!(server.requests().is_empty());
}

#[test]
fn requests_go_to_the_origin_that_is_granted() {
    let server = Server::start([Answer::new("200 OK", "hello")]);
    let other = Server::start([Answer::new("200 OK", "never")]);
    let project = Project::new().granted("fixture", &json!({ "http": [server.origin()] }));
    let get = |url: String| json!({ "do": "get", "url": url });
    let steps = [
        ("granted", get(format!("{}/x?y", server.origin()))),
        ("port", get(other.origin())),
        ("name", get(format!("http://localhost:{}/", server.port))),
        ("user", get(format!("http://127.0.0.1:{}@127.0.0.1:{}/", server.port, other.port))),
    ];
    let (project, _) = said(project, &steps);
    assert_eq!(outcomes(&project), ["granted success", "port error", "name error", "user error"]);
    assert!(server.requests()[0].starts_with("GET /x?y HTTP/1.1\r\n"));
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[test]
fn a_redirect_leads_nowhere() {
    let other = Server::start([Answer::new("200 OK", "never")]);
    let location: &'static str = format!("location: {}/\r\n", other.origin()).leak();
    let server = Server::start([Answer { headers: location, ..Answer::new("302 Found", "over there") }]);
    let project = Project::new().granted("fixture", &json!({ "http": [server.origin()] }));
    let (project, _) = said(project, &[("get", json!({ "do": "get", "url": server.origin() }))]);
    assert_eq!(project.show("1")["steps"][0]["outputs"]["status"], 302);
    assert!(other.requests().is_empty());
}

#[test]
fn a_wildcard_does_not_lead_inside() {
    let server = Server::start([Answer::new("200 OK", "never")]);
    // Every name below `localhost` is this machine, by RFC 6761; where it is none, there is no answer either.
    let grant = format!("http://*.localhost:{}", server.port);
    let project = Project::new().granted("fixture", &json!({ "http": [grant] }));
    let get = json!({ "do": "get", "url": format!("http://a.localhost:{}/", server.port) });
    let (project, _) = said(project, &[("get", get)]);
    assert_eq!(outcomes(&project), ["get error"]);
    assert!(server.requests().is_empty());
}

#[test]
fn variables_are_granted_by_name() {
    let project = Project::new()
        .granted("fixture", &json!({ "env": ["T_ONE", "AWS_*"] }))
        .env("T_ONE", "1")
        .env("T_TWO", "2")
        .env("AWS_REGION", "there");
    let env = |name: &str| json!({ "do": "env", "name": name });
    let steps = [("one", env("T_ONE")), ("two", env("T_TWO")), ("all", json!({ "do": "env_all" }))];
    let (project, said) = said(project, &steps);
    assert!(said[0].contains("one | 1\n") && said[1].contains("two | absent\n"), "{said:?}");
    let outputs = &project.show("1")["steps"][2]["outputs"]["env"];
    assert_eq!(*outputs, json!({ "T_ONE": "1", "AWS_REGION": "there" }));
}

#[test]
fn grants_are_recorded() {
    let project =
        Project::new().granted("fixture", &json!({ "http": ["https://a.example"], "env": ["A_*"] }));
    let (project, _) = said(project, &[("a", json!({ "do": "echo", "text": "x" }))]);
    let plugin = &project.show("1")["facts"]["plugins"][0];
    assert_eq!(plugin["grants"], json!({ "http": ["https://a.example"], "env": ["A_*"] }));
    assert_eq!((&plugin["name"], plugin["sha256"].as_str().unwrap().len()), (&json!("fixture"), 64));
}
