//! The step types of `plugins/` against real servers and files.

use std::{fs, io::Read, net::TcpListener, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{Answer, Output, Project, Server};

/// Runs one step of that type.
fn step(project: Project, plugin: &str, with: &Value, code: i32) -> (Project, Output) {
    let steps = json!({ "steps": [{ "name": "a", "uses": plugin, "with": with }] });
    let project = project.pipeline(steps);
    let output = project.run(&["run"]);
    output.expect(code);
    (project, output)
}

fn outputs(project: &Project) -> Value {
    project.show("1")["steps"][0]["outputs"].clone()
}

fn problem(project: &Project) -> String {
    project.show("1")["steps"][0]["attempts"][0]["problem"]["message"].as_str().unwrap_or_default().to_owned()
}

fn workspace() -> Value {
    json!({ "fs": [{ "path": ".", "access": "rw" }] })
}

fn text(project: &Project, path: &str) -> String {
    fs::read_to_string(project.path().join(path)).unwrap()
}

/// A body of a request that was heard.
fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn redirect(to: &str) -> Answer {
    Answer { headers: format!("location: {to}\r\n").leak(), ..Answer::new("302 Found", "") }
}

#[test]
fn http_follows_redirects_to_what_is_granted() {
    let there = Server::start([Answer::new("200 OK", "there")]);
    let secret = Server::start([Answer::new("200 OK", "never")]);
    let here = Server::start([redirect(&format!("{}/x", there.origin())), redirect(&secret.origin())]);
    let grants = json!({ "http": [here.origin(), there.origin()], "fs": [{ "path": ".", "access": "rw" }] });
    let with =
        json!({ "url": here.origin(), "headers": { "authorization": "Bearer s" }, "save_to": "got/it.txt" });
    let project = Project::new().granted("http", &grants);
    let (project, _) = step(project, "http", &with, 0);
    assert_eq!(text(&project, "got/it.txt"), "there");
    let heard = there.requests().remove(0);
    assert!(heard.starts_with("GET /x HTTP/1.1\r\n") && !heard.contains("authorization"), "{heard}");
    assert!(here.requests()[0].contains("authorization: Bearer s"));

    let (project, _) = step(project, "http", &with, 3);
    let said = project.show("2")["steps"][0]["attempts"][0]["problem"]["message"].to_string();
    assert!(said.contains(&format!("is not granted to reach {}", secret.origin())), "{said}");
    assert!(secret.requests().is_empty());
}

#[test]
fn http_sends_files_and_forms() {
    let server = Server::start([Answer::new("200 OK", "{}"), Answer::new("200 OK", "{}")]);
    let grants = json!({ "http": [server.origin()], "fs": [{ "path": "in", "access": "ro" }] });
    let project = Project::new().granted("http", &grants).file("in/a.txt", "from a file");
    let steps = json!({ "steps": [
        { "name": "file", "uses": "http", "with": { "url": server.origin(), "file": "in/a.txt", "method": "PUT" } },
        { "name": "form", "uses": "http", "with": { "url": server.origin(), "form": { "a b": "c&d" } } },
    ] });
    project.pipeline(steps).run(&["run"]).expect(0);
    let requests = server.requests();
    assert!(
        requests[0].starts_with("PUT / ") && requests[0].ends_with("\r\n\r\nfrom a file"),
        "{}",
        requests[0]
    );
    assert!(requests[1].contains("content-type: application/x-www-form-urlencoded\r\n"), "{}", requests[1]);
    assert!(requests[1].ends_with("\r\n\r\na+b=c%26d"), "{}", requests[1]);
}

#[test]
fn http_sends_secrets_and_never_prints_them() {
    // The server says what it was told.
    let server = Server::start([Answer::new("400 Bad Request", "no such token: t0p-s3cr3t")]);
    let grants = json!({ "http": [server.origin()], "secrets": ["TOKEN"] });
    let project =
        Project::new().granted("http", &grants).granted("notify", &grants).env("TOKEN", "t0p-s3cr3t");
    let with = json!({
        "url": server.origin(), "auth": { "bearer": "TOKEN" }, "headers": { "x-key": { "secret": "TOKEN", "prefix": "k=" } },
    });
    let steps = json!([
        { "name": "a", "uses": "http", "with": with },
        { "name": "b", "needs": [], "uses": "notify", "with": { "to": "slack", "url_secret": "OTHER" } },
    ]);
    let secrets = json!({ "TOKEN": { "env": "TOKEN" }, "OTHER": { "env": "TOKEN" } });
    let project = project.pipeline(json!({ "secrets": secrets, "steps": steps }));
    let run = project.run(&["run", "--jobs", "1"]);
    let head = server.requests().remove(0).to_lowercase();
    assert!(
        head.contains("authorization: bearer t0p-s3cr3t\r\n") && head.contains("x-key: k=t0p-s3cr3t\r\n"),
        "{head}"
    );
    let out = &run.expect(3).out;
    assert!(out.contains("the answer: no such token: ***") && !out.contains("t0p"), "{out}");
    assert!(!String::from_utf8(project.logs(&["1"])).unwrap().contains("t0p"));
    assert!(out.contains(r#"{"notify": {"allow": {"secrets": ["OTHER"]}}}"#), "{out}");
}

#[test]
fn wait_for_waits_for_an_answer() {
    let server = Server::start([
        Answer::new("503 Service Unavailable", "no workers"),
        Answer::new("200 OK", "starting"),
        Answer::new("200 OK", "ready"),
    ]);
    let project = Project::new().granted("wait-for", &json!({ "http": [server.origin()] }));
    let with =
        json!({ "url": format!("{}/health", server.origin()), "contains": "ready", "interval": "10ms" });
    let (project, run) = step(project, "wait-for", &with, 0);
    let said = run.out[run.out.find("> a").unwrap()..run.out.find("\nSee it again").unwrap()]
        .replace(&server.port.to_string(), "PORT");
    let said = said.split("   ready after").next().unwrap();
    insta::assert_snapshot!(said, @r#"
    > a
    [TIME] a | GET http://127.0.0.1:PORT/health: it answers 503 Service Unavailable; the answer: no workers
    [TIME] a | GET http://127.0.0.1:PORT/health: it answers 200 OK without "ready"; the answer: starting
    [TIME] a | GET http://127.0.0.1:PORT/health: it answers 200 OK with "ready"
    ok a  [TOOK]
    "#);
    assert_eq!(outputs(&project)["tries"], 3);
}

#[test]
fn wait_for_waits_for_a_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    drop(taken);
    let project = Project::new().granted("wait-for", &json!({ "tcp": [address] }));
    let with = json!({ "tcp": address, "interval": "10ms" });
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "wait-for", "with": with }] }));
    let running = project.spawn(&["run"]);
    running.wait_for("the connection is refused");
    let _listener = TcpListener::bind(&address).unwrap();
    running.finish().expect(0);
    assert!(outputs(&project)["tries"].as_u64().unwrap() > 1);

    let project = Project::new().granted("wait-for", &json!({ "tcp": ["127.0.0.1:1"] }));
    let (project, _) = step(project, "wait-for", &with, 3);
    let said = problem(&project);
    assert!(said.contains(&format!("is not granted to reach {address}")), "{said}");
}

