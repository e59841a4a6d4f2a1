//! Plugins that misbehave end their step, and nothing else.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Output, Project, Running};

/// Runs a step for each of these, named by what it does, and a shell step behind them.
fn run(project: Project, steps: &[Value]) -> (Project, Output) {
    let step = |with: &Value| json!({ "name": with["do"], "uses": "fixture", "with": with, "continue_on_error": true });
    let mut steps: Vec<_> = steps.iter().map(step).collect();
    steps.push(json!({ "name": "after", "run": "echo still here" }));
    let project = project.pipeline(json!({ "steps": steps }));
    let output = project.run(&["run"]);
    assert!(output.expect(0).out.contains("> after\n[TIME] after | still here\nok after"), "{}", output.out);
    (project, output)
}

/// The outcomes by step, but for the shell step's.
fn outcomes(project: &Project) -> BTreeMap<String, String> {
    let steps = project.show("1")["steps"].as_array().unwrap().clone();
    let of = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    steps
        .iter()
        .map(|step| (of(step, "name"), of(step, "outcome")))
        .filter(|(name, _)| name != "after")
        .collect()
}

/// What is shown between the header and the shell step.
fn shown(output: &Output) -> String {
    let out = &output.out;
    let shown = &out[out.find("\n> ").unwrap() + 1..out.find("> after").unwrap()];
    // Where in its source the fixture panics is its own matter.
    let kept = shown
        .lines()
        .filter(|line| !line.contains("misdeed.rs"))
        .map(|line| format!("{}\n", line.trim_end()));
    kept.collect()
}

