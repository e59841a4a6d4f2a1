//! Steps that need others, several at a time, tried again, stopped.

use std::{fs, time::Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::Project;

/// Waits for another step to begin, and tells it so.
fn meet(me: &str, other: &str) -> String {
    format!("touch {me}; for i in $(seq 500); do test -e {other} && exit 0; sleep 0.02; done; exit 1")
}

fn outcomes(build: &Value) -> Vec<String> {
    let steps = build["steps"].as_array().unwrap();
    steps.iter().map(|step| format!("{}={}", step["name"], step["outcome"]).replace('"', "")).collect()
}

#[test]
fn steps_that_need_nothing_of_each_other_run_at_the_same_time() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "run": meet("a", "b"), "needs": [] },
        { "name": "b", "run": meet("b", "a"), "needs": [] },
        { "name": "c", "run": "test -e a && test -e b", "needs": ["a", "b"] },
    ] }));
    project.run(&["run", "--jobs", "2"]).expect(0);
    assert_eq!(outcomes(&project.show("1")), ["a=success", "b=success", "c=success"]);
}

#[test]
fn jobs_bound_how_many_run() {
    let alone = "mkdir alone && sleep 0.05 && rmdir alone";
    let step = |name: &str| json!({ "name": name, "run": alone, "needs": [] });
    let steps = ["a", "b", "c", "d"].map(step);
    let project = Project::new().pipeline(json!({ "steps": steps }));
    project.run(&["run", "--jobs", "1"]).expect(0);
}

#[test]
fn independent_branches_go_on_after_a_failure_and_fail_fast_stops_them() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "bad", "run": "for i in $(seq 500); do test -e started && exit 7; sleep 0.02; done", "needs": [] },
        { "name": "slow", "run": "touch started; sleep \"${SLOW:-0.3}\"", "needs": [] },
        { "name": "after", "run": "true", "needs": ["slow"] },
        { "name": "never", "run": "true", "needs": ["bad"] },
        { "name": "tidy", "run": "true", "needs": ["bad"], "if": "always()" },
    ] }));
    project.run(&["run", "--jobs", "2"]).expect(1);
    let build = project.show("1");
    assert_eq!(
        outcomes(&build),
        ["bad=failure", "slow=success", "after=success", "never=skip", "tidy=success"]
    );
    assert_eq!(build["steps"][3]["reason"], "step `bad` ended in failure");

    fs::remove_file(project.path().join("started")).unwrap();
    let project = project.env("SLOW", "60");
    let started = Instant::now();
    project.run(&["run", "--jobs", "2", "--fail-fast"]).expect(1);
    assert!(started.elapsed().as_secs() < 50, "the slow step was stopped");
    let build = project.show("2");
    assert_eq!(
        outcomes(&build),
        ["bad=failure", "slow=cancellation", "after=skip", "never=skip", "tidy=success"]
    );
    assert_eq!(build["outcome"], "failure");
}

#[test]
fn a_step_is_tried_again_and_each_attempt_is_kept() {
    let project = Project::new().pipeline(json!({ "steps": [{
        "name": "a",
        "run": "echo try $DCD_ATTEMPT; test $DCD_ATTEMPT = 3",
        "retry": { "attempts": 3, "delay": "10ms", "backoff": 2 },
    }] }));
    project.run(&["run"]).expect(0);
    let step = &project.show("1")["steps"][0];
    let attempts: Vec<_> = step["attempts"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(attempts, ["failure", "failure", "success"]);
    assert_eq!(step["outcome"], "success");
    assert_eq!(project.logs(&["latest"]), b"try 1\ntry 2\ntry 3\n");
}

#[test]
fn a_build_that_takes_too_long_is_stopped_and_tidied_up() {
    let project = Project::new().pipeline(json!({ "timeout": "300ms", "steps": [
        { "name": "slow", "run": "sleep 60" },
        { "name": "next", "run": "true" },
        { "name": "tidy", "run": "touch tidied", "if": "cancelled()" },
    ] }));
    project.run(&["run"]).expect(124);
    assert!(project.path().join("tidied").exists());
    let build = project.show("1");
    assert_eq!(outcomes(&build), ["slow=timeout", "next=skip", "tidy=success"]);
    assert_eq!(build["outcome"], "timeout");
    assert_eq!(build["reason"], "the build took longer than its timeout of 300ms");
}

#[test]
fn a_signal_stops_all_that_run_and_what_tidies_up_still_runs() {
    let waits =
        |name: &str| json!({ "name": name, "run": format!("echo {name} runs; sleep 60"), "needs": [] });
    let project = Project::new().pipeline(json!({ "steps": [
        waits("one"),
        waits("two"),
        { "name": "tidy", "run": "touch tidied", "needs": ["one", "two"], "if": "always()" },
        { "name": "last", "run": "touch never" },
    ] }));
    let run = project.spawn(&["run", "--jobs", "2"]);
    run.wait_for("one runs");
    run.wait_for("two runs");
    run.signal(Signal::INT);
    run.finish().expect(130);
    assert_eq!(
        outcomes(&project.show("1")),
        ["one=cancellation", "two=cancellation", "tidy=success", "last=skip"]
    );
    assert!(project.path().join("tidied").exists() && !project.path().join("never").exists());
}
