//! How a container ends, and what PID 1 owes to the processes in it.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::engine::{both, docker, output};
use crate::team::Team;
use crate::workspace::Workspace;

/// `docker stop` waits this long before it kills; the tests expect an end long before.
const STOP: [&str; 3] = ["stop", "-t", "40"];
/// More than a step's grace would be a sign that nobody listened.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn stopping_the_container_ends_the_step_with_grace() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({
        "steps": [
            { "name": "long", "run": "trap 'echo put away; exit 0' TERM; touch ready; sleep 60 & wait || :" },
            { "name": "never", "run": "touch ran" },
        ],
    }));
    let running = team.dcd(&workspace).start(&["run"]);
    workspace.wait_for("ready");
    let since = Instant::now();
    output(&[&STOP[..], &[&running.id()]].concat());
    let run = running.wait();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert_eq!(run.status.code(), Some(143), "{}", both(&run));

    let show = workspace.show("latest");
    assert_eq!(show["outcome"], "cancellation");
    assert_eq!(show["steps"][0]["outcome"], "cancellation");
    assert_eq!(workspace.log("latest", "long"), "put away");
    assert_eq!(show["steps"][1]["outcome"], "skip");
    assert!(!workspace.path().join("ran").exists());
}

/// PID 1 is not ended by a signal that it does not handle: then `docker stop` would have to kill it.
#[test]
fn stopping_the_container_before_the_first_step_ends_it() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "touch ran; sleep 60" }] }));
    // An engine that takes a question and never answers: the facts take some seconds.
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (asked, heard) = std::sync::mpsc::channel();
    thread::spawn(move || listener.incoming().for_each(|stream| asked.send(stream).unwrap_or_default()));
    let mount = format!("{}:/engine", socket.display());
    let running =
        team.dcd(&workspace).with(&["-v", &mount, "-e", "DOCKER_HOST=unix:///engine"]).start(&["run"]);
    let _question = heard.recv_timeout(Duration::from_mins(1)).unwrap();
    let since = Instant::now();
    output(&[&STOP[..], &[&running.id()]].concat());
    let run = running.wait();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert_eq!(run.status.code(), Some(143), "{}", both(&run));
    assert!(!workspace.path().join("ran").exists());
}

#[test]
fn a_killed_container_leaves_a_build_that_says_so() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({
        "steps": [
            { "name": "quick", "run": "echo kept" },
            { "name": "long", "run": "echo kept, too; touch ready; sleep 60" },
            { "name": "never", "run": "true" },
        ],
    }));
    let running = team.dcd(&workspace).start(&["run"]);
    workspace.wait_for("ready");
    let show = team.dcd(&workspace).show("latest");
    assert_eq!((&show["outcome"], &show["finished_at"]), (&json!(null), &json!(null)), "it runs");
    output(&["kill", &running.id()]);
    let run = running.wait();
    assert_eq!(run.status.code(), Some(137), "{}", both(&run));

    let show = team.dcd(&workspace).show("latest");
    assert_eq!((&show["outcome"], &show["reason"]), (&json!("error"), &json!("runner lost")));
    let outcomes: Vec<_> = show["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, ["success", "error", "skip"]);
    assert!(show["facts"]["container"]["id"].is_string(), "what was known before is still known");
    assert_eq!(team.dcd(&workspace).text(&["history", "logs", "latest"]), "kept\nkept, too");
    assert!(team.dcd(&workspace).text(&["history", "list"]).contains("runner lost"));
    assert!(team.dcd(&workspace).text(&["history", "show"]).contains("runner lost"));
    // And the next build is an ordinary one.
    std::fs::write(workspace.path().join("next.json"), r#"{"steps": [{"name": "a", "run": "true"}]}"#)
        .unwrap();
    team.dcd(&workspace).text(&["run", "next.json"]);
    assert_eq!(workspace.show("latest")["number"], 2);
}

#[test]
fn orphans_are_collected() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({
        "steps": [
            { "name": "daemon", "run": "( sleep 0.5 >/dev/null 2>&1 & echo $! >orphan )" },
            { "name": "adopted", "run": "grep '^PPid:' /proc/$(cat orphan)/status" },
            // A dead process has its entry until its parent has collected it.
            { "name": "collected", "run": "while [ -e /proc/$(cat orphan) ]; do sleep 0.05; done", "timeout": "10s" },
            { "name": "many", "run": "i=0; while [ $i -lt 200 ]; do ( sleep 0.01 >/dev/null 2>&1 & ); i=$((i + 1)); done" },
            { "name": "zombies", "run": "sleep 1; if grep -l '^State:.Z' /proc/[0-9]*/status; then exit 1; fi" },
        ],
    }));
    let run = team.dcd(&workspace).output(&["run"]);
    assert!(run.status.success(), "{}", both(&run));
    assert_eq!(workspace.log("1", "adopted"), "PPid:\t1");
}

#[test]
fn no_container_of_a_finished_run_is_left() {
    let Some(team) = Team::build() else { return };
    let workspace = Workspace::new(&json!({ "steps": [{ "name": "test", "run": "( sleep 300 & )" }] }));
    let since = Instant::now();
    let running = team.dcd(&workspace).start(&["run"]);
    let id = running.id();
    let run = running.wait();
    // What a step leaves behind holds neither the build nor the container.
    assert!(run.status.success() && since.elapsed() < Duration::from_mins(1), "{}", both(&run));
    assert!(!docker(&["inspect", &id]).status.success());
    assert_eq!(workspace.show("1")["steps"][0]["attempts"][0]["leaked"], true);
}
