//! Ctrl-C, and the signals that a container's engine sends.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::support::{Project, Running};

const DCD: &str = env!("CARGO_BIN_EXE_dcd");

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

/// A new process has none of dcd's handlers any more when a signal may come to it: `exec/fledgling.rs` lists them.
#[test]
fn only_the_signals_that_new_processes_forget_are_handled() {
    let forgotten = [
        Signal::HUP,
        Signal::INT,
        Signal::ILL,
        Signal::BUS,
        Signal::FPE,
        Signal::SEGV,
        Signal::PIPE,
        Signal::TERM,
        Signal::CHILD,
    ];
    let project = Project::new().granted("fixture", &json!({})).pipeline(json!({ "steps": [
        { "name": "plugin", "uses": "fixture", "with": { "do": "echo", "text": "wasmtime was here" } },
        { "name": "shell", "run": "grep SigCgt /proc/$PPID/status" },
    ] }));
    project.run(&["run"]).expect(0);
    assert!(
        project.in_terminal(&format!("exec {DCD} run")).stdout(Stdio::null()).status().unwrap().success()
    );
    for build in ["1", "2"] {
        let said = String::from_utf8(project.logs(&[build, "shell"])).unwrap();
        let handled = u64::from_str_radix(said.strip_prefix("SigCgt:").unwrap().trim(), 16).unwrap();
        let signals = |handled: u64| (1..=64).filter(move |signal| handled & (1 << (signal - 1)) != 0);
        let is_forgotten = |signal: &i32| forgotten.iter().any(|other| other.as_raw() == *signal);
        // wasmtime handles FPE only where a division traps.
        let expected = forgotten.len() - 1 - usize::from(cfg!(target_arch = "aarch64"));
        assert_eq!(signals(handled).filter(is_forgotten).count(), expected, "all but PIPE: {handled:x}");
        // Those from 32 to 34 are the C library's own, for its threads.
        let others: Vec<_> =
            signals(handled).filter(|signal| !is_forgotten(signal) && !(32..=34).contains(signal)).collect();
        assert_eq!(others, [0; 0], "in build {build}");
    }
}

#[test]
fn a_step_can_end_by_a_signal_that_has_no_name() {
    let project = Project::new().scripts(&["kill -40 $$"]);
    project.run(&["run"]).expect(1);
    let attempt = &project.show("1")["steps"][0]["attempts"][0];
    assert_eq!((&attempt["signal"], &attempt["outcome"]), (&json!(40), &json!("failure")));
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

#[test]
fn a_reader_that_goes_ends_nothing() {
    let project = Project::new().scripts(&["echo one; sleep 0.3; seq 20000", "touch ran"]);
    let run = project.shell("\"$DCD_BIN\" run | head -n 3 >head; cat head");
    assert!(run.expect(0).out.contains("shop #1"), "{}", run.out);
    // Nobody reads what the steps print any more, but they go on, and it is kept.
    assert_eq!(project.show("1")["outcome"], "success");
    assert!(project.path().join("ran").exists());
    assert!(project.logs(&["1", "a"]).ends_with(b"\n20000\n"));
}

#[test]
fn a_terminal_that_is_closed_stops_the_build() {
    let project = Project::new()
        .scripts(&["trap 'sleep 0.2; touch put-away; exit 5' TERM; touch started; sleep 50 & wait"]);
    let mut terminal = project.in_terminal(&format!("exec {DCD} run")).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the step runs", || project.path().join("started").exists());
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait_until("the build ends", || !project.show("1")["finished_at"].is_null());
    let build = project.show("1");
    assert_eq!(build["outcome"], "cancellation");
    assert!(project.path().join("put-away").exists(), "with grace");
}

#[test]
fn keys_in_a_terminal_stop_the_build() {
    let project =
        Project::new().scripts(&["trap '' TERM INT; touch started; while true; do sleep 0.05; done"]);
    let mut running = project.in_terminal(&format!("exec {DCD} run")).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = running.stdin.take().unwrap();
    let read = std::thread::spawn(move || running.wait_with_output().unwrap());
    wait_until("the step runs", || project.path().join("started").exists());
    let started = Instant::now();
    keys.write_all(b"\x03").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    keys.write_all(b"\x03").unwrap();
    let output = read.join().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(started.elapsed().as_secs() < 9, "the step's grace was not waited for");
    assert_eq!(project.show("1")["steps"][0]["attempts"][0]["signal"], 9);
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed().as_secs() < 30, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `dcd run` as the first process of a process namespace, as in a container. `None` where that is not permitted;
/// `tests/e2e` does it in containers.
fn first_process(project: &Project) -> Option<Running> {
    let namespace = ["--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let permitted = Command::new("unshare").args(namespace).arg("true").output().unwrap().status.success();
    if !permitted {
        return None;
    }
    let dcd = project.dcd(&["run"]);
    let mut command = Command::new("unshare");
    let environment = dcd.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.args(namespace).arg(dcd.get_program()).args(dcd.get_args()).env_clear().envs(environment);
    command.current_dir(project.path()).stdin(Stdio::null());
    Some(Running::start(command, project.cleaner()))
}

#[test]
fn as_the_first_process_it_stops_with_grace() {
    let project = Project::new().scripts(&[POLITE]);
    let Some(run) = first_process(&project) else { return };
    run.wait_for("started\n");
    // `unshare` itself does not pass signals on.
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    let children = std::fs::read_to_string(children).unwrap();
    let first: i32 = children.trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
    let run = run.finish();
    assert!(run.expect(143).out.contains("asked to stop\n"), "{}", run.out);
    assert_eq!(project.show("1")["steps"][0]["attempts"][0]["exit_code"], 5);
}

#[test]
fn as_the_first_process_it_collects_orphans() {
    let project = Project::new().scripts(&[
        "( setsid sleep 0.3 >/dev/null 2>&1 & echo $! >orphan )",
        "grep '^PPid:' /proc/$(cat orphan)/status",
        // A dead process has its entry until its parent has collected it.
        "while [ -e /proc/$(cat orphan) ]; do sleep 0.02; done",
        "i=0; while [ $i -lt 200 ]; do ( sleep 0.01 >/dev/null 2>&1 & ); i=$((i + 1)); done; sleep 0.5",
        "if grep -l '^State:.Z' /proc/[0-9]*/status; then exit 1; fi",
    ]);
    let Some(run) = first_process(&project) else { return };
    run.finish().expect(0);
    assert_eq!(project.logs(&["1", "b"]), b"PPid:\t1\n");
}
