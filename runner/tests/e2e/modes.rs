//! Containers that are started otherwise than usual.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::both;
use crate::http;
use crate::team::Team;
use crate::workspace::Workspace;

/// A pipeline with a step of each kind.
fn both_kinds(origin: &str) -> Value {
    json!({
        "plugins": { "http": { "allow": { "http": [origin] } } },
        "steps": [
            { "name": "shell", "run": "echo hello" },
            { "name": "plugin", "uses": "http", "with": { "url": format!("{origin}/") } },
        ],
    })
}

#[test]
fn nothing_but_the_workspace_need_be_writable() {
    let Some(team) = Team::build() else { return };
    let origin = http::serve("{}");
    let workspace = Workspace::new(&both_kinds(&origin));
    let strict = ["--read-only", "--security-opt", "no-new-privileges"];
    for (number, options) in [&strict[..1], &strict[..]].into_iter().enumerate() {
        let run = team.dcd(&workspace).with(options).output(&["run"]);
        assert!(run.status.success(), "{options:?}: {}", both(&run));
        let show = workspace.show("latest");
        assert_eq!(show["number"], number + 1);
        assert_eq!(show["steps"][1]["outputs"]["status"], 200);
        assert_eq!(show["facts"]["container"]["verified_by"], "upper_dir");
    }
}

#[test]
fn a_workspace_that_cannot_be_written_to_is_said() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "true" }] }));
    let covered = format!("{0}:{0}:ro", workspace.path().join("sub").display());
    std::fs::create_dir(workspace.path().join("sub")).unwrap();
    std::fs::copy(workspace.path().join("dcd.json"), workspace.path().join("sub/dcd.json")).unwrap();
    let within = workspace.path().join("sub");
    let run = team.dcd(&workspace).with(&["-v", &covered, "-w", within.to_str().unwrap()]).output(&["run"]);
    assert_eq!(run.status.code(), Some(3));
    let text = both(&run);
    assert!(text.contains("sub/.dcd") && text.contains("make the workspace writable for dcd"), "{text}");
}

#[test]
fn without_the_socket_the_build_runs_and_says_what_it_lacks() {
    let Some(team) = Team::build() else { return };
    let origin = http::serve("{}");
    let workspace = Workspace::new(&both_kinds(&origin));
    let run = team.dcd(&workspace).without_socket().output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    assert!(both(&run).contains("There is no Docker socket"), "{}", both(&run));
    let facts = &workspace.show("latest")["facts"];
    for fact in ["docker", "container", "image"] {
        let reason = facts[fact]["absent"].as_str().unwrap_or_else(|| panic!("{fact}: {facts}"));
        assert!(reason.contains("-v /var/run/docker.sock:/var/run/docker.sock"), "{reason}");
    }
    assert_eq!(facts["git"]["commit"], workspace.git(&["rev-parse", "HEAD"]));
}

#[test]
fn an_image_that_was_not_pushed_has_no_digest() {
    let Some(team) = Team::build() else { return };
    let workspace =
        Workspace::new(&json!({ "steps": [{ "name": "test", "run": "echo \"[$DCD_IMAGE_DIGEST]\"" }] }));
    team.dcd(&workspace).text(&["run"]);
    let facts = &workspace.show("latest")["facts"]["image"];
    let reason = facts["digest"]["absent"].as_str().unwrap_or_else(|| panic!("{facts}"));
    assert!(reason.contains("was not pushed"), "{reason}");
    assert_eq!(facts["reference"], team.image);
    assert_eq!(workspace.log("1", "test"), "[]");
}

#[test]
fn the_doctor_knows_its_container_and_image() {
    let Some(mut team) = Team::build() else { return };
    let digest = team.push();
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "true" }] }));
    let answer: Value = serde_json::from_str(&team.dcd(&workspace).text(&["doctor", "--json"])).unwrap();
    assert_eq!(answer["state"], "ok", "{answer:#}");
    let texts = |name: &str| -> Vec<&str> {
        let checks = answer["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
        checks.map(|check| check["text"].as_str().unwrap()).collect()
    };
    assert!(texts("container")[0].ends_with(", known by its root file system"), "{answer:#}");
    assert_eq!(texts("image"), [digest.as_str()]);
    assert_eq!(texts("plugin").len(), 3, "{answer:#}");
    // Without the socket it says what is missing, and that is no failure.
    let without = team.dcd(&workspace).without_socket().text(&["doctor"]);
    assert!(without.contains("warning  docker      There is no Docker socket"), "{without}");
}

#[test]
fn containers_that_share_a_workspace_get_different_numbers() {
    const CONTAINERS: usize = 4;
    let Some(team) = Team::build() else { return };
    // No build ends before all have begun.
    let meet = format!(
        "touch up-$DCD_BUILD_NUMBER; until [ $(ls up-* | wc -l) = {CONTAINERS} ]; do sleep 0.05; done"
    );
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "meet", "run": meet, "timeout": "90s" }] }));
    let running: Vec<_> = (0..CONTAINERS).map(|_| team.dcd(&workspace).start(&["run"])).collect();
    let ids: BTreeSet<String> = running.iter().map(super::engine::Running::id).collect();
    for run in running {
        let run = run.wait();
        assert!(run.status.success(), "{}", both(&run));
    }
    let list: Value = serde_json::from_str(&workspace.dcd(&["history", "list", "--json"])).unwrap();
    let numbers: BTreeSet<_> =
        list.as_array().unwrap().iter().map(|build| build["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=CONTAINERS as u64).map(Some).collect());
    let containers = (1..=CONTAINERS).map(|number| {
        workspace.show(&number.to_string())["facts"]["container"]["id"].as_str().unwrap().to_owned()
    });
    assert_eq!(containers.collect::<BTreeSet<_>>(), ids);
}

#[test]
fn a_plugin_that_misbehaves_fails_its_step_and_no_more() {
    let Some(team) = Team::build() else { return };
    let step = |name: &str, with: Value| json!({ "name": name, "uses": "fixture", "with": with, "continue_on_error": true });
    let workspace = Workspace::new(&json!({
        "plugins": { "fixture": {} },
        "steps": [
            step("trap", json!({ "do": "trap" })),
            step("recurse", json!({ "do": "recurse" })),
            step("allocate", json!({ "do": "allocate" })),
            step("ungranted", json!({ "do": "read_file", "path": "/etc/passwd" })),
            step("echo", json!({ "do": "echo", "text": "still here" })),
        ],
    }));
    let run = team.dcd(&workspace).output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    let show = workspace.show("1");
    let outcomes: Vec<_> = show["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, ["error", "error", "error", "error", "success"], "{show:#}");
    assert_eq!(show["steps"][4]["outputs"]["text"], "still here");
}
