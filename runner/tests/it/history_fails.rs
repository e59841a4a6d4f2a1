//! A history backend that fails, slowly or at once, stops no step and loses no build.

use std::time::Instant;

use serde_json::json;

use crate::support::{Output, Project};

fn project(fail: &str, kind: &str, after: u32) -> Project {
    let with = json!({ "fail": fail, "kind": kind, "after": after });
    // With all that it asks for, so that nobody thinks that it fails for the lack of it.
    Project::new().granted("fixture-history", &json!({ "secrets": ["NONE_*"] })).pipeline(json!({
        "history": { "uses": "fixture-history", "with": with },
        "steps": [{ "name": "a", "run": "echo one" }, { "name": "b", "run": "echo two" }],
    }))
}

/// The steps passed, the history was not written: what is said of that.
#[track_caller]
fn said(project: &Project, run: &Output) -> String {
    assert!(run.expect(4).out.contains("a | one\nok a") && run.out.contains("b | two\nok b"), "{}", run.out);
    let build = project.json(&["history", "show", "latest", "--local", "--json"]);
    assert_eq!(build["outcome"], "success");
    assert_eq!(project.logs(&["--local", "latest"]), b"one\ntwo\n", "the journal has it all");
    run.err.clone()
}

#[test]
fn what_is_denied_is_not_tried_again() {
    let mut all = String::new();
    for call in ["open", "begin", "append", "finish"] {
        let project = project(call, "denied", 0);
        let run = project.run(&["run"]);
        all.push_str(&format!("{call}:\n{}\n", said(&project, &run)));
    }
    insta::assert_snapshot!(all, @r#"
    open:
    warning: history backend fixture-history: plugin fixture-history: the fixture fails to open, as it was told (fixture/denied)
    The build runs on without a number; its journal keeps it meanwhile.
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to open, as it was told (fixture/denied)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    begin:
    warning: history backend fixture-history: plugin fixture-history: the fixture fails to begin, as it was told (fixture/denied)
    The build runs on without a number; its journal keeps it meanwhile.
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to begin, as it was told (fixture/denied)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    append:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to append, as it was told (fixture/denied)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    finish:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to finish, as it was told (fixture/denied)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync
    "#);
}

#[test]
fn what_may_pass_is_tried_until_patience_ends() {
    // All at once: each waits for most of the time.
    let mut runs = Vec::new();
    for call in ["open", "begin", "append", "finish"] {
        for kind in ["unavailable", "trap", "hang"] {
            let project = project(call, kind, 0);
            let run = project.spawn(&["run"]);
            runs.push((format!("{call} {kind}"), project, run));
        }
    }
    let started = Instant::now();
    let mut all = String::new();
    for (name, project, run) in runs {
        let run = run.finish();
        // What is said at the start depends on how busy this machine is.
        let said = said(&project, &run);
        all.push_str(&format!(
            "{name}:\n{}\n",
            &said[said.find("warning: history backend fixture-history does").unwrap()..]
        ));
    }
    insta::assert_snapshot!(all, @r#"
    open unavailable:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to open, as it was told (fixture/unavailable)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    open trap:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history failed in `open`: it trapped (`unreachable`), as a panic does
    help: what it printed last says why, if it panicked; report it to the plugin's author
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    open hang:
    warning: history backend fixture-history does not have the whole build: it took nothing for 20 s
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    begin unavailable:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to begin, as it was told (fixture/unavailable)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    begin trap:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history failed in `begin-build`: it trapped (`unreachable`), as a panic does
    help: what it printed last says why, if it panicked; report it to the plugin's author
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    begin hang:
    warning: history backend fixture-history does not have the whole build: it took nothing for 20 s
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    append unavailable:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to append, as it was told (fixture/unavailable)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    append trap:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history failed in `append`: it trapped (`unreachable`), as a panic does
    help: what it printed last says why, if it panicked; report it to the plugin's author
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    append hang:
    warning: history backend fixture-history does not have the whole build: it took nothing for 20 s
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    finish unavailable:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history: the fixture fails to finish, as it was told (fixture/unavailable)
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    finish trap:
    warning: history backend fixture-history does not have the whole build: plugin fixture-history failed in `finish-build`: it trapped (`unreachable`), as a panic does
    help: what it printed last says why, if it panicked; report it to the plugin's author
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync

    finish hang:
    warning: history backend fixture-history does not have the whole build: it took nothing for 20 s
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync
    "#);
    // Five seconds for the number and twenty at the end, and this machine may be busy.
    assert!(started.elapsed().as_secs() < 55, "{:?}", started.elapsed());
}

#[test]
fn what_passes_in_time_is_no_failure() {
    let project = project("append", "trap", 1);
    let run = project.run(&["run"]);
    assert_eq!(run.expect(0).err, "");
    assert!(run.out.starts_with("shop #1  "));
}

#[test]
fn a_failure_of_the_steps_counts_first() {
    let project = Project::new().plugin("fixture-history").pipeline(json!({
        "history": { "uses": "fixture-history", "with": { "fail": "begin", "kind": "denied" } },
        "steps": [{ "name": "a", "run": "exit 1" }],
    }));
    project.run(&["run"]).expect(1);
}

#[test]
fn the_wait_at_the_end_can_be_ended() {
    let project = project("finish", "hang", 0);
    let mut run = project.spawn(&["run"]);
    run.wait_for("shop #1: success");
    // The signal may come before the wait: then the next one ends it.
    let started = Instant::now();
    while !run.has_ended() {
        run.interrupt();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
    let run = run.finish();
    insta::assert_snapshot!(said(&project, &run), @r#"
    warning: history backend fixture-history does not have the whole build: the wait for it was interrupted
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync
    "#);
}

#[test]
fn local_builds_are_shown_when_the_backend_is_down() {
    let project = project("open", "denied", 0);
    project.run(&["run"]).expect(4);
    let list = project.run(&["history", "list"]);
    assert_eq!(list.expect(0).out.lines().count(), 2);
    insta::assert_snapshot!(list.err, @"warning: only the builds of this workspace are looked at: plugin fixture-history: the fixture fails to open, as it was told (fixture/denied)");
    assert_eq!(project.run(&["history", "logs", "latest"]).expect(0).out, "one\ntwo\n");
}

#[test]
fn the_wait_at_the_end_is_as_long_as_is_said() {
    let project = project("finish", "hang", 0).env("DCD_HISTORY_WAIT", "1s");
    let started = Instant::now();
    let run = project.run(&["run"]);
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
    assert!(
        said(&project, &run).contains("does not have the whole build: it took nothing for 1 s"),
        "{}",
        run.err
    );
    let project = project.env("DCD_HISTORY_WAIT", "soon");
    let run = project.run(&["run"]);
    assert!(
        run.expect(2).err.starts_with("error: the variable DCD_HISTORY_WAIT is no duration: "),
        "{}",
        run.err
    );
    assert_eq!(project.journals().len(), 1, "nothing is begun");
}
