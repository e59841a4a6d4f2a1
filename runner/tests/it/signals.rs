//! Ctrl-C, and the signals that a container's engine sends.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use crate::support::Project;

/// Says that it started, says that it was asked to stop, and stops.
const POLITE: &str = "trap 'echo asked to stop; exit 5' TERM; sleep 50 & echo started; wait";
/// Says that it started, and does not stop.
const STUBBORN: &str = "trap '' TERM INT; echo started; while true; do sleep 0.05; done";

#[test]
fn one_ctrl_c_stops_the_build() {
    let project = Project::new().scripts(&[POLITE, "echo never"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    run.signal(Signal::INT);
    let run = run.finish();
    insta::assert_snapshot!(run.expect(130).out[run.out.find("> a").unwrap()..], @r#"
    > a
    [TIME] a | started
    SIGINT: stopping; once more stops at once
    [TIME] a | asked to stop
    !! a  cancellation, exit code 5, [TOOK]
    - b  skipped: the build was cancelled
    shop #1: cancellation in [TOOK]: a
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    let build = project.show("1");
    assert_eq!(build["outcome"], "cancellation");
    let steps = &build["steps"];
    assert_eq!((&steps[0]["outcome"], &steps[1]["outcome"]), (&json!("cancellation"), &json!("skip")));
    assert_eq!(steps[1]["reason"], "the build was cancelled");
}

#[test]
fn a_second_ctrl_c_kills() {
    let project = Project::new().scripts(&[STUBBORN]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    let started = Instant::now();
    run.signal(Signal::INT);
    run.wait_for("once more stops at once");
    run.signal(Signal::INT);
    let run = run.finish();
    run.expect(130);
    assert!(started.elapsed().as_secs() < 9, "the step's grace was not waited for");
    let attempt = &project.show("1")["steps"][0]["attempts"][0];
    assert_eq!((&attempt["signal"], &attempt["outcome"]), (&json!(9), &json!("cancellation")));
}

#[test]
fn an_engine_that_stops_the_container_is_heard() {
    let project = Project::new().scripts(&[POLITE]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    run.signal(Signal::TERM);
    run.finish().expect(143);
    assert_eq!(project.show("1")["outcome"], "cancellation");
}

#[test]
fn a_step_that_floods_can_be_stopped() {
    let project = Project::new().scripts(&["yes"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | y\n");
    run.signal(Signal::INT);
    run.finish().expect(130);
}

#[test]
fn a_step_that_floods_a_terminal_that_stands_still_can_be_stopped() {
    let project = Project::new().scripts(&["yes"]);
    let mut child = project.dcd(&["run"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Nobody reads: the pipes are full soon.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    // The second one kills the step; with the third, nobody wants to see the rest.
    while project.show("1")["steps"][0]["outcome"].is_null() {
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let _ = rustix::process::kill_process(pid, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_plugin_can_be_stopped() {
    let project = Project::new().plugin("fixture").pipeline(json!({ "steps": [
        { "name": "a", "uses": "fixture", "with": { "do": "loop" } },
    ] }));
    let run = project.spawn(&["run"]);
    run.wait_for("> a\n");
    run.signal(Signal::INT);
    run.wait_for("once more stops at once");
    run.signal(Signal::INT);
    run.finish().expect(130);
    assert_eq!(project.show("1")["steps"][0]["outcome"], "cancellation");
}
