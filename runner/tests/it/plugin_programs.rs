//! Programs that plugins run.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::Project;

/// A step that runs this.
fn command(name: &str, with: Value) -> Value {
    let mut with = with;
    with["do"] = json!("command");
    json!({ "name": name, "uses": "fixture", "with": with, "continue_on_error": true })
}

fn sh(name: &str, script: &str) -> Value {
    command(name, json!({ "program": "sh", "args": ["-c", script] }))
}

fn step<'b>(build: &'b Value, name: &str) -> &'b Value {
    build["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

fn message<'b>(build: &'b Value, name: &str) -> &'b str {
    let problem = &step(build, name)["attempts"][0]["problem"];
    problem["message"].as_str().unwrap_or_else(|| panic!("{name}: {}", step(build, name)))
}

#[test]
fn a_granted_program_runs_like_a_steps_process() {
    let script = "echo out; echo err >&2; cat; kill -0 $$ && exit 3";
    let project = Project::new().granted("fixture", &json!({ "exec": ["sh"] })).pipeline(json!({ "steps": [
        command("a", json!({ "program": "sh", "args": ["-c", script], "stdin": "typed\n" })),
        command("cut", json!({ "program": "sh", "args": ["-c", "seq 1000"], "capture_limit": 10 })),
        command("blind", json!({ "program": "sh", "args": ["-c", "echo shown"], "blind": true })),
        sh("killed", "kill -9 $$"),
        sh("still", "cat; echo end"),
    ] }));
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    let outputs = |name: &str| step(&build, name)["outputs"].clone();
    assert_eq!(
        outputs("a"),
        json!({ "code": 3, "signal": null, "stdout": "out\ntyped\n", "stderr": "err\n", "truncated": false })
    );
    let log = String::from_utf8(project.logs(&["1", "a"])).unwrap();
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out", "typed"]);
    assert_eq!(
        (&outputs("cut")["stdout"], &outputs("cut")["truncated"]),
        (&json!("1\n2\n3\n4\n5\n"), &json!(true))
    );
    assert_eq!(project.logs(&["1", "cut"]).len(), 3893, "all is logged");
    assert_eq!(outputs("blind")["stdout"], "");
    assert_eq!(project.logs(&["1", "blind"]), b"shown\n");
    assert_eq!((&outputs("killed")["code"], &outputs("killed")["signal"]), (&json!(null), &json!(9)));
    assert_eq!(outputs("still")["stdout"], "end\n", "nothing is typed by default");
    let used = &step(&build, "a")["attempts"][0]["used"]["programs"];
    assert!(used[0].as_str().unwrap().ends_with("/sh") && used.as_array().unwrap().len() == 1, "{used}");
    let page = project.run(&["history", "show", "1"]).out;
    assert!(page.contains("used programs: /"), "{page}");
}

#[test]
fn its_environment_is_the_steps_and_not_dcds() {
    let print = "echo ${T_DCD-none} ${T_GRANTED-none} $T_FILE $T_STEP ${TOKEN:+token} $DCD_STEP $DCD_ATTEMPT $CI \
                 ${HOME:+home} $T_OWN ${T_GONE-none} ${DOCKER_HOST-none}";
    let mut step = command(
        "a",
        json!({ "program": "sh", "args": ["-c", print], "env": { "T_OWN": "own", "T_GONE": null } }),
    );
    step["env"] = json!({ "T_STEP": "step", "T_GONE": "x" });
    step["secrets"] = json!(["TOKEN"]);
    let project = Project::new()
        .granted("fixture", &json!({ "exec": ["sh"], "env": ["T_GRANTED"] }))
        .env("T_DCD", "1")
        .env("T_GRANTED", "granted")
        .env("THE_TOKEN", "t0p-s3cret")
        .pipeline(json!({
            "env": { "T_FILE": "file" },
            "secrets": { "TOKEN": { "env": "THE_TOKEN" } },
            "steps": [step],
        }));
    project.run(&["run"]).expect(0);
    assert_eq!(project.logs(&["1", "a"]), b"none granted file step token a 1 true home own none none\n");
}

