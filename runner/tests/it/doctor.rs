//! `dcd doctor` and `dcd completions`

use std::fs;

use serde_json::{Value, json};

use crate::support::Project;

/// No engine, whatever the machine has: then the answer is the same everywhere.
fn project() -> Project {
    Project::new().env("DOCKER_HOST", "unix:///nowhere/docker.sock")
}

fn check<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {answer:#}"))
}

fn doctor(project: &Project, code: i32) -> Value {
    let run = project.run(&["doctor", "--json"]);
    serde_json::from_str(&run.expect(code).out).unwrap()
}

#[test]
fn what_lacks_is_a_warning_and_no_failure() {
    let project = project().scripts(&["true"]).git();
    let run = project.run(&["doctor"]);
    let lines: Vec<_> = run.expect(0).out.lines().filter(|line| !line.starts_with(' ')).collect();
    let starts: Vec<_> =
        lines.iter().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "ok dcd",
        "ok workspace",
        "ok journal",
        "ok disk",
        "ok clock",
        "ok terminal",
        "ok git",
        "warning docker",
        "ok pipeline",
        "ok history",
    ];
    assert_eq!(starts, expected, "{}", run.out);
    assert!(lines[6].contains(" on main"), "{}", run.out);
    assert!(lines[7].contains("There is no Docker socket at /nowhere/docker.sock"), "{}", run.out);
    // It leaves nothing, and what it made git does not see.
    assert_eq!(project.git_run(&["status", "--porcelain"]), "");
    assert_eq!(fs::read_dir(project.path().join(".dcd")).unwrap().count(), 1);
}

#[test]
fn a_pipeline_that_is_wrong_or_gone_is_the_users() {
    let project = project();
    let answer = doctor(&project, 2);
    assert_eq!(answer["state"], "problem");
    assert!(
        check(&answer, "pipeline")["help"].as_str().unwrap().contains("`dcd init` writes one"),
        "{answer:#}"
    );
    let project = project.file("dcd.json", "{");
    let answer = doctor(&project, 2);
    assert_eq!(check(&answer, "pipeline")["help"], "`dcd validate dcd.json` shows them");
    assert_eq!(check(&answer, "journal")["state"], "ok");
}

#[test]
fn a_workspace_that_cannot_hold_builds_is_a_problem() {
    let project = project().scripts(&["true"]).file(".dcd", "in the way");
    let answer = doctor(&project, 3);
    assert_eq!(check(&answer, "journal")["state"], "problem");
    assert!(check(&answer, "journal")["text"].as_str().unwrap().contains(".dcd"), "{answer:#}");
}

#[test]
fn what_the_pipeline_requires_is_no_warning() {
    let project = project()
        .pipeline(json!({ "require": { "docker": true }, "steps": [{ "name": "a", "run": "true" }] }));
    let answer = doctor(&project, 3);
    assert_eq!(check(&answer, "docker")["state"], "problem");
}

#[test]
fn the_backend_is_asked_and_speaks_for_itself() {
    let project = project();
    let builds = project.outside().join("builds");
    let grant = json!({ "fs": [{ "path": builds, "access": "rw" }] });
    let project = project.granted("history-dir", &grant).pipeline(json!({
        "history": { "uses": "history-dir", "with": { "path": builds } },
        "steps": [{ "name": "a", "run": "true" }],
    }));
    let answer = doctor(&project, 3);
    let said = check(&answer, "history")["text"].as_str().unwrap();
    assert!(said.contains("history-dir") && said.contains("builds"), "{answer:#}");
    assert!(check(&answer, "plugin")["text"].as_str().unwrap().contains("granted fs "), "{answer:#}");
    fs::create_dir(&builds).unwrap();
    assert_eq!(
        check(&doctor(&project, 0), "history")["text"],
        "history-dir can keep builds, and has none yet"
    );
    project.run(&["run"]).expect(0);
    assert_eq!(check(&doctor(&project, 0), "history")["text"], "history-dir can keep builds, and has some");
}

#[test]
fn a_plugin_that_is_none_is_a_problem() {
    let project = project().scripts(&["true"]).file("plugins/bad.wasm", "not wasm");
    let place = project.path().join("plugins").display().to_string();
    let project = project.env("DCD_PLUGIN_PATH", &place);
    let answer = doctor(&project, 3);
    assert!(check(&answer, "plugin")["text"].as_str().unwrap().contains("bad.wasm"), "{answer:#}");
}

#[test]
fn a_build_of_the_future_tells_of_the_clock() {
    let project = project().scripts(&["true"]);
    fs::create_dir_all(project.path().join(".dcd/builds/0fffffff-0000-7000-8000-000000000000")).unwrap();
    let answer = doctor(&project, 0);
    let said = check(&answer, "clock")["text"].as_str().unwrap();
    assert!(said.contains("but the newest build began at"), "{said}");
}

#[test]
fn completions_know_the_commands() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run(&["completions", shell]);
        assert!(script.expect(0).out.contains("history"), "{shell}");
    }
    let bash = "source /dev/stdin; COMP_WORDS=(dcd history s); COMP_CWORD=2; _dcd dcd s history; echo ${COMPREPLY[@]}";
    let completed =
        project.shell(&format!("{} completions bash | bash -c '{bash}'", env!("CARGO_BIN_EXE_dcd")));
    assert!(completed.expect(0).out.starts_with("show"), "{}{}", completed.out, completed.err);
    assert!(project.run(&["completions", "tcsh"]).expect(2).err.contains("possible values: bash"));
}
