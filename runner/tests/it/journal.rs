//! What is kept of builds, whatever happens to them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::Project;

/// Steps that print numbered lines and end soon: they are still under way when the test strikes.
fn numbered() -> Project {
    let step =
        |step: u32| json!({ "name": format!("s{step}"), "run": format!("seq {}000 {}300", step, step) });
    Project::new().pipeline(json!({ "steps": (1..400).map(step).collect::<Vec<_>>() }))
}

#[test]
fn what_was_shown_is_kept_when_the_runner_is_killed() {
    for round in 0..15_u32 {
        let project = numbered();
        let run = project.spawn(&["run"]);
        run.wait_for("> s1\n");
        std::thread::sleep(Duration::from_millis(u64::from(round * 17 % 150)));
        run.signal(Signal::KILL);
        let killed = run.finish();
        killed.expect(137);
        // A line that was cut is not one that was shown.
        let whole = killed.out.rfind('\n').map_or("", |end| &killed.out[..=end]);
        let shown: Vec<_> = whole.lines().filter_map(|line| Some(line.split_once(" | ")?.1)).collect();
        let logs = project.run(&["history", "logs", "1"]);
        // The kernel may end a write in the middle when its process is killed; what was shown was written before.
        let is_cut = logs.err.ends_with("is damaged: it is cut short; what follows it is not shown\n");
        assert!(logs.expect(0).err.is_empty() || is_cut, "{}", logs.err);
        let logs = String::from_utf8(logs.stdout).unwrap();
        let kept: Vec<_> = logs.lines().take(shown.len()).collect();
        assert_eq!(shown, kept, "round {round}");

        let build = project.show("1");
        assert_eq!(
            (&build["outcome"], &build["reason"]),
            (&json!("error"), &json!("runner lost")),
            "round {round}"
        );
        let outcomes: Vec<_> =
            build["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
        let order = |outcome: &&Value| ["success", "error", "skip"].iter().position(|word| outcome == word);
        assert!(outcomes.iter().all(|outcome| order(outcome).is_some()), "none runs for ever: {outcomes:?}");
        assert!(outcomes.is_sorted_by_key(order), "{outcomes:?}");
        assert!(outcomes.iter().filter(|outcome| **outcome == "error").count() <= 1, "{outcomes:?}");
        assert!(project.run(&["history", "list"]).expect(0).out.contains("error (runner lost)"));
        assert!(project.run(&["history", "show"]).expect(0).out.contains("outcome    error (runner lost)"));

        let project = project.scripts(&["true"]);
        assert!(project.run(&["run"]).expect(0).out.starts_with("shop #2  "), "the number is used up");
    }
}

#[test]
fn a_lost_build_names_the_step_that_was_running() {
    let project = Project::new().scripts(&["true", "echo started; sleep 50", "true"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" b | started\n");
    run.signal(Signal::KILL);
    drop(run);
    let build = project.show("1");
    let of = |key: &str| {
        build["steps"].as_array().unwrap().iter().map(|step| step[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("outcome"), ["success", "error", "skip"]);
    assert_eq!(of("reason"), [Value::Null, json!("runner lost"), json!("runner lost")]);
    assert_eq!(build["steps"][1]["attempts"][0]["outcome"], "error");
    let list = project.json(&["history", "list", "--json"]);
    assert_eq!((&list[0]["outcome"], &list[0]["reason"]), (&json!("error"), &json!("runner lost")));
    assert_eq!(project.logs(&["1", "b"]), b"started\n");
}

#[test]
fn builds_at_the_same_time_get_numbers_without_gaps() {
    let project = Project::new().scripts(&["echo $DCD_BUILD_NUMBER"]);
    let runs: Vec<_> = (0..8).map(|_| project.spawn(&["run"])).collect();
    for run in runs {
        run.finish().expect(0);
    }
    let list = project.json(&["history", "list", "--json"]);
    let mut numbers: Vec<_> =
        list.as_array().unwrap().iter().map(|build| build["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    for number in 1..=8 {
        assert_eq!(project.logs(&[&number.to_string()]), format!("{number}\n").as_bytes());
    }
}

#[test]
fn each_component_counts_for_itself() {
    let pipeline = |component: &str| {
        format!(
            "{{\"component\": \"{component}\", \"steps\": [{{\"name\": \"a\", \"run\": \"echo {component}\"}}]}}"
        )
    };
    let project = Project::new().file("a.json", pipeline("a/b")).file("b.json", pipeline("b"));
    for file in ["a.json", "b.json", "b.json"] {
        project.run(&["run", file]).expect(0);
    }
    let list = project.json(&["history", "list", "--json"]);
    let of = |build: &Value| format!("{} {}", build["component"].as_str().unwrap(), build["number"]);
    let builds: Vec<_> = list.as_array().unwrap().iter().map(of).collect();
    assert_eq!(builds, ["b 2", "b 1", "a/b 1"]);
    assert_eq!(project.logs(&["2"]), b"b\n");
    assert_eq!(project.logs(&["--component", "a/b", "1"]), b"a/b\n");
    assert_eq!(project.logs(&["--component", "a/b", "latest"]), b"a/b\n");
    let run = project.run(&["history", "show", "1"]);
    let parts: Vec<_> = run.expect(2).err.lines().collect();
    assert_eq!(parts[1], "help: use more of the id, or name the component: --component NAME");
    let components = project.json(&["history", "list", "--json", "--component", "a/b"]);
    assert_eq!(components.as_array().unwrap().len(), 1);
}

#[test]
fn a_build_is_found_by_more_than_its_number() {
    let project = Project::new().scripts(&["echo one"]);
    project.run(&["run"]).expect(0);
    let project = project.scripts(&["echo two"]);
    project.run(&["run"]).expect(0);
    let first = project.show("1")["id"].as_str().unwrap().to_owned();
    assert_eq!(project.logs(&[&first]), b"one\n");
    assert_eq!(project.logs(&[&first[..24]]), b"one\n");
    assert_eq!(project.logs(&["latest"]), b"two\n");
    insta::assert_snapshot!(project.run(&["history", "show", "3"]).expect(2).err, @r#"
    error: there is no build `3` in this workspace
    help: `dcd history list` shows which builds there are
    "#);
    insta::assert_snapshot!(project.run(&["history", "logs", "1", "nothing"]).expect(2).err, @r#"
    error: the build has no step `nothing`
    help: its steps are `a`
    "#);
    assert!(project.run(&["history", "show", "0"]).expect(2).err.contains("fits more than one build"));
}

#[test]
fn git_does_not_see_what_is_kept() {
    let project = Project::new().scripts(&["true"]).git();
    project.run(&["run"]).expect(0);
    assert_eq!(project.git_run(&["status", "--porcelain"]), "");
    project.run(&["run"]).expect(0);
    assert_eq!(project.show("2")["dirty"], false);
}

#[test]
fn a_journal_that_is_damaged_shows_what_is_before_and_says_so() {
    let project = Project::new().scripts(&["echo first", "echo second", "echo third"]);
    project.run(&["run"]).expect(0);
    let journal = &project.journals()[0];
    let mut bytes = fs::read(journal).unwrap();
    let at = bytes.windows(6).rposition(|part| part == b"second").unwrap();
    bytes[at] ^= 1;
    fs::write(journal, &bytes).unwrap();
    let logs = project.run(&["history", "logs", "1"]);
    assert_eq!(logs.expect(0).out, "first\n");
    insta::assert_snapshot!(logs.err, @"warning: [ROOT]/shop/.dcd/builds/[ID]/journal: the record at byte [OFFSET] is damaged: its checksum does not match; what follows it is not shown");
    let show = project.run(&["history", "show", "1"]);
    assert_eq!(show.expect(0).err, logs.err);
    assert!(show.out.contains("success    a"), "{}", show.out);
    let json = project.run(&["history", "show", "1", "--json"]);
    assert_eq!(json.expect(0).err, logs.err);
    assert!(serde_json::from_slice::<Value>(&json.stdout).is_ok());
    project.run(&["run"]).expect(0);
    assert_eq!(project.json(&["history", "list", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_torn_end_is_the_mark_of_a_lost_build() {
    let project = Project::new().scripts(&["echo first"]);
    project.run(&["run"]).expect(0);
    let journal = &project.journals()[0];
    let bytes = fs::read(journal).unwrap();
    fs::write(journal, &bytes[..bytes.len() - 3]).unwrap();
    let logs = project.run(&["history", "logs", "1"]);
    assert_eq!(logs.expect(0).out, "first\n");
    insta::assert_snapshot!(logs.err, @"warning: [ROOT]/shop/.dcd/builds/[ID]/journal: the record at byte [OFFSET] is damaged: it is cut short; what follows it is not shown");
    assert_eq!(project.run(&["history", "show", "1"]).err, logs.err);
}

#[test]
fn a_journal_of_a_later_version_hides_no_other_build() {
    let project = Project::new().scripts(&["echo first"]);
    project.run(&["run"]).expect(0);
    let journal = &project.journals()[0];
    let mut bytes = fs::read(journal).unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(journal, &bytes).unwrap();
    project.run(&["run"]).expect(0);
    let list = project.run(&["history", "list"]);
    assert_eq!(list.expect(0).out.lines().count(), 2, "{}", list.out);
    insta::assert_snapshot!(list.err, @"warning: the journal of build [ID] cannot be read: the journal has format version 9, and this dcd reads up to version 2: use a newer dcd");
    insta::assert_snapshot!(project.run(&["history", "show", "1"]).expect(3).err, @"error: the journal [ROOT]/shop/.dcd/builds/[ID]/journal cannot be read: the journal has format version 9, and this dcd reads up to version 2: use a newer dcd");
    assert_eq!(project.run(&["history", "logs", "latest"]).expect(0).out, "first\n");
}

#[test]
fn what_is_no_journal_hides_no_build() {
    let project = Project::new().scripts(&["true"]);
    project.run(&["run"]).expect(0);
    project.write(".dcd/builds/0-not-a-build/journal", "hello");
    fs::create_dir(project.path().join(".dcd/builds/0-empty")).unwrap();
    project.write(".dcd/builds/a-file", "");
    // As a runner leaves it that is killed before its first event.
    project.write(".dcd/builds/fe/journal", "");
    project.write(".dcd/builds/ff/journal", b"dcd-jrnl\x02\0");
    let list = project.run(&["history", "list"]);
    assert_eq!(list.expect(0).out.lines().count(), 2);
    insta::assert_snapshot!(list.err, @"warning: the journal of build 0-not-a-build cannot be read: this is not a journal (it does not begin with the bytes `dcd-jrnl`)");
    project.show("latest");
    project.show("1");
}

#[test]
fn a_workspace_that_cannot_be_written_to() {
    let project = Project::new().scripts(&["true"]).file(".dcd", "a file where the directory should be");
    insta::assert_snapshot!(project.run(&["run"]).expect(3).err, @r#"
    error: cannot create the journal [ROOT]/shop/.dcd: Not a directory (os error 20)
    help: make the workspace writable for dcd, and free space on its disk
    "#);
    let project = Project::new().scripts(&["true"]);
    std::os::unix::fs::symlink("/nowhere/at/all", project.path().join(".dcd")).unwrap();
    let run = project.run(&["run"]);
    assert!(run.expect(3).err.contains("cannot create the journal"), "{}", run.err);
    let project = Project::new().scripts(&["true"]);
    let run = project.run(&["run", "--report", "junit=/proc/no/such/place.xml"]);
    assert!(run.expect(3).err.contains("cannot be written"), "{}", run.err);
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere.
        return;
    }
    let project = Project::new().scripts(&["true"]);
    fs::set_permissions(project.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let run = project.run(&["run"]);
    fs::set_permissions(project.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(run.expect(3).err.contains("Permission denied"), "{}", run.err);
}

#[test]
fn what_root_writes_belongs_to_the_workspaces_owner() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give files away.
        return;
    }
    let project = Project::new().scripts(&["true"]);
    std::os::unix::fs::chown(project.path(), Some(12345), Some(23456)).unwrap();
    project.run(&["run"]).expect(0);
    let mut places = vec![project.path().join(".dcd")];
    let mut seen = 0;
    while let Some(place) = places.pop() {
        let metadata = fs::metadata(&place).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 23456), "{}", place.display());
        seen += 1;
        if metadata.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 6, "only {seen} files");
}

#[test]
fn a_full_disk_ends_the_build_and_keeps_what_was_written() {
    // A file system of its own, small: as root, or in a namespace where we are.
    let project = Project::new().scripts(&["echo early", "head -c 3000000 /dev/urandom", "echo late"]);
    let script = "mkdir disk && mount -t tmpfs -o size=1m tmpfs disk || exit 77; cp dcd.json disk; cd disk
        \"$DCD_BIN\" run >../shown; echo $? >../code; \"$DCD_BIN\" history logs 1 | head -n 1 >../kept
        \"$DCD_BIN\" history show 1 --json >../show; cd ..; umount disk";
    let unshare = format!("unshare --mount --map-root-user sh -c '{}'", script.replace('\'', "'\\''"));
    let run = project.shell(&unshare);
    if run.code == 77 || run.err.contains("unshare") {
        assert!(std::env::var_os("CI").is_none(), "no file system can be mounted here: {}", run.err);
        return;
    }
    let read = |name: &str| fs::read_to_string(project.path().join(name)).unwrap();
    assert_eq!((read("code").trim(), read("kept").as_str()), ("3", "early\n"));
    insta::assert_snapshot!(run.err, @r#"
    error: cannot write to the journal [ROOT]/shop/disk/.dcd/builds/[ID]/journal: No space left on device (os error 28)
    help: make the workspace writable for dcd, and free space on its disk
    "#);
    let build: Value = serde_json::from_str(&read("show")).unwrap();
    assert_eq!((&build["outcome"], &build["steps"][0]["outcome"]), (&json!("error"), &json!("success")));
}