#[test]
fn only_granted_programs_run_and_none_of_the_workspace() {
    let project = Project::new().granted("fixture", &json!({ "exec": ["sh", "planted", "here", "gone"] }));
    for path in ["bin/planted", "bin/sh", "here"] {
        project.write(path, "#!/bin/sh\ntouch ran\n");
        project.executable(path);
    }
    let run = |name: &str, program: &str| command(name, json!({ "program": program }));
    let own = project.path().join("bin/sh").display().to_string();
    let project = project.pipeline(json!({ "steps": [
        run("not granted", "id"),
        run("path", "/usr/bin/id"),
        run("planted", "planted"),
        run("relative entry", "here"),
        run("relative", "./here"),
        run("own path", &own),
        run("gone", "gone"),
        command("bad env", json!({ "program": "sh", "env": { "A=B": "1" } })),
    ] }));
    let path = format!("{}:{}:", std::env::var("PATH").unwrap(), project.path().join("bin").display());
    let project = project.env("PATH", &path);
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    assert!(!project.path().join("ran").exists());
    assert!(build["steps"].as_array().unwrap().iter().all(|step| step["outcome"] == "error"), "{build}");
    let said = |name| message(&build, name).replace(&project.outside().display().to_string(), "[ROOT]");
    insta::assert_snapshot!(said("not granted"), @r#"plugin fixture wanted to run `id`, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"exec": ["id"]}}}"#);
    insta::assert_snapshot!(said("path"), @r#"plugin fixture wanted to run `/usr/bin/id`, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"exec": ["/usr/bin/id"]}}}"#);
    insta::assert_snapshot!(said("planted"), @"plugin fixture may not run `planted`: [ROOT]/shop/bin/planted is in the workspace, where anybody can put a program; install it in the image, and keep the workspace out of PATH");
    insta::assert_snapshot!(said("relative entry"), @"plugin fixture may not run `here`: [ROOT]/shop/here is in the workspace, where anybody can put a program; install it in the image, and keep the workspace out of PATH");
    insta::assert_snapshot!(said("relative"), @"plugin fixture may not run `./here`: [ROOT]/shop/here is in the workspace, where anybody can put a program; install it in the image, and keep the workspace out of PATH");
    insta::assert_snapshot!(said("own path"), @"plugin fixture may not run `[ROOT]/shop/bin/sh`: [ROOT]/shop/bin/sh is in the workspace, where anybody can put a program; install it in the image, and keep the workspace out of PATH");
    insta::assert_snapshot!(said("gone"), @"plugin fixture: there is no program `gone` in PATH; install it in the image");
    insta::assert_snapshot!(said("bad env"), @r#"plugin fixture: a variable cannot have the name "A=B""#);
}

#[test]
fn it_starts_in_the_workspace_or_where_the_plugin_may_be() {
    let project =
        Project::new().granted("fixture", &json!({ "exec": ["sh"], "fs": ["/usr"] })).file("sub/x", "");
    std::os::unix::fs::symlink("/etc", project.path().join("etc")).unwrap();
    let at =
        |name: &str, cwd: Value| command(name, json!({ "program": "sh", "args": ["-c", "pwd"], "cwd": cwd }));
    let project = project.pipeline(json!({ "steps": [
        at("none", json!(null)), at("relative", json!("sub")), at("granted", json!("/usr/bin")),
        at("outside", json!("/etc")), at("up", json!("..")), at("link", json!("etc")), at("gone", json!("nowhere")),
    ] }));
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    let stdout =
        |name: &str| step(&build, name)["outputs"]["stdout"].as_str().unwrap_or("-").trim().to_owned();
    let workspace = project.path().display().to_string();
    assert_eq!(
        ["none", "relative", "granted", "outside", "up", "link", "gone"].map(stdout),
        [&workspace, &format!("{workspace}/sub"), "/usr/bin", "-", "-", "-", "-"]
    );
    insta::assert_snapshot!(message(&build, "outside"), @r#"plugin fixture wanted to run a program in /etc, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"fs": ["/etc"]}}}"#);
}

#[test]
fn it_ends_when_its_time_is_over() {
    let slow = |name: &str, script: &str| {
        command(name, json!({ "program": "sh", "args": ["-c", script], "timeout_ms": 300 }))
    };
    let project = Project::new().granted("fixture", &json!({ "exec": ["sh"] })).pipeline(json!({ "steps": [
        slow("polite", "trap 'echo put away; exit 0' TERM; sleep 50 & wait"),
        sh("after", "echo still here"),
    ] }));
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    assert_eq!(step(&build, "polite")["outcome"], "failure");
    assert_eq!(message(&build, "polite"), "sh ran out of its time");
    assert_eq!(project.logs(&["1", "polite"]), b"put away\n");
}

#[test]
fn it_is_stopped_with_its_step() {
    let polite = sh("a", "trap 'sleep 0.2; touch put-away; exit 0' TERM; echo started; sleep 50 & wait");
    let project = Project::new().granted("fixture", &json!({ "exec": ["sh"] })).pipeline(json!({ "steps": [
        polite, { "name": "b", "run": "echo always", "if": "always()" },
    ] }));
    let run = project.spawn(&["run"]);
    run.wait_for("started");
    run.signal(Signal::INT);
    assert!(run.finish().expect(130).out.contains("| always"));
    assert!(project.path().join("put-away").exists(), "it had its grace");
    let build = project.show("1");
    assert_eq!(step(&build, "a")["outcome"], "cancellation");
    assert!(step(&build, "a")["attempts"][0]["used"]["programs"].is_array(), "it is recorded all the same");
}

#[test]
fn it_is_killed_with_its_step() {
    let stubborn = sh("a", "trap '' TERM; echo $$ >pid; echo started; while true; do sleep 0.05; done");
    let project = Project::new()
        .granted("fixture", &json!({ "exec": ["sh"] }))
        .pipeline(json!({ "steps": [stubborn] }));
    let run = project.spawn(&["run"]);
    run.wait_for("started");
    let started = Instant::now();
    run.signal(Signal::INT);
    run.wait_for("once more stops at once");
    run.signal(Signal::INT);
    run.finish().expect(130);
    assert!(started.elapsed() < Duration::from_secs(9), "its grace was not waited for");
    assert!(!is_alive(&project, "pid"));
    assert_eq!(project.show("1")["steps"][0]["outcome"], "cancellation");
}

#[test]
fn what_it_leaves_behind_ends_with_the_build() {
    let script = "setsid sleep 50 >/dev/null 2>&1 & echo $! >pid; sleep 50 & echo $! >other";
    let project = Project::new()
        .granted("fixture", &json!({ "exec": ["sh"] }))
        .pipeline(json!({ "steps": [sh("a", script)] }));
    let started = Instant::now();
    project.run(&["run"]).expect(0);
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waited for it");
    assert!(!is_alive(&project, "pid") && !is_alive(&project, "other"));
}

/// Whether the process lives whose id is in the file.
fn is_alive(project: &Project, file: &str) -> bool {
    let pid = fs::read_to_string(project.path().join(file)).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.contains(") ") && !stat.contains(") Z")
}