#[test]
fn wait_for_says_what_it_saw_last() {
    let server = Server::start([]);
    let project = Project::new().granted("wait-for", &json!({ "http": [server.origin()] }));
    let with = json!({ "url": server.origin(), "timeout": "50ms", "interval": "10ms" });
    let (project, _) = step(project, "wait-for", &with, 1);
    let said = problem(&project);
    assert!(
        said.contains("was not ready within 50ms (") && said.contains("; the last one: http://"),
        "{said}"
    );
}

/// It is cancelled while a server keeps it waiting.
#[test]
fn wait_for_ends_as_soon_as_it_is_cancelled() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let project = Project::new().granted("wait-for", &json!({ "http": [origin] }));
    let with = json!({ "url": origin, "attempt_timeout": "50s", "timeout": "50s" });
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "wait-for", "with": with }] }));
    let running = project.spawn(&["run"]);
    let (mut asked, _) = silent.accept().unwrap();
    let mut start = [0; 4];
    asked.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"GET ");
    let cancelled = std::time::Instant::now();
    running.interrupt();
    running.finish().expect(130);
    assert!(cancelled.elapsed() < Duration::from_secs(8), "the grace of 10 s was not needed");
    assert_eq!(project.show("1")["steps"][0]["outcome"], "cancellation");
}

