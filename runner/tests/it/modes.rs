//! The ways to show a build: on a terminal, in another CI's log, as events, as reports.

use std::{fs, os::unix::fs::MetadataExt, time::Instant};

use serde_json::{Value, json};

use crate::support::{Cleaner, Project, screen};

/// Runs `dcd run` on a terminal, for what it wrote there.
fn on_a_terminal(project: &Project, options: &str) -> (i32, String) {
    let command = format!("stty cols 200 rows 30; TERM=xterm \"$DCD_BIN\" run {options}");
    let run = project.shell(&format!("script -qec '{command}' /dev/null"));
    (run.code, String::from_utf8(run.stdout).unwrap())
}

fn clean(project: &Project, text: &str) -> String {
    let cleaner: Cleaner = project.cleaner();
    cleaner.clean(text)
}

#[test]
fn a_terminal_shows_what_ended_and_what_went_wrong() {
    let project =
        Project::new().scripts(&["for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done", "echo bad; exit 3"]);
    let (code, written) = on_a_terminal(&project, "");
    assert_eq!(code, 1, "{written}");
    for part in ["  | line 1", "0 of 2 steps, 1 running, 0s"] {
        assert!(written.contains(part), "{part} was drawn: {written}");
    }
    insta::assert_snapshot!(clean(&project, &screen(&written)), @r#"
    shop #1  [ID]
      image   unknown: There is no Docker socket at [ROOT]/no.sock: run the container with -v [ROOT]/no.sock:[ROOT]/no.sock.
      commit  none: There is no git repository at or above [ROOT]/shop.
    ok a  [TOOK]
    !! b  failure, exit code 3, [TOOK]
    -- what b printed
    bad
    shop #1: failure in [TOOK]: b
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
}

#[test]
fn a_flood_is_drawn_ten_times_a_second() {
    let project =
        Project::new().scripts(&["yes | head -c 50000000; printf '\\033[2J\\033]0;t\\007'; sleep 0.3"]);
    let started = Instant::now();
    let (code, written) = on_a_terminal(&project, "");
    let tenths = started.elapsed().as_millis() / 100;
    assert_eq!(code, 0);
    let frames = written.matches("\x1b[J").count();
    assert!(frames as u128 <= tenths + 5 && frames > 2, "{frames} frames in {tenths} tenths");
    assert!(!written.contains("\x1b[2J") && !written.contains("\x1b]"), "no step drives the terminal");
}

#[test]
fn live_needs_a_terminal() {
    let project = Project::new().scripts(&["echo hello > ran"]);
    let run = project.run(&["run", "--output", "live"]);
    insta::assert_snapshot!(run.expect(2).err, @r#"
    error: --output live needs a terminal, and standard output is none
    help: leave --output away, or say --output plain; a container has a terminal with docker run -t
    "#);
    assert!(!project.path().join("ran").exists());
    let (code, written) = on_a_terminal(&project, "--output plain");
    assert!(code == 0 && written.contains("> a\r\n"), "{written}");
}

#[test]
fn a_terminal_that_is_dumb_gets_lines() {
    let project = Project::new().scripts(&["echo hello"]);
    let run = project.shell("script -qec 'TERM=dumb \"$DCD_BIN\" run' /dev/null");
    assert!(run.expect(0).out.contains("[TIME] a | hello"), "{}", run.out);
    let run = project.shell("script -qec 'CI=true TERM=xterm \"$DCD_BIN\" run' /dev/null");
    assert!(run.expect(0).out.contains("[TIME] a | hello"), "{}", run.out);
}

#[test]
fn the_time_is_local() {
    let project = Project::new().scripts(&["date +%H; echo end"]).env("TZ", "Etc/GMT+11");
    let run = project.run(&["run"]);
    let out = String::from_utf8(run.stdout).unwrap();
    let (prefix, hour) = out.lines().find_map(|line| line.split_once(" a | ")).unwrap();
    assert_eq!(&prefix[..2], hour, "{out}");
}

#[test]
fn another_ci_gets_groups() {
    let project = Project::new().scripts(&["echo ::notice::hello", "exit 3"]).env("GITHUB_ACTIONS", "true");
    let run = project.run(&["run"]);
    let out = &run.expect(1).out;
    insta::assert_snapshot!(out[out.find("::group").unwrap()..], @r#"
    ::group::a
    ::notice::hello
    ::endgroup::
    ok a  [TOOK]
    ::group::b
    ::endgroup::
    !! b  failure, exit code 3, [TOOK]
    ::error title=b::failure, exit code 3, [TOOK]
    shop #1: failure in [TOOK]: b
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    // Groups do not nest, and whoever asks for lines gets lines.
    let plain = project.run(&["run", "--output", "plain"]);
    assert!(!plain.out.contains("::group"), "{}", plain.out);
    let project = project.scripts(&["\"$DCD_BIN\" run inner.json"]).env("DCD_BIN", env!("CARGO_BIN_EXE_dcd"));
    let inner = json!({ "steps": [{ "name": "inner", "run": "echo hello" }] });
    let project = project.file("inner.json", inner.to_string());
    let run = project.run(&["run"]);
    assert_eq!(run.expect(0).out.matches("::group").count(), 1, "{}", run.out);
}

#[test]
fn events_are_all_there_is_on_standard_output() {
    let project = Project::new().scripts(&["printf 'a\\n\\377'", "exit 1"]);
    let run = project.run(&["run", "--output", "json"]);
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("build.started", "build.finished"));
    let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "{seqs:?}");
    let output: Vec<_> = events.iter().filter(|event| event["kind"] == "step.output").collect();
    assert_eq!((&output[0]["text"], &output[1]["base64"]), (&json!("a\n"), &json!("/w==")), "{output:?}");
    assert_eq!(events[events.len() - 1]["payload"]["outcome"], "failure");
}

#[test]
fn reports_are_written_however_the_build_ends() {
    let project = Project::new().scripts(&["echo bad; exit 3", "true"]);
    let run = project.run(&["run", "--report", "junit=out/deep/r.xml", "--report", "json=r.json"]);
    assert_eq!(run.expect(1).err, "");
    let read = |file: &str| fs::read_to_string(project.path().join(file)).unwrap();
    let report: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(report, project.show("1"), "the history's document");
    let junit = read("out/deep/r.xml");
    for part in [
        "<testsuites name=\"shop\" tests=\"2\" skipped=\"1\" failures=\"1\" errors=\"0\"",
        "<failure message=\"failure, exit code 3, ",
        "<system-out>bad\n</system-out>",
        "<skipped message=\"step `a` ended in failure\"",
    ] {
        assert!(junit.contains(part), "{part}: {junit}");
    }
}

#[test]
fn a_cancelled_build_has_its_report() {
    let project = Project::new().scripts(&["echo started; sleep 50"]);
    let run = project.spawn(&["run", "--report", "json=r.json"]);
    run.wait_for(" a | started\n");
    run.interrupt();
    run.finish().expect(130);
    let report = fs::read(project.path().join("r.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(
        (&report["outcome"], &report["steps"][0]["outcome"]),
        (&json!("cancellation"), &json!("cancellation"))
    );
}

#[test]
fn a_report_that_cannot_be_written_is_no_success() {
    let project = Project::new().scripts(&["true"]).file("file", "");
    let run = project.run(&["run", "--report", "json=file/r.json"]);
    insta::assert_snapshot!(run.expect(3).err, @"warning: the report [ROOT]/shop/file/r.json cannot be written: Not a directory (os error 20)");
    assert_eq!(project.show("1")["outcome"], "success");
    let project = project.scripts(&["exit 1"]);
    project.run(&["run", "--report", "json=file/r.json"]).expect(1);
}

#[test]
fn a_report_that_dcd_does_not_know() {
    let project = Project::new().scripts(&["true"]);
    insta::assert_snapshot!(project.run(&["run", "--report", "html=r.html"]).expect(2).err, @r#"
    error: invalid value 'html=r.html' for '--report <KIND=FILE>': it is junit=FILE or json=FILE

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(project.run(&["run", "--report", "junit"]).expect(2).err, @r#"
    error: invalid value 'junit' for '--report <KIND=FILE>': say where to: junit=FILE

    For more information, try '--help'.
    "#);
}

#[test]
fn reports_belong_to_the_workspaces_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let project = Project::new().scripts(&["true"]);
    let nobody = Some(65534);
    std::os::unix::fs::chown(project.path(), nobody, nobody).unwrap();
    project.run(&["run", "--report", "json=out/r.json"]).expect(0);
    for file in ["out", "out/r.json"] {
        assert_eq!(fs::metadata(project.path().join(file)).unwrap().uid(), 65534, "{file}");
    }
}

#[test]
fn one_attempt_can_be_read() {
    let project = Project::new().scripts(&["echo hello"]);
    project.run(&["run"]).expect(0);
    assert_eq!(project.logs(&["1", "a", "--attempt", "1"]), b"hello\n");
    let run = project.run(&["history", "logs", "1", "a", "--attempt", "2"]);
    insta::assert_snapshot!(run.expect(2).err, @r#"
    error: there is no attempt 2 of the step `a`
    help: it had 1 attempt; without --attempt you get all of them
    "#);
    project.run(&["history", "logs", "1", "--attempt", "1"]).expect(2);
}
