//! What a build requires before its first step, and what it waits for.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::Project;

#[test]
fn what_is_required() {
    let require = |require: serde_json::Value| {
        Project::new()
            .pipeline(json!({ "require": require, "steps": [{ "name": "a", "run": "true" }] }))
            .git()
    };
    let project = require(json!({ "git": ["clean", "branch:main"] }));
    project.run(&["run"]).expect(0);
    project.write("new", "");
    insta::assert_snapshot!(project.run(&["run"]).expect(3).err, @r#"
    error: the pipeline requires a clean work tree, and this one has changes that are not committed
    help: see `require` in the pipeline file; nothing was run
    "#);
    let project = require(json!({ "git": ["pushed", "branch:release/*"], "docker": true }));
    insta::assert_snapshot!(project.run(&["run"]).expect(3).err, @r#"
    error: the pipeline requires
      pushed commits, which cannot be told: The branch main has no upstream: `git branch -u` sets one
      the branch release/*, and this is main
      its own container to be known: There is no Docker socket at [ROOT]/no.sock: run the container with -v [ROOT]/no.sock:[ROOT]/no.sock
    help: see `require` in the pipeline file; nothing was run
    "#);
    assert!(project.journals().is_empty(), "nothing was run");
}

#[test]
fn a_required_history_that_does_not_answer() {
    // Its directory cannot be made: a file stands in the way.
    let project = Project::new()
        .file("history", "")
        .granted("history-dir", &json!({ "fs": [{ "path": "history", "access": "rw" }] }));
    let project = project.pipeline(json!({
        "require": { "history": true },
        "history": { "uses": "history-dir", "with": { "path": "history/builds" } },
        "steps": [{ "name": "a", "run": "touch ran" }],
    }));
    let run = project.run(&["run"]);
    run.expect(3);
    assert!(!project.path().join("ran").exists());
    let build = project.json(&["history", "show", "latest", "--local", "--json"]);
    assert_eq!(build["outcome"], "error");
    assert!(build["reason"].as_str().unwrap().contains("history backend"), "{build:#}");
    assert_eq!(build["steps"][0]["outcome"], "skip");
}

fn locked(name: &str, wait: &str) -> serde_json::Value {
    json!({
        "lock": { "name": format!("deploy-${{{{ params.to }}}}{name}"), "wait": wait },
        "params": { "to": { "default": "prod" } },
        "steps": [{
            "name": "a",
            "run": "echo begin >>log; touch here.$DCD_BUILD_NUMBER; while test ! -e go.$DCD_BUILD_NUMBER; do sleep 0.05; done; echo end >>log",
        }],
    })
}

#[test]
fn builds_with_the_same_lock_run_one_after_the_other() {
    let project = Project::new().pipeline(locked("", "1m"));
    let first = project.spawn(&["run"]);
    first.wait_for("#1");
    while !project.path().join("here.1").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let second = project.spawn(&["run"]);
    second.wait_for("deploy-prod");
    // Another target has another lock.
    project.write("go.3", "");
    project.run(&["run", "--param", "to=staging"]).expect(0);
    project.write("go.2", "");
    project.write("go.1", "");
    first.finish().expect(0);
    let second = second.finish();
    second.expect(0);
    assert!(second.out.contains("shop #1 of ada@example.com"), "{}", second.out);
    assert_eq!(
        fs::read_to_string(project.path().join("log")).unwrap(),
        "begin\nbegin\nend\nend\nbegin\nend\n",
        "the third beside the first, the second after it"
    );
}

#[test]
fn a_lock_is_waited_for_as_long_as_is_said_and_a_signal_ends_the_wait() {
    let project = Project::new().pipeline(locked("", "300ms"));
    let first = project.spawn(&["run"]);
    while !project.path().join("here.1").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let late = project.run(&["run"]);
    late.expect(3);
    let build = project.show("2");
    let reason = build["reason"].as_str().unwrap();
    assert!(reason.contains("the lock `deploy-prod` was not free within 300ms: shop #1 of"), "{reason}");
    assert!(
        late.out.contains("the lock `deploy-prod` was not free within [TOOK]: shop #1 of"),
        "{}",
        late.out
    );

    let project = project.pipeline(locked("", "1m"));
    let waiting = project.spawn(&["run"]);
    waiting.wait_for("deploy-prod");
    waiting.signal(Signal::INT);
    assert_eq!(waiting.finish().code, 130);
    assert_eq!(project.show("3")["outcome"], "cancellation");
    first.signal(Signal::INT);
    first.finish().expect(130);
}

#[test]
fn a_lock_does_not_outlive_who_held_it() {
    let project = Project::new().pipeline(locked("", "1m"));
    let first = project.spawn(&["run"]);
    while !project.path().join("here.1").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    first.signal(Signal::KILL);
    first.finish().expect(137);
    // What the killed build was doing goes on, and the lock is about that.
    let second = project.spawn(&["run"]);
    second.wait_for("shop #1 of ada@example.com");
    assert!(!project.path().join("here.2").exists());
    project.write("go.2", "");
    project.write("go.1", "");
    second.finish().expect(0);
    assert_eq!(fs::read_to_string(project.path().join("log")).unwrap(), "begin\nend\nbegin\nend\n");
}

#[test]
fn a_process_that_is_left_behind_holds_no_lock() {
    let project = Project::new().pipeline(json!({
        "lock": "deploy",
        "steps": [{ "name": "a", "run": "setsid sleep 30 >&- 2>&- &" }],
    }));
    project.run(&["run"]).expect(0);
    project.run(&["run"]).expect(0);
}

#[test]
fn a_build_within_a_step_does_not_wait_for_the_lock_around_it() {
    let dcd = env!("CARGO_BIN_EXE_dcd");
    let project = Project::new().pipeline(json!({
        "lock": "deploy",
        "steps": [{ "name": "a", "run": format!("test -n \"${{INNER-}}\" || INNER=1 {dcd} run") }],
    }));
    let run = project.run(&["run"]);
    run.expect(1);
    assert!(run.out.contains("in a step of which this build runs"), "{}", run.out);
}