#[test]
fn template_writes_what_it_rendered() {
    let grants = json!({ "fs": [{ "path": ".", "access": "rw" }], "exec": ["chmod"] });
    let project = Project::new()
        .granted("template", &grants)
        .file("deploy/new.sh.j2", "echo {{ tag }}\n")
        .file("deploy/app.yaml.j2", "image: {{ tag }}\n{% for h in hosts %}\n- {{ h }}\n{% endfor %}\n")
        .file("deploy/run.sh.j2", "echo {{ tag }}\n")
        .file("out/run.sh", "old");
    project.executable("out/run.sh");
    let with = json!({
        "files": [{ "src": "deploy/[ar]*.j2", "dest": "out" }, { "src": "deploy/new.sh.j2", "mode": "750" }],
        "vars": { "tag": "${{ 'shop:' + '1.4' }}", "hosts": ["a", "b"] }, "trim_blocks": true,
    });
    let (project, _) = step(project, "template", &with, 0);
    assert_eq!(text(&project, "out/app.yaml"), "image: shop:1.4\n- a\n- b\n");
    assert_eq!(text(&project, "out/run.sh"), "echo shop:1.4\n");
    let mode = |path: &str| {
        std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(project.path().join(path)).unwrap().permissions(),
        )
    };
    assert_eq!((mode("out/run.sh") & 0o777, mode("deploy/new.sh") & 0o777), (0o755, 0o750));
    let files = ["out/app.yaml", "out/run.sh", "deploy/new.sh"];
    assert_eq!(outputs(&project), json!({ "files": files, "changed": 3 }));
}

#[test]
fn template_fails_at_what_is_not_defined_and_writes_nowhere_else() {
    let project = Project::new()
        .granted(
            "template",
            &json!({ "fs": [{ "path": "t", "access": "ro" }, { "path": "out", "access": "rw" }] }),
        )
        .file("t/a.j2", "x\n{{ missing }}\n")
        .file("t/b.j2", "b")
        .file("out/keep", "");
    let (project, run) =
        step(project, "template", &json!({ "files": [{ "src": "t/a.j2", "dest": "out/a" }] }), 1);
    assert!(run.out.contains("t/a.j2:2: undefined value: `missing` is undefined"), "{}", run.out);
    let (project, _) =
        step(project, "template", &json!({ "files": [{ "src": "t/b.j2", "dest": "else/b" }] }), 3);
    assert!(!project.path().join("else").exists());
    let with = json!({ "files": [{ "src": "t/b.j2", "dest": "../b" }] });
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "template", "with": with }] }));
    let run = project.run(&["run"]);
    assert!(run.expect(2).err.contains("leaves the workspace"), "{}", run.err);
}