#[test]
fn what_breaks_is_an_error_of_its_step() {
    let (project, output) = run(
        Project::new().plugin("fixture"),
        &[
            json!({ "do": "trap" }),
            json!({ "do": "panic" }),
            json!({ "do": "exit", "code": 0 }),
            json!({ "do": "recurse" }),
            json!({ "do": "garbage_output" }),
        ],
    );
    insta::assert_snapshot!(shown(&output), @r#"
    > trap
      plugin fixture failed in `run`: it trapped (`unreachable`), as a panic does
      help: what it printed last says why, if it panicked; report it to the plugin's author
    !! trap  error, [TOOK]; the build goes on
    > panic
    [TIME] panic |
    [TIME] panic | the fixture panics, as it was told
    [TIME] panic | note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
      help: report it to the plugin's author
    !! panic  error, [TOOK]; the build goes on
    > exit
      plugin fixture failed in `run`: it ended itself with `exit` instead of giving an answer
      help: report it to the plugin's author
    !! exit  error, [TOOK]; the build goes on
    > recurse
      plugin fixture failed in `run`: it reached outside its memory: most likely it used up its stack, as an endless recursion does
      help: report it to the plugin's author
    !! recurse  error, [TOOK]; the build goes on
    > garbage_output
      plugin fixture gave an output `garbage` that is not JSON: expected value at line 1 column 9
      help: report this to the plugin's author
    !! garbage_output  error, [TOOK]; the build goes on
    "#);
    assert!(outcomes(&project).values().all(|outcome| outcome == "error"), "{:?}", outcomes(&project));
}

#[test]
fn memory_is_limited() {
    let (project, output) = run(Project::new().plugin("fixture"), &[json!({ "do": "allocate" })]);
    insta::assert_snapshot!(shown(&output), @r#"
    > allocate
      plugin fixture failed in `run`: it used more than its limit of 256MiB of memory
      help: if it needs more, raise the limit: "plugins": {"fixture": {"limits": {"memory": "512MiB"}}}
    !! allocate  error, [TOOK]; the build goes on
    "#);
    assert_eq!(outcomes(&project)["allocate"], "error");
}

#[test]
fn what_says_no_is_a_failure() {
    let (project, output) = run(Project::new().plugin("fixture"), &[json!({ "do": "fail" })]);
    insta::assert_snapshot!(shown(&output), @r#"
    > fail
      the fixture fails, as it was told (fixture/fail)
      help: tell it something else
    !! fail  failure, [TOOK]; the build goes on
    "#);
    assert_eq!(outcomes(&project)["fail"], "failure");
    let problem = &project.show("1")["steps"][0]["attempts"][0]["problem"];
    assert_eq!(problem["help"], "tell it something else");
}

#[test]
fn time_is_limited_also_for_what_never_calls_the_host() {
    let with_timeout = |with: Value| {
        Project::new().plugin("fixture").pipeline(json!({ "steps": [
            { "name": "slow", "uses": "fixture", "with": with, "timeout": "100ms", "continue_on_error": true },
            { "name": "after", "run": "echo still here" },
        ] }))
    };
    // At the same time: both take their grace of ten seconds.
    let projects = [json!({ "do": "loop" }), json!({ "do": "sleep", "ms": 100_000 })].map(with_timeout);
    let runs = projects.each_ref().map(|project| project.spawn(&["run"]));
    let outputs = runs.map(Running::finish);
    for (project, output) in projects.iter().zip(&outputs) {
        assert!(output.expect(0).out.contains("still here"));
        assert_eq!(outcomes(project)["slow"], "timeout");
    }
    assert_eq!(shown(&outputs[0]), shown(&outputs[1]));
    insta::assert_snapshot!(shown(&outputs[0]), @r#"
    > slow
      the step took longer than its timeout of [TOOK]
      help: find out what it waits for, or give it more time with `timeout`
    !! slow  timeout, [TOOK]; the build goes on
    "#);
}

#[test]
fn a_flood_is_kept_whole() {
    let (project, _) = run(Project::new().plugin("fixture"), &[json!({ "do": "flood", "bytes": 5_000_000 })]);
    let logs = project.logs(&["1", "flood"]);
    assert_eq!(logs.len(), 5_000_000);
    assert!(logs.chunks(64).all(|line| line.len() < 64 || line.ends_with(b"bytes...\n")));
    assert_eq!(project.show("1")["steps"][0]["outputs"]["bytes"], 5_000_000);
}

#[test]
fn what_a_plugin_says_drives_no_terminal() {
    let (project, output) = run(
        Project::new().plugin("fixture"),
        &[json!({ "do": "log" }), json!({ "do": "stderr", "text": "\u{1b}]0;title\u{7}\u{9b}31m" })],
    );
    insta::assert_snapshot!(shown(&output), @r#"
    > log
    [TIME] log | [info] logged at Info with \x1b[31mred\x1b[0m and \x07 a bell colour=\x1b[31mred\x1b[0m plain=value
    [TIME] log | [warn] logged at Warn with \x1b[31mred\x1b[0m and \x07 a bell colour=\x1b[31mred\x1b[0m plain=value
    [TIME] log | [error] logged at Error with \x1b[31mred\x1b[0m and \x07 a bell colour=\x1b[31mred\x1b[0m plain=value
    ok log  [TOOK]
    > stderr
    [TIME] stderr | \x1b]0;title\x07\u{9b}31m
    ok stderr  [TOOK]
    "#);
    assert!(!output.stdout.contains(&0x1b));
    assert_eq!(project.logs(&["1", "stderr"]), "\u{1b}]0;title\u{7}\u{9b}31m\n".as_bytes(), "kept as it was");
}

#[test]
fn a_step_type_is_told_of_its_build() {
    let (project, output) =
        run(Project::new().plugin("fixture"), &[json!({ "do": "echo", "text": "hello" })]);
    assert!(
        output.out.contains("> echo\n[TIME] echo | hello\n[TIME] echo | workspace [ROOT]/shop\n[TIME] echo | build [ID]\n[TIME] echo | step echo\nok echo"),
        "{}",
        output.out
    );
    let build = project.show("1");
    let (outputs, id) = (&build["steps"][0]["outputs"], &build["id"]);
    assert_eq!(outputs["workspace"], project.path().to_str().unwrap());
    assert_eq!((&outputs["build_id"], &outputs["build_number"]), (id, &json!(1)));
    assert_eq!((&outputs["component"], &outputs["attempt"]), (&json!("shop"), &json!(1)));
    assert_eq!(outputs["facts"]["dcd_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(build["steps"][0]["summary"], "hello");
    let page = project.run(&["history", "show", "1"]).out;
    assert!(page.contains("text = \"hello\""), "{page}");
}

#[test]
fn validate_runs_nothing() {
    let project = Project::new().granted("fixture", &json!({ "fs": [{ "path": ".", "access": "rw" }] }));
    let with = json!({ "do": "write_file", "path": "x", "text": "x" });
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "uses": "fixture", "with": with }] }));
    insta::assert_snapshot!(project.run(&["validate"]).expect(0).out, @"dcd.json is valid: 1 step, 1 plugin");
    assert!(!project.path().join("x").exists() && !project.path().join(".dcd").exists());
}

#[test]
fn a_plugin_that_is_to_stop_is_told_so() {
    let project = Project::new().plugin("fixture").pipeline(json!({ "steps": [
        { "name": "wait", "uses": "fixture", "with": { "do": "wait_for_stop" } },
        { "name": "never", "run": "echo never" },
        { "name": "always", "run": "echo put away", "if": "always()" },
    ] }));
    let run = project.spawn(&["run"]);
    run.wait_for("| waiting");
    run.signal(Signal::INT);
    let output = run.finish();
    assert!(output.expect(130).out.contains("| put away"), "{}", output.out);
    assert_eq!(project.logs(&["1", "wait"]), b"waiting\ntold to stop\n");
    let steps = project.show("1")["steps"].clone();
    let outcome = |step: usize| steps[step]["outcome"].as_str().unwrap();
    assert_eq!([outcome(0), outcome(1), outcome(2)], ["cancellation", "skip", "success"]);
}

#[test]
fn a_plugin_is_told_that_its_time_is_over() {
    let with = json!({ "do": "wait_for_stop" });
    let project = Project::new().plugin("fixture").pipeline(json!({ "steps": [
        { "name": "wait", "uses": "fixture", "with": with, "timeout": "300ms" },
    ] }));
    project.run(&["run"]).expect(124);
    assert_eq!(project.logs(&["1", "wait"]), b"waiting\ntold to stop\n");
    assert_eq!(project.show("1")["steps"][0]["outcome"], "timeout");
}
