//! Locks that a history backend keeps for all who share it, and `dcd lock`.

use std::{
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Project, Running, plugin_file};

/// Holds the lock until it is let go by a file, and notes in the shared directory what it does.
const BUSY: &str = "trap 'echo stopped $DCD_BUILD_NUMBER >>$LOG; exit 1' TERM; echo begin $DCD_BUILD_NUMBER >>$LOG; \
                    while test ! -e $GO.$DCD_BUILD_NUMBER; do sleep 0.05; done; echo end $DCD_BUILD_NUMBER >>$LOG";

fn shared(project: &Project) -> PathBuf {
    project.outside().join("shared")
}

/// A workspace whose builds want the lock `deploy`, which is kept in a directory beside it or beside another one, as the
/// plugin is: installed, so that no build is late because it compiles.
fn team(with: Option<&Project>, lock: &Value) -> Project {
    let project = Project::new();
    let first = with.unwrap_or(&project);
    let (shared, plugins) = (shared(first), first.outside().join("plugins"));
    let project = project.env("DCD_PLUGIN_PATH", plugins.to_str().unwrap());
    if with.is_none() {
        fs::create_dir_all(&shared).unwrap();
        let grant = format!("fs={}:rw", shared.display());
        let file = plugin_file("history-dir");
        let args = ["--dir", plugins.to_str().unwrap(), "--allow", &grant, file.to_str().unwrap()];
        project.run(&[&["plugin", "install"], &args[..]].concat()).expect(0);
    }
    project.pipeline(json!({
        "component": "shop",
        "history": { "uses": "history-dir", "with": { "path": shared } },
        "lock": lock,
        "env": { "LOG": shared.join("log"), "GO": shared.join("go") },
        "steps": [
            { "name": "deploy", "run": BUSY },
            { "name": "clean", "if": "always()", "run": "echo clean $DCD_BUILD_NUMBER >>$LOG" },
        ],
    }))
}

fn deploys(with: Option<&Project>) -> Project {
    team(with, &json!("deploy"))
}

fn log(project: &Project) -> String {
    fs::read_to_string(shared(project).join("log")).unwrap_or_default()
}

#[track_caller]
fn wait_for_log(project: &Project, line: &str) {
    let started = Instant::now();
    while !log(project).lines().any(|found| found == line) {
        assert!(started.elapsed() < Duration::from_mins(2), "no `{line}`:\n{}", log(project));
        sleep(Duration::from_millis(5));
    }
}

fn go(project: &Project, build: u32) {
    fs::write(shared(project).join(format!("go.{build}")), "").unwrap();
}

/// Who is in the queue, as `dcd lock list` says it.
fn queue(project: &Project) -> Vec<String> {
    let locks = project.json(&["lock", "list", "--json"]);
    let places = locks.as_array().unwrap().iter().flat_map(|lock| {
        assert_eq!((&lock["name"], &lock["kept_by"]), (&json!("deploy"), &json!("history-dir")));
        lock["queue"].as_array().unwrap()
    });
    places.map(|place| place["who"].as_str().unwrap().split(" of ").next().unwrap().to_owned()).collect()
}

/// A build that holds the lock.
fn holding(project: &Project, build: u32) -> Running {
    let run = project.spawn(&["run"]);
    wait_for_log(project, &format!("begin {build}"));
    run
}

#[test]
fn builds_of_a_team_run_in_the_order_in_which_they_asked() {
    let first = deploys(None);
    let (second, third) = (deploys(Some(&first)), deploys(Some(&first)));
    let one = holding(&first, 1);
    let two = second.spawn(&["run"]);
    two.wait_for("waiting for the lock `deploy`, which shop #1 of ada@example.com");
    let three = third.spawn(&["run"]);
    three.wait_for("2 builds come before this one");
    assert_eq!(queue(&third), ["shop #1", "shop #2", "shop #3"]);
    let table = third.run(&["lock", "list"]);
    let table = &table.expect(0).out;
    assert!(table.contains("  held     shop #1 of") && table.contains("  waits 2  shop #3 of"), "{table}");
    assert_eq!(third.run(&["lock", "list", "--local"]).expect(0).out, "Nobody holds a lock.\n");

    go(&first, 3);
    go(&first, 1);
    one.finish().expect(0);
    three.wait_for("which shop #2 of ada@example.com");
    go(&first, 2);
    let two = two.finish();
    assert!(two.expect(0).out.contains("got the lock `deploy` after"), "{}", two.out);
    three.finish().expect(0);
    assert_eq!(log(&first), "begin 1\nend 1\nclean 1\nbegin 2\nend 2\nclean 2\nbegin 3\nend 3\nclean 3\n",);
    assert!(queue(&first).is_empty());
}