#[test]
fn archive_gives_the_same_bytes_for_the_same_tree() {
    let sum = |dest: &str| {
        let project = Project::new()
            .granted("archive", &workspace())
            .file("bin/run", "#!/bin/sh\necho hi\n")
            .file("doc/a.txt", "a")
            .file("doc/draft.txt", "no");
        project.executable("bin/run");
        let with = json!({ "dest": dest, "files": ["bin", "doc/*.txt"], "exclude": ["**/draft.*"], "prefix": "shop-1" });
        let (project, _) = step(project, "archive", &with, 0);
        let outputs = outputs(&project);
        let path = project.path().join(dest);
        let real = Command::new("sha256sum").arg(&path).output().unwrap().stdout;
        assert_eq!(outputs["sha256"].as_str().unwrap(), &String::from_utf8(real).unwrap()[..64]);
        assert_eq!(outputs["size"], fs::metadata(&path).unwrap().len());
        (outputs, project)
    };
    for dest in ["out/shop.tar.gz", "out/shop.zip"] {
        let (one, project) = sum(dest);
        std::thread::sleep(Duration::from_millis(1100));
        let (two, _other) = sum(dest);
        assert_eq!(one, two);
        let script = match dest {
            "out/shop.zip" => {
                "import sys, zipfile; [print(i.filename, oct(i.external_attr >> 16 & 0o777), i.date_time[0]) for i in zipfile.ZipFile(sys.argv[1]).infolist()]"
            }
            _ => {
                "import sys, tarfile; [print(m.name, oct(m.mode), m.mtime, m.uid) for m in tarfile.open(sys.argv[1])]"
            }
        };
        let listed =
            Command::new("python3").args(["-c", script]).arg(project.path().join(dest)).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let wanted = if dest == "out/shop.zip" {
            "shop-1/bin/run 0o755 1980\nshop-1/doc/a.txt 0o644 1980\n"
        } else {
            "shop-1/bin/run 0o755 0 0\nshop-1/doc/a.txt 0o644 0 0\n"
        };
        assert_eq!(listed, wanted);
    }
}

/// A step that fails once and writes this report each time.
const TESTS: &str = r#"cat > r.xml <<EOF
<testsuite name="shop">
  <testcase classname="cart" name="adds">$([ -e tried ] || echo '<failure message="left: 1"/>')</testcase>
  <testcase classname="cart" name="pays"><failure message="no money"/></testcase>
  <testcase classname="cart" name="later"><skipped/></testcase>
</testsuite>
EOF
[ -e tried ] || { touch tried; exit 1; }"#;

fn gated(gate: &Value) -> Project {
    Project::new().plugin("junit-gate").pipeline(json!({ "steps": [
        { "name": "test", "run": TESTS, "reports": { "junit": "r.xml" }, "retry": { "attempts": 2, "delay": "1ms" } },
        { "name": "gate", "uses": "junit-gate", "with": gate },
    ] }))
}

