//! Builds are found, followed, compared and counted: from the journals, and from another workspace through the backend.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::{
    history_dir::{shared, sharing},
    support::{Project, Running},
};

fn numbers(project: &Project, args: &[&str]) -> Vec<u64> {
    let list = project.json(&[&["history", "list", "--json"], args].concat());
    list.as_array().unwrap().iter().map(|build| build["number"].as_u64().unwrap()).collect()
}

/// Two builds: one that passed on `main`, one of somebody else that failed on `feature/x`.
fn two_builds() -> Project {
    let project = sharing(None, &["true", "test ! -e broken"]).git();
    project.run(&["run"]).expect(0);
    project.git_run(&["checkout", "--quiet", "-b", "feature/x"]);
    project.write("broken", "");
    project.git_run(&["add", "."]);
    project.git_run(&["commit", "--quiet", "--message=second"]);
    let mut command = project.dcd(&["run"]);
    command.env("DCD_USER", "bob@example.com");
    Running::start(command, project.cleaner()).finish().expect(1);
    project
}

#[test]
fn a_list_holds_what_fits_wherever_it_is_kept() {
    let here = two_builds();
    let there = sharing(Some(&here), &["true"]);
    let commit = here.git_run(&["rev-parse", "HEAD"]);
    let cases: &[(&[&str], &[u64])] = &[
        (&[], &[2, 1]),
        (&["--outcome", "success"], &[1]),
        (&["--outcome", "failure"], &[2]),
        (&["--outcome", "failure", "--outcome", "success"], &[2, 1]),
        (&["--outcome", "running"], &[]),
        (&["--outcome", "error"], &[]),
        (&["--branch", "feature/x"], &[2]),
        (&["--branch", "feature"], &[]),
        (&["--commit", &commit[..7]], &[2]),
        (&["--author", "bob@example.com"], &[2]),
        (&["--author", "ada@example.com", "--branch", "main"], &[1]),
        (&["--since", "1h"], &[2, 1]),
        (&["--until", "1h"], &[]),
        (&["--since", "1h", "--until", "2100-01-01"], &[2, 1]),
        (&["--grep", "FEATURE"], &[2]),
        (&["--grep", "s1"], &[2, 1]),
        (&["--grep", "nobody"], &[]),
        (&["--component", "shop", "-n", "1"], &[2]),
        (&["--component", "api"], &[]),
        (&["--before", "2"], &[1]),
    ];
    for (args, expected) in cases {
        assert_eq!(numbers(&here, &[&["--local"], *args].concat()), *expected, "journals: {args:?}");
        assert_eq!(numbers(&there, args), *expected, "backend: {args:?}");
    }
    assert_eq!(numbers(&here, &["--grep", "s1"]), [2, 1], "what both have is listed once");
    assert_eq!(there.run(&["history", "list", "--grep", "nobody"]).expect(0).out, "No build fits.\n");
    assert!(there.run(&["history", "list", "--since", "yesterday"]).expect(2).err.contains("7d, 12h, 30m"));
}

#[test]
fn pages_stay_while_builds_are_added() {
    let project = sharing(None, &["true"]);
    let there = sharing(Some(&project), &["true"]);
    for _ in 0..5 {
        project.run(&["run"]).expect(0);
    }
    let page = there.run(&["history", "list", "-n", "2"]);
    insta::assert_snapshot!(page.expect(0).err, @"hint: there are older ones: dcd history list --before [ID]");
    let list = there.json(&["history", "list", "--json"]);
    let fourth = list[1]["id"].as_str().unwrap();
    for workspace in [&project, &there] {
        project.run(&["run"]).expect(0);
        assert_eq!(numbers(workspace, &["-n", "2", "--before", fourth]), [3, 2]);
        assert_eq!(numbers(workspace, &["-n", "2", "--before", "2"]), [1]);
    }
}