#[test]
fn a_lock_is_given_back_however_a_build_ends_and_by_who_waits_no_more() {
    let first = deploys(None);
    let second = team(Some(&first), &json!({ "name": "deploy", "wait": "300ms" }));
    let one = holding(&first, 1);

    let late = second.run(&["run"]);
    assert!(
        late.expect(3).out.contains("the lock `deploy` was not free within [TOOK]: shop #1 of"),
        "{}",
        late.out
    );
    assert_eq!(queue(&second), ["shop #1"]);

    let waiting = first.spawn(&["run"]);
    waiting.wait_for("which shop #1 of");
    assert_eq!(queue(&second), ["shop #1", "shop #3"]);
    waiting.signal(Signal::INT);
    assert_eq!(waiting.finish().code, 130);
    let build = first.show("3");
    assert_eq!(build["outcome"], "cancellation");
    assert_eq!(build["steps"][1]["outcome"], "skip", "nothing cleans up without the lock");
    assert_eq!(queue(&second), ["shop #1"]);

    one.signal(Signal::INT);
    one.finish().expect(130);
    assert!(queue(&second).is_empty());
    assert_eq!(log(&first), "begin 1\nstopped 1\nclean 1\n");
}

#[test]
fn the_lock_of_a_build_that_was_killed_runs_out() {
    let first = deploys(None);
    let second = deploys(Some(&first));
    let one = holding(&first, 1);
    let two = second.spawn(&["run"]);
    two.wait_for("which shop #1 of");
    one.signal(Signal::KILL);
    one.finish().expect(137);
    let killed = Instant::now();
    wait_for_log(&first, "begin 2");
    // It was renewed within the five seconds before, and holds for 45.
    assert!(killed.elapsed() > Duration::from_secs(30), "{:?}", killed.elapsed());
    go(&first, 1);
    go(&first, 2);
    two.finish().expect(0);
}

#[test]
fn a_build_whose_lock_is_broken_ends_and_says_why() {
    let first = deploys(None);
    let second = deploys(Some(&first));
    let one = holding(&first, 1);
    let two = second.spawn(&["run"]);
    two.wait_for("which shop #1 of");

    let broken = second.run(&["lock", "break", "deploy"]);
    let said = &broken.expect(0).out;
    assert!(
        said.starts_with("Broke the lock `deploy`, which shop #1 of ada@example.com on ")
            && said.contains(" held since [AT]. Next: shop #2 of ada@example.com on "),
        "{said}"
    );
    let one = one.finish();
    let why = "the lock `deploy` is lost: somebody broke it (`dcd lock break`)";
    assert!(one.expect(3).out.contains(why), "{}", one.out);
    let build = first.show("1");
    assert_eq!((&build["outcome"], &build["reason"]), (&json!("error"), &json!(why)));
    assert_eq!(build["steps"][0]["outcome"], "cancellation");
    assert_eq!(build["steps"][1]["reason"], "the build lost its lock");
    wait_for_log(&first, "begin 2");
    assert!(log(&first).contains("stopped 1\n") && !log(&first).contains("clean 1\n"), "{}", log(&first));

    // Who waits is taken out by name.
    let three = first.spawn(&["run"]);
    three.wait_for("which shop #2 of");
    let id = first.show("3")["id"].as_str().unwrap().to_owned();
    let taken = second.run(&["lock", "break", "deploy", "--ticket", &id]);
    assert!(taken.expect(0).out.starts_with("Took shop #3 of ada@example.com on "), "{}", taken.out);
    let three = three.finish();
    assert!(three.expect(3).out.contains("somebody took this build out of the queue"), "{}", three.out);
    assert_eq!(queue(&second), ["shop #2"]);
    go(&first, 2);
    two.finish().expect(0);
}

