//! What a history backend lacks is sent later, and every build gets an end that is true.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::{
    history_dir::{shared, sharing},
    support::Project,
};

/// The backend's directory goes away.
fn unplug(project: &Project) {
    fs::rename(shared(project), project.outside().join("unplugged")).unwrap();
}

fn plug(project: &Project) {
    fs::rename(project.outside().join("unplugged"), shared(project)).unwrap();
}

/// What another workspace sees: number, outcome and reason of each build, newest first.
fn seen(there: &Project) -> Vec<(u64, String, Option<String>)> {
    let list = there.json(&["history", "list", "--json"]);
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let row = |build: &serde_json::Value| {
        (build["number"].as_u64().unwrap(), text(&build["outcome"]).unwrap(), text(&build["reason"]))
    };
    list.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_build_that_the_backend_lacks_is_sent_on_demand() {
    let project = sharing(None, &["echo one"]);
    let there = sharing(Some(&project), &["true"]);
    unplug(&project);
    project.run(&["run"]).expect(4);
    let failed = project.run(&["history", "sync"]);
    assert!(failed.expect(4).out.starts_with("failed   [ID]: "), "{}", failed.out);
    plug(&project);
    assert_eq!(project.run(&["history", "sync"]).expect(0).out, "sent     shop #1  [ID]\n");
    assert_eq!(seen(&there), [(1, "success".to_owned(), None)]);
    assert_eq!(there.logs(&["1"]), b"one\n");
    assert_eq!(project.show("1")["number"], 1, "its number is known here, too");
    insta::assert_snapshot!(project.run(&["history", "sync"]).expect(0).out, @"history-dir has all builds of this workspace that were made with it");
}

#[test]
fn the_next_run_sends_what_is_left() {
    let project = sharing(None, &["echo $DCD_BUILD_ID"]);
    unplug(&project);
    project.run(&["run"]).expect(4);
    project.run(&["run"]).expect(4);
    plug(&project);
    let run = project.run(&["run"]);
    assert!(
        run.expect(0)
            .err
            .starts_with("note: The history backend lacked earlier builds and has them now: shop #"),
        "{}",
        run.err
    );
    let there = sharing(Some(&project), &["true"]);
    let numbers: Vec<_> = seen(&there).into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers.len(), 3);
    for number in 1..=3 {
        let id = there.show(&number.to_string())["id"].as_str().unwrap().to_owned();
        assert_eq!(there.logs(&[&id]), format!("{id}\n").into_bytes(), "nothing is mixed up");
    }
}

#[test]
fn a_build_whose_runner_was_killed_ends_as_what_it_was() {
    let project = sharing(None, &["echo before; exec sleep 60", "echo after"]);
    let run = project.spawn(&["run"]);
    run.wait_for("before");
    assert!(project.run(&["history", "sync"]).expect(0).out.starts_with("skipped  [ID]: it runs"));
    run.signal(Signal::KILL);
    drop(run);
    let sent = project.run(&["history", "sync"]);
    assert_eq!(sent.expect(0).out, "sent     shop #1  [ID]\n");
    let there = sharing(Some(&project), &["true"]);
    assert_eq!(seen(&there), [(1, "error".to_owned(), Some("runner lost".to_owned()))]);
    let build = there.show("1");
    let outcomes: Vec<_> = build["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, ["error", "skip"]);
    assert_eq!(build["steps"][0]["attempts"][0]["problem"]["message"], "runner lost");
    assert_eq!(there.logs(&["1"]), b"before\n");
    assert_eq!(project.show("1")["reason"], "runner lost", "here, too");
}

#[test]
fn builds_from_before_there_was_a_backend_are_sent_when_all_are_asked_for() {
    let project = sharing(None, &["echo one"]);
    let local = project.path().join("local.json");
    fs::write(
        &local,
        json!({ "component": "shop", "steps": [{ "name": "a", "run": "echo local" }] }).to_string(),
    )
    .unwrap();
    project.run(&["run", "local.json"]).expect(0);
    assert!(project.run(&["history", "sync"]).expect(0).out.contains("has all builds"));
    let sent = project.json(&["history", "sync", "--all", "--json"]);
    assert_eq!((&sent[0]["number"], &sent[0]["result"]), (&json!(1), &json!("sent")));
    let there = sharing(Some(&project), &["true"]);
    assert_eq!(there.logs(&["latest"]), b"local\n");
}

#[test]
fn without_a_backend_there_is_nothing_to_send_to() {
    let project = Project::new().scripts(&["echo one"]);
    insta::assert_snapshot!(project.run(&["history", "sync"]).expect(2).err, @r#"
    error: dcd.json names no history backend
    help: add one to the pipeline: "history": { "uses": …, "with": … }; see docs/history.md
    "#);
}
