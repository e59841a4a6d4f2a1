//! Builds in a directory that several workspaces share: the `history-dir` backend.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Project, Running};

/// A workspace whose builds are kept in a directory beside it, or in that of another one.
pub(crate) fn sharing(with: Option<&Project>, scripts: &[&str]) -> Project {
    let project = Project::new();
    let shared = with.map_or_else(|| shared(&project), shared);
    fs::create_dir_all(&shared).unwrap();
    let project = project.granted("history-dir", &json!({ "fs": [{ "path": shared, "access": "rw" }] }));
    let step = |(index, script): (usize, &&str)| json!({ "name": format!("s{index}"), "run": script });
    let steps: Vec<_> = scripts.iter().enumerate().map(step).collect();
    let history = json!({ "uses": "history-dir", "with": { "path": shared } });
    project.pipeline(json!({ "component": "shop", "history": history, "steps": steps }))
}

pub(crate) fn shared(project: &Project) -> PathBuf {
    project.outside().join("shared")
}

#[test]
fn a_build_is_found_from_another_workspace() {
    let first = sharing(None, &[r"echo one; printf '\377\000\033[1m\n'", "seq 3000", "exit 3"]);
    let run = first.run(&["run"]);
    assert_eq!(run.expect(1).err, "");
    let here = first.show("1");
    let id = here["id"].as_str().unwrap();

    let second = sharing(Some(&first), &["echo two"]);
    let mut list = second.json(&["history", "list", "--json"]);
    // By the events' clock, and by one that never jumps.
    list[0]["duration_ms"] = here["duration_ms"].clone();
    assert_eq!(list, first.json(&["history", "list", "--json"]));
    let mut there = second.show("1");
    // Its end there is when it was told, not when it happened.
    for key in ["finished_at", "duration_ms"] {
        there[key] = here[key].clone();
    }
    assert_eq!(there, here, "every fact, step and attempt");
    for name in [id, &id[..20], "1", "latest"] {
        assert_eq!(second.logs(&[name]), first.logs(&["1"]), "{name}");
    }
    assert_eq!(second.logs(&["1", "s1"]), first.logs(&["1", "s1"]));
    assert_eq!(second.logs(&["--component", "shop", "latest", "s0"]), b"one\n\xff\0\x1b[1m\n");
    assert!(second.run(&["history", "show", "1"]).expect(0).out.contains("failure    s2"));
    let run = second.run(&["history", "list", "--local"]);
    assert_eq!(run.expect(0).out, "There are no builds here yet. Make one: dcd run\n");
    assert!(second.run(&["history", "logs", "1", "s9"]).expect(2).err.contains("`s0`, `s1`, `s2`"));

    assert!(second.run(&["run"]).expect(0).out.starts_with("shop #2  "));
    assert_eq!(first.logs(&["latest"]), b"two\n");
    assert_eq!(first.logs(&["2"]), b"two\n");
}

#[test]
fn the_backend_has_every_event_of_the_journal() {
    let project = sharing(None, &["seq 5", "echo end"]);
    project.run(&["run"]).expect(0);
    let mut reader = dcd::journal::Reader::open(&project.journals()[0]).unwrap();
    let mut kept = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        kept.push((record.seq, record.at, record.kind, record.step.as_deref().map(str::to_owned)));
    }
    let mut files = vec![shared(&project)];
    let mut there = Vec::new();
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path()));
        } else if file.extension().is_some_and(|extension| extension == "jsonl") {
            for line in fs::read_to_string(&file).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| line[key].as_str().map(str::to_owned);
                let (seq, at) = (line["seq"].as_u64().unwrap(), line["at"].as_u64().unwrap());
                there.push((seq, at, text("kind").unwrap(), text("step")));
            }
        }
    }
    there.sort();
    assert_eq!(there, kept);
}

#[test]
fn numbers_are_unique_among_workspaces() {
    let first = sharing(None, &["echo $DCD_BUILD_NUMBER"]);
    let second = sharing(Some(&first), &["echo $DCD_BUILD_NUMBER"]);
    let runs: Vec<_> = (0..3).flat_map(|_| [first.spawn(&["run"]), second.spawn(&["run"])]).collect();
    for run in runs.into_iter().map(Running::finish) {
        assert_eq!(run.expect(0).err, "");
    }
    let list = first.json(&["history", "list", "--json"]);
    let mut numbers: Vec<_> =
        list.as_array().unwrap().iter().map(|build| build["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
    for number in 1..=6 {
        assert_eq!(first.logs(&[&number.to_string()]), format!("{number}\n").as_bytes());
    }
}

#[test]
fn a_directory_that_is_not_granted() {
    let project = Project::new().plugin("history-dir");
    let path = project.outside().join("shared");
    fs::create_dir(&path).unwrap();
    let history = json!({ "uses": "history-dir", "with": { "path": path } });
    let steps = json!([{ "name": "a", "run": "echo ran" }]);
    let project = project.pipeline(json!({ "history": history, "steps": steps }));
    let run = project.run(&["run"]);
    assert!(
        run.expect(4).out.contains("(number pending)") && run.out.contains("> a\n[TIME] a | ran\nok a"),
        "{}",
        run.out
    );
    insta::assert_snapshot!(run.err, @r#"
    warning: history backend history-dir: plugin history-dir: the directory [ROOT]/shared does not exist or is not granted to this plugin (No such file or directory (os error 44)) (history-dir/no-directory)
    The build runs on without a number; its journal keeps it meanwhile.
    warning: history backend history-dir does not have the whole build: plugin history-dir: the directory [ROOT]/shared does not exist or is not granted to this plugin (No such file or directory (os error 44)) (history-dir/no-directory)
    help: create the directory, and grant it in the plugin's entry of the pipeline's `plugins` block: "allow": {"fs": [{"path": "[ROOT]/shared", "access": "rw"}]}
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync
    "#);
    assert_eq!(project.run(&["history", "logs", "latest"]).expect(0).out, "ran\n");
}

#[test]
fn a_config_that_the_backend_refuses() {
    let project = Project::new().plugin("history-dir");
    let history = json!({ "uses": "history-dir", "with": { "path": "shared" } });
    let steps = json!([{ "name": "a", "run": "echo ran" }]);
    let project = project.pipeline(json!({ "history": history, "steps": steps }));
    let run = project.run(&["run"]);
    assert!(run.expect(4).out.contains("> a\n[TIME] a | ran\nok a"), "{}", run.out);
    insta::assert_snapshot!(run.err, @r#"
    warning: history backend history-dir: plugin history-dir: its config is wrong: path: "shared" is not an absolute path
    The build runs on without a number; its journal keeps it meanwhile.
    warning: history backend history-dir does not have the whole build: plugin history-dir: its config is wrong: path: "shared" is not an absolute path
    help: write the whole path, beginning with `/`
    The build is kept in its journal, .dcd/builds/[ID]. The next run sends it, or: dcd history sync
    "#);
}