#[test]
fn what_nobody_holds_is_not_broken_and_what_a_process_holds_ends_with_it() {
    let project = deploys(None);
    insta::assert_snapshot!(project.run(&["lock", "break", "deploy"]).expect(2).err, @r"
    error: nobody holds the lock `deploy`
    help: `dcd lock list` shows which are held; the names are those of the pipeline's `lock`, with its params
    ");
    let here = Project::new().pipeline(json!({
        "lock": "deploy",
        "steps": [{ "name": "a", "run": "touch here; while test ! -e go; do sleep 0.05; done" }],
    }));
    let run = here.spawn(&["run"]);
    while !here.path().join("here").exists() {
        sleep(Duration::from_millis(5));
    }
    let locks = here.json(&["lock", "list", "--json"]);
    assert_eq!(locks[0]["kept_by"], Value::Null);
    assert_eq!(locks[0]["queue"][0]["process"], run.pid());
    let refused = here.run(&["lock", "break", "deploy"]);
    let said = &refused.expect(2).err;
    assert!(
        said.contains("the lock `deploy` is held on this machine, by shop #1 of ada@example.com"),
        "{said}"
    );
    assert!(said.contains(&format!("it ends with its process: `kill {}`", run.pid())), "{said}");
    here.write("go", "");
    run.finish().expect(0);
    assert_eq!(here.run(&["lock", "list"]).expect(0).out, "Nobody holds a lock.\n");
}

/// A workspace whose backend fails as it is told to.
fn failing(with: &Value, run: &str) -> Project {
    Project::new().granted("fixture-history", &json!({ "secrets": ["NONE_*"] })).pipeline(json!({
        "history": { "uses": "fixture-history", "with": with },
        "lock": "deploy",
        "steps": [{ "name": "a", "run": run }],
    }))
}

#[test]
fn nothing_runs_without_the_lock_of_a_backend_that_fails() {
    let project = |kind: &str| failing(&json!({ "fail": "lock", "kind": kind }), "touch ran");
    let (denied, away, hangs) = (project("denied"), project("unavailable"), project("hang"));
    let (waiting, hanging) = (away.spawn(&["run"]), hangs.spawn(&["run"]));
    let run = denied.run(&["run"]);
    let why = "the lock `deploy` cannot be had from history backend fixture-history: plugin fixture-history: the \
               fixture fails to lock, as it was told";
    assert!(run.expect(3).out.contains(why), "{}", run.out);
    waiting
        .wait_for("waiting for the lock `deploy`; it cannot be asked for just now: plugin fixture-history");
    let run = waiting.finish();
    assert!(run.expect(3).out.contains(why), "{}", run.out);
    let run = hanging.finish();
    assert!(run.expect(3).out.contains("it did not answer for [TOOK]"), "{}", run.out);
    for project in [denied, away, hangs] {
        assert!(!project.path().join("ran").exists());
        let build = project.json(&["history", "show", "latest", "--local", "--json"]);
        assert_eq!((&build["outcome"], &build["steps"][0]["outcome"]), (&json!("error"), &json!("skip")));
    }
}

#[test]
fn a_build_ends_while_the_lock_that_it_cannot_renew_is_still_its_own() {
    let misdeed = json!({ "fail": "lock", "kind": "unavailable", "after": 1 });
    let project = failing(&misdeed, "trap 'echo stopped; exit 1' TERM; sleep 60 & wait");
    let started = Instant::now();
    let run = project.run(&["run"]);
    let why = "the lock `deploy` is lost: history backend fixture-history has not renewed it for [TOOK]: plugin \
               fixture-history: the fixture fails to lock, as it was told";
    assert!(run.expect(3).out.contains(why), "{}", run.out);
    assert!(run.out.contains("a | stopped"), "{}", run.out);
    assert!(started.elapsed() > Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn a_backend_without_locks_leaves_them_to_the_machine() {
    let project = failing(
        &json!({ "fail": "lock", "kind": "unsupported" }),
        "touch here; while test ! -e go; do sleep 0.05; done",
    );
    let one = project.spawn(&["run"]);
    one.wait_for("; it holds on this machine only: history backend fixture-history keeps no locks");
    let two = project.spawn(&["run"]);
    two.wait_for("waiting for the lock `deploy`, which shop ");
    project.write("go", "");
    one.finish().expect(0);
    two.finish().expect(0);
}
