//! How steps run, end, and count.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::Project;

/// What a step's environment has of ours, by its own word.
fn environment(project: &Project, build: &str, step: &str) -> Vec<String> {
    let text = String::from_utf8(project.logs(&[build, step])).unwrap();
    let ours = ["CI=", "DCD", "COMPONENT=", "GIT_SHA=", "BUILD_ID=", "PWD=", "T_"];
    let is_ours = |line: &&str| ours.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = text.lines().filter(is_ours).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_a_step_is_told() {
    let project = Project::new().pipeline(json!({
        "name": "release",
        "component": "shop/web",
        "env": { "T_A": "pipeline", "T_B": "pipeline", "CI": "no" },
        "steps": [
            { "name": "first", "run": ["env"], "env": { "T_B": "step", "T_D": "" }, "workdir": "sub" },
            { "name": "second one", "run": "env" },
        ],
    }));
    let project = project.file("sub/x", "").git().env("T_A", "runner").env("T_C", "runner");
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    let (id, commit) = (build["id"].as_str().unwrap(), project.git_run(&["rev-parse", "HEAD"]));
    let root = project.path().display();
    let lines = |step: usize, own: &[&str]| {
        let mut lines: Vec<String> = [
            format!("BUILD_ID={id}"),
            "CI=no".into(),
            "COMPONENT=shop/web".into(),
            "DCD=true".into(),
            "DCD_ATTEMPT=1".into(),
            format!("DCD_BUILD_ID={id}"),
            "DCD_BUILD_NUMBER=1".into(),
            "DCD_COMPONENT=shop/web".into(),
            "DCD_GIT_BRANCH=main".into(),
            "DCD_GIT_DIRTY=false".into(),
            format!("DCD_GIT_SHA={commit}"),
            "DCD_IMAGE_DIGEST=".into(),
            format!("DCD_OUTPUT={root}/.dcd/builds/{id}/attempt-{step}-1/output"),
            "DCD_PIPELINE=release".into(),
            format!("DCD_SUMMARY={root}/.dcd/builds/{id}/attempt-{step}-1/summary"),
            "DCD_USER=ada@example.com".into(),
            format!("DCD_WORKSPACE={root}"),
            format!("GIT_SHA={commit}"),
            "T_A=pipeline".into(),
            "T_C=runner".into(),
        ]
        .into_iter()
        .chain(own.iter().map(|line| (*line).to_owned()))
        .collect();
        lines.sort();
        lines
    };
    let pwd = format!("PWD={root}");
    let sub = format!("{pwd}/sub");
    assert_eq!(environment(&project, "1", "first"), lines(0, &["DCD_STEP=first", "T_B=step", "T_D=", &sub]));
    assert_eq!(
        environment(&project, "1", "second one"),
        lines(1, &["DCD_STEP=second one", "T_B=pipeline", &pwd])
    );
}

#[test]
fn what_a_step_hands_over() {
    let project = Project::new().pipeline(json!({ "steps": [
        {
            "name": "good",
            "run": "test -f \"$DCD_OUTPUT\" && test ! -s \"$DCD_SUMMARY\"\n\
                echo tag=v1 >>\"$DCD_OUTPUT\"\necho '# Done' >>\"$DCD_SUMMARY\"",
        },
        { "name": "failed", "run": "echo half=done >>\"$DCD_OUTPUT\"; exit 1", "continue_on_error": true },
        { "name": "bad", "run": "echo nonsense >>\"$DCD_OUTPUT\"", "continue_on_error": true },
        { "name": "link", "run": "ln -sf /etc/passwd \"$DCD_OUTPUT\"", "continue_on_error": true },
    ] }));
    project.run(&["run"]).expect(0);
    let build = project.show("1");
    let of = |step: usize, key: &str| build["steps"][step][key].clone();
    assert_eq!((of(0, "outputs"), of(0, "summary")), (json!({ "tag": "v1" }), json!("# Done\n")));
    assert_eq!((of(1, "outcome"), of(1, "outputs")), (json!("failure"), json!({ "half": "done" })));
    assert_eq!((of(2, "outcome"), of(2, "outputs")), (json!("error"), json!({})));
    assert_eq!((of(3, "outcome"), of(3, "outputs")), (json!("error"), json!({})));
    let problem = |step: usize| build["steps"][step]["attempts"][0]["problem"]["message"].clone();
    assert!(problem(2).as_str().unwrap().contains("DCD_OUTPUT is wrong: line 1: "), "{}", problem(2));
    assert_eq!(problem(3), "the step put something else than a file in the place of DCD_OUTPUT");
    let place = project.journals()[0].parent().unwrap().to_owned();
    let left: Vec<_> = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["journal"], "its files are gone");
}