#[test]
fn junit_gate_names_what_broke_its_thresholds() {
    let project = gated(&json!({ "steps": ["test"], "max_flaky": 0 }));
    let run = project.run(&["run"]);
    let out = &run.expect(1).out;
    insta::assert_snapshot!(out[out.find("> gate").unwrap()..out.find("!! gate").unwrap()], @r"
    > gate
    [TIME] gate | test: 3 tests, 1 failed, 1 skipped, 1 flaky
    [TIME] gate | failed:
    [TIME] gate |   test: cart pays (no money)
    [TIME] gate | flaky:
    [TIME] gate |   test: cart adds
      1 test failed, and at most 0 may; 1 test flaky, and at most 0 may be (junit-gate)
    ");
    // What the gate judges is known, too, when only the gate runs again, and once more.
    for _ in 0..2 {
        let again = project.run(&["retry", "--force"]);
        assert!(again.expect(1).out.contains("test: 3 tests, 1 failed, 1 skipped"), "{}", again.out);
    }
}

#[test]
fn junit_gate_passes_within_its_thresholds() {
    let project = gated(&json!({ "max_failures": 1, "max_flaky": 1, "max_skipped": 1, "min_tests": 3 }));
    project.run(&["run"]).expect(0);
    let outputs = project.show("1")["steps"][1]["outputs"].clone();
    assert_eq!(outputs, json!({ "tests": 3, "failed": 1, "skipped": 1, "flaky": 1 }));
    let project = Project::new().plugin("junit-gate").pipeline(json!({ "steps": [
        { "name": "gate", "needs": [], "uses": "junit-gate", "with": { "steps": ["test"] } },
        { "name": "test", "needs": ["gate"], "run": "true" },
    ] }));
    let run = project.run(&["run"]);
    assert!(run.expect(3).out.contains("no step \"test\" was decided before this one"), "{}", run.out);
}

fn told(to: &str, more: &Value) -> (Project, Vec<String>) {
    let server = Server::start([Answer::new("503 Service Unavailable", ""), Answer::new("200 OK", "ok")]);
    let project = Project::new().granted("notify", &json!({ "http": [server.origin()] })).git();
    let mut with = json!({ "to": to, "url_env": "HOOK", "retry_delay": "1ms" });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let hook = format!("{}/services/T0/s3cr3t", server.origin());
    let project = project.pipeline(json!({ "component": "shop", "steps": [
        { "name": "test", "run": "true" },
        { "name": "lint", "run": "false" },
        { "name": "tell", "uses": "notify", "if": "always()", "env": { "HOOK": hook }, "with": with },
    ] }));
    let run = project.run(&["run"]);
    assert!(!run.expect(1).out.contains("s3cr3t"), "{}", run.out);
    let requests = server.requests();
    assert!(requests[1].starts_with("POST /services/T0/s3cr3t HTTP/1.1\r\n"), "{}", requests[1]);
    (project, requests)
}

#[test]
fn notify_tells_slack() {
    let (project, requests) = told("slack", &json!({}));
    let commit = &project.git_run(&["rev-parse", "HEAD"])[..7];
    let wanted = format!(":x: shop #1: failure: lint (main at {commit}, by ada@example.com)");
    assert_eq!(body(&requests[1]), json!({ "text": wanted }));
    let (_, requests) = told("slack", &json!({ "text": "build ${{ build.number }} is <out>" }));
    assert_eq!(body(&requests[1]), json!({ "text": "build 1 is <out>" }));
}

#[test]
fn notify_takes_its_url_from_a_secret() {
    let server = Server::start([Answer::new("404 Not Found", "no_team")]);
    let hook = format!("{}/services/T0/s3cr3t", server.origin());
    let grants = json!({ "http": [server.origin()], "secrets": ["HOOK"] });
    let project = Project::new().granted("notify", &grants).env("HOOK_URL", &hook).pipeline(json!({
        "secrets": { "HOOK": { "env": "HOOK_URL" } },
        "steps": [{ "name": "a", "uses": "notify", "with": { "to": "slack", "url_secret": "HOOK" } }],
    }));
    project.run(&["run"]).expect(1);
    assert!(server.requests()[0].starts_with("POST /services/T0/s3cr3t HTTP/1.1\r\n"));
    let wanted =
        format!("POST {}/... answered 404 Not Found: nobody was told; the answer: no_team", server.origin());
    assert_eq!(problem(&project), wanted);
}

#[test]
fn notify_tells_teams() {
    let (project, requests) = told("teams", &json!({}));
    let commit = &project.git_run(&["rev-parse", "HEAD"])[..7];
    let fact = |title: &str, value: &str| json!({ "title": title, "value": value });
    let text = format!("shop #1: failure: lint (main at {commit}, by ada@example.com)");
    assert_eq!(
        body(&requests[1]),
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        { "type": "TextBlock", "text": text, "wrap": true, "weight": "bolder", "color": "attention" },
                        { "type": "FactSet", "facts": [
                            fact("Build", "shop #1"), fact("Outcome so far", "failure"), fact("Failed", "lint"),
                            fact("Branch", "main"), fact("Commit", commit), fact("By", "ada@example.com"),
                        ] },
                    ],
                },
            }],
        })
    );
}

#[test]
fn notify_tells_any_service() {
    let (project, requests) = told("webhook", &json!({ "text": "done" }));
    let id = project.show("1")["id"].clone();
    let commit = project.git_run(&["rev-parse", "HEAD"]);
    let wanted = json!({
        "text": "done", "component": "shop", "number": 1, "build_id": id, "outcome": "failure", "failed": ["lint"],
        "commit": commit, "branch": "main", "user": "ada@example.com",
    });
    assert_eq!(body(&requests[1]), wanted);
    let (_, requests) = told("webhook", &json!({ "json": { "any": ["thing", 1] } }));
    assert_eq!(body(&requests[1]), json!({ "any": ["thing", 1] }));
}