#[test]
fn a_lost_build_is_an_error() {
    let project = Project::new().scripts(&["echo started; sleep 50"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    assert_eq!(numbers(&project, &["--outcome", "running"]), [1]);
    drop(run);
    assert_eq!(numbers(&project, &["--outcome", "error"]), [1]);
    assert_eq!(numbers(&project, &["--grep", "runner lost"]), [1]);
    assert_eq!(numbers(&project, &["--outcome", "running"]), [] as [u64; 0]);
}

#[test]
fn a_build_of_the_backend_is_found_by_the_beginning_of_its_id() {
    let project = two_builds();
    let there = sharing(Some(&project), &["true"]);
    let id = project.show("1")["id"].as_str().unwrap().to_owned();
    assert_eq!(there.show(&id)["number"], 1);
    assert_eq!(there.show(&id[..13])["id"], id.as_str());
    assert_eq!(there.show("2")["number"], 2, "of the pipeline's own component");
    insta::assert_snapshot!(there.run(&["history", "show", "3"]).expect(2).err, @r"
    error: there is no build `3` in this workspace or in the history backend
    help: `dcd history list` shows which builds there are; the number of another component's build is found with --component NAME
    ");
    assert!(there.run(&["history", "show", "0"]).expect(2).err.contains("fits more than one build: shop ("));
    assert!(there.run(&["history", "show", "fffff"]).expect(2).err.contains("there is no build `fffff`"));
}

#[test]
fn the_last_lines_and_what_is_recent() {
    let project = sharing(None, &["seq 5", "seq 100 103; printf end"]);
    let there = sharing(Some(&project), &["true"]);
    project.run(&["run"]).expect(0);
    for workspace in [&project, &there] {
        assert_eq!(workspace.logs(&["1", "--tail", "2"]), b"103\nend");
        assert_eq!(workspace.logs(&["1", "s0", "--tail", "2"]), b"4\n5\n");
        assert_eq!(workspace.logs(&["1", "--tail", "0"]), b"");
        assert_eq!(workspace.logs(&["1", "s0", "--since", "1h"]), b"1\n2\n3\n4\n5\n");
        assert_eq!(workspace.logs(&["1", "--since", "2100-01-01"]), b"");
        let lines = String::from_utf8(workspace.logs(&["1", "s1", "--json"])).unwrap();
        let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let text: String = events.iter().map(|event| event["text"].as_str().unwrap()).collect();
        assert_eq!(text, "100\n101\n102\n103\nend");
        assert!(events.iter().all(|event| event["step"] == "s1" && event["kind"] == "step.output"));
    }
    assert!(
        there
            .run(&["history", "logs", "1", "s0", "--attempt", "2"])
            .expect(2)
            .err
            .contains("it had 1 attempt")
    );
}

#[test]
fn a_running_build_is_followed_to_its_end_from_anywhere() {
    let project =
        sharing(None, &["echo one; while [ ! -e go ]; do sleep 0.05; done; echo two", "echo three; exit 3"]);
    let there = sharing(Some(&project), &["true"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" s0 | one\n");
    let here = [
        project.spawn(&["history", "logs", "latest", "-f"]),
        project.spawn(&["history", "logs", "latest", "s1", "--follow"]),
        project.spawn(&["history", "logs", "latest", "-f", "--tail", "0"]),
    ];
    let away = [
        there.spawn(&["history", "logs", "latest", "-f"]),
        there.spawn(&["history", "logs", "latest", "s1", "--follow"]),
        there.spawn(&["history", "logs", "latest", "-f", "--tail", "1"]),
    ];
    for follower in [&here[0], &away[0], &away[2]] {
        follower.wait_for("one\n");
    }
    let stopped = there.spawn(&["history", "logs", "latest", "-f"]);
    stopped.wait_for("one\n");
    stopped.interrupt();
    stopped.finish().expect(130);
    project.write("go", "");
    let started = Instant::now();
    here[0].wait_for("two\n");
    let soon = started.elapsed();
    away[0].wait_for("two\n");
    // Two seconds, and this machine may be busy.
    assert!(soon.as_secs() < 10 && started.elapsed().as_secs() < 20, "{soon:?}, {:?}", started.elapsed());
    run.finish().expect(1);
    let printed = |running: [Running; 3]| running.map(|running| running.finish().expect(0).out.clone());
    assert_eq!(printed(here), ["one\ntwo\nthree\n", "three\n", "two\nthree\n"]);
    assert_eq!(printed(away), ["one\ntwo\nthree\n", "three\n", "one\ntwo\nthree\n"]);
}

#[test]
fn following_a_build_whose_runner_is_lost_ends() {
    let project = Project::new().scripts(&["echo started; sleep 50"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    let follower = project.spawn(&["history", "logs", "1", "-f"]);
    follower.wait_for("started\n");
    drop(run);
    let follower = follower.finish();
    assert_eq!(follower.expect(0).err, "warning: the build has no end: its runner is lost\n");
}

#[test]
fn what_differs_between_two_builds() {
    let report = |outcome: &str| {
        format!("<testsuite name='cart'><testcase name='adds'>{outcome}</testcase></testsuite>")
    };
    let script = "cp report.xml out.xml; test ! -e broken";
    let project =
        Project::new().file("report.xml", report("")).file(".gitignore", "out.xml\n").pipeline(json!({
            "component": "shop",
            "steps": [{ "name": "test", "run": script, "reports": { "junit": "out.xml" } }],
        }));
    let project = project.git();
    project.run(&["run"]).expect(0);
    project.run(&["run"]).expect(0);
    let same = project.run(&["history", "diff", "1", "2"]);
    assert!(same.expect(0).out.contains("no difference"), "{}", same.out);
    project.write("broken", "");
    project.write("report.xml", report("<failure message='1 is not 2'/>"));
    project.run(&["run"]).expect(1);
    let diff = project.run(&["history", "diff", "2", "latest"]);
    insta::assert_snapshot!(diff.expect(10).out, @r#"
    shop #2 -> shop #3
      outcome        success -> failure
      changes        none -> [SHA]
      took           [TOOK] -> [TOOK]

    Steps
      ! test: success [TOOK] -> failure [TOOK]

    Newly failing tests
      test cart adds
    "#);
    let diff = project.run(&["history", "diff", "3", "2", "--json"]);
    let diff: Value = serde_json::from_slice(&diff.expect(10).stdout).unwrap();
    assert_eq!((&diff["different"], &diff["a"]["number"]), (&json!(true), &json!(3)));
    assert_eq!(diff["newly_passing"], json!([{ "step": "test", "suite": "cart", "name": "adds" }]));
    assert_eq!(diff["outcome"], json!({ "what": "outcome", "a": "failure", "b": "success" }));
}

#[test]
fn builds_are_counted_by_what_the_backend_says_of_them() {
    let project = sharing(None, &["true", "test ! -e broken"]).git();
    fs::write(project.path().join(".git/info/exclude"), "broken\n").unwrap();
    project.run(&["run"]).expect(0);
    project.write("broken", "");
    project.run(&["run"]).expect(1);
    let there = sharing(Some(&project), &["true"]);
    let mut stats: Vec<_> =
        [&project, &there].map(|workspace| workspace.json(&["history", "stats", "--json"])).into();
    for stats in &mut stats {
        stats["since"] = Value::Null;
    }
    assert_eq!(stats[0], stats[1]);
    let stats = &stats[0];
    assert_eq!((&stats["builds"], &stats["pass_rate"]), (&json!(2), &json!(0.5)));
    assert_eq!(stats["outcomes"], json!({ "success": 1, "failure": 1 }));
    let step = &stats["steps"][1];
    assert_eq!((&step["name"], &step["runs"], &step["failures"]), (&json!("s1"), &json!(2), &json!(1)));
    assert_eq!(step["flaky"], 1, "the same commit passed");
    let local = project.json(&["history", "stats", "--json", "--local"]);
    assert_eq!((&local["steps"], &local["duration_ms"]), (&stats["steps"], &stats["duration_ms"]));
    let page = project.run(&["history", "stats", "--outcome", "failure"]);
    assert!(page.expect(0).out.contains("  builds     1: 1 failure\n"), "{}", page.out);
    assert!(shared(&project).exists());
}