#[test]
fn what_a_step_makes_is_recorded() {
    let report = "<testsuite name='t'><testcase name='good' time='0.5'/>\
        <testcase name='bad'><failure message='no'/></testcase></testsuite>";
    let project = Project::new().file("old.xml", report).file("dist/a.txt", "hello\n").pipeline(json!({ "steps": [
        {
            "name": "made",
            "run": format!("sleep 0.1; echo x >dist/b.txt; ln -s /etc/passwd dist/c.txt; echo \"{report}\" >new.xml"),
            "outputs": ["dist/*.txt", "none/*"],
            "reports": { "junit": ["*.xml"] },
            "continue_on_error": true,
        },
        { "name": "failed", "run": "exit 1", "outputs": ["dist/*"], "continue_on_error": true },
    ] }));
    let run = project.run(&["run"]);
    assert!(run.expect(0).out.contains("[warn] outputs: `none/*` matches no file"), "{}", run.out);
    let steps = &project.show("1")["steps"];
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    assert_eq!(steps[0]["artifacts"][0], json!({ "path": "dist/a.txt", "size": 6, "sha256": sha256 }));
    assert_eq!(steps[0]["artifacts"][1]["path"], "dist/b.txt");
    assert_eq!(steps[0]["artifacts"].as_array().unwrap().len(), 2, "the link leads out of the workspace");
    assert_eq!(steps[1]["artifacts"], json!([]));
    let journal = project.run(&["history", "show", "1", "--json"]).out;
    assert!(journal.contains("new.xml") && !journal.contains("old.xml"), "{journal}");
}

#[test]
fn what_a_plugin_makes_is_recorded() {
    let project = Project::new().file("dist/a.txt", "hello\n").plugin("fixture").pipeline(json!({ "steps": [
        { "name": "a", "uses": "fixture", "with": { "do": "echo", "text": "x" }, "outputs": ["dist/*"] },
    ] }));
    project.run(&["run"]).expect(0);
    assert_eq!(project.show("1")["steps"][0]["artifacts"][0]["path"], "dist/a.txt");
}

#[test]
fn an_array_is_executed_and_a_string_is_a_script() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "array", "run": ["printf", "%s|", "$HOME", "a b", "*", ""] },
        { "name": "string", "run": "set -- 'a b'; printf '%s|' \"$@\" | cat" },
        { "name": "errexit", "run": "false\necho not reached", "continue_on_error": true },
        { "name": "nounset", "run": "echo \"$no_such_variable\"\necho not reached", "continue_on_error": true },
    ] }));
    project.run(&["run"]).expect(0);
    assert_eq!(project.logs(&["1", "array"]), b"$HOME|a b|*||");
    assert_eq!(project.logs(&["1", "string"]), b"a b|");
    assert!(!String::from_utf8(project.logs(&["1"])).unwrap().contains("not reached"));
}

#[test]
fn a_failure_skips_the_rest_and_says_why() {
    let project = Project::new().scripts(&["exit 7", "echo never", "echo never"]);
    let run = project.run(&["run"]);
    insta::assert_snapshot!(run.expect(1).out, @r#"
    shop #1  [ID]
      image   unknown: There is no Docker socket at [ROOT]/no.sock: run the container with -v [ROOT]/no.sock:[ROOT]/no.sock.
      commit  none: There is no git repository at or above [ROOT]/shop.
    > a
    !! a  failure, exit code 7, [TOOK]
    - b  skipped: step `a` ended in failure
    - c  skipped: step `a` ended in failure
    shop #1: failure in [TOOK]: a
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    let build = project.show("1");
    let of = |step: usize, key: &str| build["steps"][step][key].clone();
    assert_eq!((of(0, "outcome"), of(1, "outcome")), (json!("failure"), json!("skip")));
    assert_eq!(build["steps"][0]["attempts"][0]["exit_code"], 7);
    assert_eq!((of(1, "reason"), of(1, "attempts")), (json!("step `a` ended in failure"), json!([])));
    let page = project.run(&["history", "show", "1"]).out;
    insta::assert_snapshot!(page.split("\nRecorded").next().unwrap(), @r#"
    shop #1
      outcome    failure
      id         [ID]
      pipeline   dcd
      started    [AT]
      finished   [AT] (took [TOOK])
      hash       [SHA]

    Steps
      failure    a  [TOOK], exit code 7
      skip       b: step `a` ended in failure
      skip       c: step `a` ended in failure
    "#);
}

#[test]
fn a_failure_that_is_allowed_does_not_count() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "flaky", "run": "exit 7", "continue_on_error": true },
        { "name": "after", "run": "echo ran" },
    ] }));
    let run = project.run(&["run"]);
    assert!(
        run.expect(0).out.contains("!! flaky  failure, exit code 7, [TOOK]; the build goes on"),
        "{}",
        run.out
    );
    let build = project.show("1");
    assert_eq!(build["outcome"], "success");
    assert_eq!(
        (&build["steps"][0]["outcome"], &build["steps"][0]["conclusion"]),
        (&json!("failure"), &json!("success"))
    );
}

