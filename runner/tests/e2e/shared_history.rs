//! Two machines of a team, and the drive that both keep their history on.

use serde_json::{Value, json};

use crate::engine::both;
use crate::team::Team;
use crate::workspace::Workspace;

#[test]
fn a_machine_sees_the_builds_of_another() {
    let Some(team) = Team::build() else { return };
    let shared = tempfile::tempdir().unwrap();
    // The drive is mounted at the same place everywhere, wherever it is on the machine.
    let mount = format!("{}:/builds", shared.path().display());
    let pipeline = json!({
        "component": "shop",
        "history": { "uses": "history-dir", "with": { "path": "/builds" } },
        "plugins": { "history-dir": { "allow": { "fs": [{ "path": "/builds", "access": "rw" }] } } },
        "steps": [{ "name": "test", "run": "echo on $WHERE as build $DCD_BUILD_NUMBER" }],
    });
    let (here, there) = (Workspace::new(&pipeline), Workspace::new(&pipeline));
    let on = |workspace, name: &str| team.dcd(workspace).with(&["-v", &mount, "-e", name]);

    let run = on(&here, "WHERE=here").output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    let first = here.show("1");

    let seen = on(&there, "WHERE=there").show("1");
    assert_eq!(seen, first, "the other machine sees all that was recorded");
    assert!(!there.path().join(".dcd").exists(), "and has it not from its own journals");
    let log = on(&there, "WHERE=there").text(&["history", "logs", "1", "test"]);
    assert_eq!(log, "on here as build 1");

    // The numbers are one sequence.
    let run = on(&there, "WHERE=there").output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    for (workspace, own) in [(&here, 1), (&there, 2)] {
        let text = on(workspace, "WHERE=any").text(&["history", "list", "--json"]);
        let list: Vec<Value> = serde_json::from_str(&text).unwrap();
        let numbers: Vec<_> = list.iter().map(|build| build["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [2, 1]);
        assert!(list.iter().all(|build| build["outcome"] == "success"), "{text}");
        assert!(list.iter().all(|build| build["commit"].is_string()), "{text}");
        let local = workspace.dcd(&["history", "list", "--local", "--json"]);
        let local: Vec<Value> = serde_json::from_str(&local).unwrap();
        assert_eq!(local.iter().map(|build| &build["number"]).collect::<Vec<_>>(), [&json!(own)]);
    }
    assert_eq!(on(&here, "WHERE=here").show("latest")["number"], 2);
}

#[test]
fn a_drive_that_is_not_there_costs_no_build() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({
        "history": { "uses": "history-dir", "with": { "path": "/builds" } },
        "plugins": { "history-dir": { "allow": { "fs": [{ "path": "/builds", "access": "rw" }] } } },
        "steps": [{ "name": "test", "run": "echo done" }],
    }));
    let run = team.dcd(&workspace).output(&["run"]);
    assert_eq!(run.status.code(), Some(4), "{}", both(&run));
    assert!(both(&run).contains("history-dir"), "{}", both(&run));
    let show = workspace.show("latest");
    assert_eq!((&show["outcome"], &show["number"]), (&json!("success"), &json!(null)));
}