#[test]
fn a_timeout_stops_the_step_and_its_children() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "slow", "timeout": "200ms", "run": "trap 'echo asked to stop; exit 1' TERM; sleep 50 & wait" },
        { "name": "after", "run": "true" },
    ] }));
    let started = Instant::now();
    let run = project.run(&["run"]);
    assert!(started.elapsed().as_secs() < 30, "nobody waited for the sleep");
    assert!(run.expect(124).out.contains("asked to stop\n"), "{}", run.out);
    let build = project.show("1");
    assert_eq!((&build["outcome"], &build["steps"][0]["outcome"]), (&json!("timeout"), &json!("timeout")));
    insta::assert_snapshot!(run.out[run.out.find("> slow").unwrap()..], @r#"
    > slow
    [TIME] slow | asked to stop
      the step took longer than its timeout of [TOOK]
      help: find out what it waits for, or give it more time with `timeout`
    !! slow  timeout, exit code 1, [TOOK]
    - after  skipped: step `slow` ended in timeout
    shop #1: timeout in [TOOK]: slow
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
}

#[test]
fn a_step_that_does_not_stop_is_killed() {
    // Its grace is ten seconds.
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "timeout": "100ms", "run": "trap '' TERM; while true; do sleep 0.1; done" },
    ] }));
    project.run(&["run"]).expect(124);
    let attempt = &project.show("1")["steps"][0]["attempts"][0];
    assert_eq!((&attempt["signal"], &attempt["outcome"]), (&json!(9), &json!("timeout")));
}

#[test]
fn a_step_that_is_killed_says_by_what() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "term", "run": "kill -TERM $$", "continue_on_error": true },
        { "name": "kill", "run": ["sh", "-c", "kill -9 $$"], "continue_on_error": true },
        { "name": "segv", "run": "kill -SEGV $$" },
    ] }));
    let run = project.run(&["run"]);
    let out = &run.expect(1).out;
    insta::assert_snapshot!(out[out.find("> term").unwrap()..], @r#"
    > term
      the process was ended by signal 15 (SIGTERM)
      help: another process sent it, or the step itself
    !! term  failure, [TOOK]; the build goes on
    > kill
      the process was ended by signal 9 (SIGKILL)
      help: out of memory? The kernel ends processes this way (see `dmesg`, or the container's memory limit)
    !! kill  failure, [TOOK]; the build goes on
    > segv
      the process was ended by signal 11 (SIGSEGV)
      help: the program crashed: look for a fault in it, or in what it was given
    !! segv  failure, [TOOK]
    shop #1: failure in [TOOK]: segv
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    let build = project.show("1");
    let signals: Vec<_> = (0..3).map(|step| build["steps"][step]["attempts"][0]["signal"].clone()).collect();
    assert_eq!(signals, [15, 9, 11].map(Value::from));
}

#[test]
fn what_a_step_leaves_behind_ends_with_the_build() {
    let project = Project::new().scripts(&["sleep 50 & echo $! > pid; echo printed", "echo next"]);
    let started = Instant::now();
    let run = project.run(&["run"]);
    assert!(started.elapsed().as_secs() < 30, "nobody waited for the sleep");
    let pid = std::fs::read_to_string(project.path().join("pid")).unwrap();
    let out = run.expect(0).out.replace(pid.trim(), "[PID]");
    insta::assert_snapshot!(out[out.find("> a").unwrap()..], @r#"
    > a
    [TIME] a | printed
    [TIME] a | [warn] process [PID] is left behind and holds the step's output: sleep 50
      note: the step left a process behind that holds its output; dcd ends it with the build
    ok a  [TOOK]
    > b
    [TIME] b | next
    ok b  [TOOK]
    shop #1: success in [TOOK]
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
    assert_eq!(project.show("1")["steps"][0]["attempts"][0]["leaked"], true);
    assert!(is_dead(&project, "pid"));
}

/// Whether the process whose id is in this file has ended: gone, or a zombie until whoever adopts it looks.
fn is_dead(project: &Project, file: &str) -> bool {
    let pid = std::fs::read_to_string(project.path().join(file)).unwrap();
    assert!(!pid.trim().is_empty());
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z")
}

/// Starts a process that holds nothing: in the step's group, in a session of its own, and as a daemon does.
const LEAVE: [&str; 3] = [
    "sleep 50 >/dev/null 2>&1 & echo $! >pid",
    "setsid sh -c 'echo $$ >pid; exec sleep 50' >/dev/null 2>&1 & while [ ! -s pid ]; do sleep 0.01; done",
    "setsid sh -c 'env -i sh -c \"echo \\$\\$ >pid; exec sleep 50\" & exit' >/dev/null 2>&1; \
        while [ ! -s pid ]; do sleep 0.01; done",
];

#[test]
fn what_a_step_leaves_behind_quietly_holds_nothing_up() {
    for leave in LEAVE {
        let project = Project::new().scripts(&[leave, "kill -0 $(cat pid)"]);
        let run = project.run(&["run"]);
        assert!(!run.expect(0).out.contains("left"), "{}", run.out);
        assert!(is_dead(&project, "pid"), "killed at the build's end, too: {leave}");
    }
}

#[test]
fn what_holds_the_output_is_named() {
    let project = Project::new().scripts(&["setsid sleep 50 & echo $! >pid"]);
    let run = project.run(&["run"]);
    let pid = std::fs::read_to_string(project.path().join("pid")).unwrap();
    let note = format!("process {} is left behind and holds the step's output: sleep 50\n", pid.trim());
    assert!(run.expect(0).out.contains(&note), "{}", run.out);
    assert!(is_dead(&project, "pid"));
}

#[test]
fn a_stopped_step_is_asked_to_stop_wherever_it_went() {
    // Not in the step's group, and it takes its time to end.
    let slow = "trap 'sleep 0.7; echo put away >>done; exit' TERM; echo $$ >pid; sleep 50 & wait";
    for start in ["setsid sh -c \"$S\" & sleep 50", "setsid sh -c 'sh -c \"$S\" & exit'; sleep 50"] {
        let project = Project::new().pipeline(json!({ "steps": [
            { "name": "a", "run": start, "env": { "S": slow }, "timeout": "500ms" },
        ] }));
        let started = Instant::now();
        project.run(&["run"]).expect(124);
        assert!(started.elapsed().as_secs() < 8, "nobody had to be killed");
        assert_eq!(std::fs::read_to_string(project.path().join("done")).unwrap(), "put away\n");
        assert_eq!(project.show("1")["steps"][0]["attempts"][0]["leaked"], json!(false));
        assert!(is_dead(&project, "pid"));
    }
}

#[test]
fn a_step_that_left_its_own_group_is_stopped() {
    let leave = "import os,time\nos.setpgid(0, os.getpgid(os.getppid()))\ntime.sleep(50)";
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "run": ["python3", "-c", leave], "timeout": "700ms" },
    ] }));
    let started = Instant::now();
    project.run(&["run"]).expect(124);
    assert!(started.elapsed().as_secs() < 8);
    assert_eq!(project.show("1")["steps"][0]["attempts"][0]["signal"], 15);
}

#[test]
fn a_halted_step_can_be_stopped() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "run": "kill -STOP $$", "timeout": "200ms" },
    ] }));
    let started = Instant::now();
    project.run(&["run"]).expect(124);
    assert!(started.elapsed().as_secs() < 8, "it heard before its grace was over");
}

#[test]
fn the_worst_outcome_is_the_builds() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "run": ["./nothing"], "continue_on_error": true },
        { "name": "b", "run": "true" },
    ] }));
    project.run(&["run"]).expect(0);
    let project = Project::new().pipeline(json!({ "steps": [{ "name": "a", "run": ["./nothing"] }] }));
    project.run(&["run"]).expect(3);
    assert_eq!(project.show("latest")["outcome"], "error");
}
