//! What builds printed is dropped, builds are carried to other workspaces, and what was changed in either is found.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    history_dir::{shared, sharing},
    support::Project,
};

/// Where each record of a journal begins and ends.
fn records(journal: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut records) = (16, Vec::new());
    while let Some(length) = journal.get(at..at + 4) {
        let end = at + 8 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        records.push((at, end));
        at = end;
    }
    records
}

/// Makes the checksum of the record fit what it holds now.
fn mend(journal: &mut [u8], (start, end): (usize, usize)) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&journal[start..start + 4]);
    crc.update(&journal[start + 8..end]);
    journal[start + 4..start + 8].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// What `verify` says of the latest build, as it must when something is wrong.
#[track_caller]
fn problem(project: &Project) -> String {
    let run = project.run(&["history", "verify"]);
    assert!(run.expect(10).out.starts_with("damaged shop #1 ("), "{}", run.out);
    run.out.lines().skip(1).map(|line| format!("{}\n", line.trim_start())).collect()
}

fn printing() -> Project {
    let steps = json!([{ "name": "a", "run": "echo first" }, { "name": "b", "run": "echo second" }]);
    let project = Project::new().pipeline(json!({ "component": "shop", "steps": steps }));
    project.run(&["run"]).expect(0);
    project
}

#[test]
fn what_was_changed_in_a_journal_is_named() {
    let project = printing();
    let run = project.run(&["history", "verify"]);
    assert!(run.expect(0).out.starts_with("whole   shop #1 ("), "{}", run.out);
    let journal = &project.journals()[0];
    let bytes = fs::read(journal).unwrap();
    let place = bytes.windows(7).position(|part| part == b"second\n").unwrap();
    let all = records(&bytes);
    let second = all.iter().position(|(start, end)| (*start..*end).contains(&place)).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        change(&mut changed);
        fs::write(journal, changed).unwrap();
        problem(&project)
    };
    let said = format!("journal: event {second} (step.output of `b`) is not what was recorded");
    let text = changed(&|bytes| {
        bytes[place] = b'S';
        mend(bytes, all[second]);
    });
    assert!(text.starts_with(&said), "{text}");
    let text = changed(&|bytes| bytes[place] = b'S');
    assert!(text.contains("is damaged: its checksum does not match"), "{text}");
    let text = changed(&|bytes| drop(bytes.drain(all[second].0..all[second].1)));
    assert!(
        text.starts_with(&format!("journal: event {second} is missing: event {} stands", second + 1)),
        "{text}"
    );
    let text = changed(&|bytes| {
        let ((a, _), (b, end)) = (all[second], all[second + 1]);
        bytes[a..end].rotate_left(b - a);
    });
    assert!(text.starts_with(&format!("journal: event {second} is missing")), "{text}");
    let text = changed(&|bytes| bytes.truncate(all.last().unwrap().0));
    assert!(
        text.starts_with(&format!("journal: its end is missing after {} events", all.len() - 1)),
        "{text}"
    );
    let run = project.run(&["history", "verify", "--all", "--json"]);
    let said: Value = serde_json::from_slice(&run.expect(10).stdout).unwrap();
    assert_eq!(
        (&said["whole"], &said["builds"][0]["problems"][0]["place"]),
        (&json!(false), &json!("journal"))
    );
}

/// The files under a directory that hold the text.
fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let (mut places, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        } else if String::from_utf8_lossy(&fs::read(&place).unwrap()).contains(text) {
            found.push(place);
        }
    }
    found
}

#[test]
fn what_was_changed_in_the_backend_is_named() {
    let project = sharing(None, &["echo first", "echo second"]);
    let there = sharing(Some(&project), &["true"]);
    project.run(&["run"]).expect(0);
    for workspace in [&project, &there] {
        workspace.run(&["history", "verify"]).expect(0);
        workspace.run(&["history", "verify", "--all"]).expect(0);
    }
    let whole = project.json(&["history", "verify", "--json"]);
    assert_eq!(whole["builds"][0]["places"], json!(["journal", "backend"]));
    assert_eq!(whole["builds"][0]["hash"], project.show("1")["hash"]);
    let file = holding(&shared(&project), "second\\n").pop().expect("the output is in a file");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("second\\n", "SECOND\\n")).unwrap();
    for workspace in [&project, &there] {
        let text = problem(workspace);
        assert!(text.starts_with("backend: event ") && text.contains("(step.output of `s1`)"), "{text}");
    }
}

#[test]
fn old_output_is_dropped_and_the_rest_stays() {
    let project = sharing(None, &["echo first", "echo second"]);
    let there = sharing(Some(&project), &["true"]);
    for _ in 0..3 {
        project.run(&["run"]).expect(0);
    }
    assert!(project.run(&["history", "prune"]).expect(2).err.contains("--keep"));
    let dry = project.json(&["history", "prune", "--keep", "1", "--dry-run", "--json"]);
    assert_eq!((&dry["workspace_bytes"], &dry["backend_bytes"]), (&json!(26), &json!(26)));
    assert_eq!(project.logs(&["1"]), b"first\nsecond\n", "nothing was dropped");
    let before = project.show("1");
    insta::assert_snapshot!(project.run(&["history", "prune", "--keep", "1"]).expect(0).out, @"dropped the output of 2 builds of 3: 26 bytes in this workspace, 26 bytes in the history backend");
    insta::assert_snapshot!(project.run(&["history", "prune", "--keep", "1"]).expect(0).out, @"dropped the output of 0 builds of 3: 0 bytes in this workspace, 0 bytes in the history backend");
    for workspace in [&project, &there] {
        let logs = workspace.run(&["history", "logs", "1"]);
        assert_eq!(logs.expect(0).out, "");
        assert_eq!(logs.err, "note: 13 bytes of output were dropped by `dcd history prune`\n");
        assert_eq!(workspace.logs(&["3"]), b"first\nsecond\n");
        let mut after = workspace.show("1");
        assert_eq!(after["pruned"], true);
        after["pruned"] = json!(false);
        assert_eq!(after, before, "all else stays, also how much was printed");
        assert!(
            workspace
                .run(&["history", "show", "1"])
                .expect(0)
                .out
                .contains("what the steps printed was dropped")
        );
        workspace.run(&["history", "verify", "--all"]).expect(0);
        let list = workspace.json(&["history", "list", "--json"]);
        let pruned: Vec<_> = list.as_array().unwrap().iter().map(|build| &build["pruned"]).collect();
        assert_eq!(pruned, [false, true, true]);
    }
}

#[test]
fn what_runs_and_what_is_still_to_be_sent_keeps_its_output() {
    let project = Project::new().scripts(&["echo started; while [ ! -e go ]; do sleep 0.05; done"]);
    let run = project.spawn(&["run"]);
    run.wait_for(" a | started\n");
    assert_eq!(project.json(&["history", "prune", "--keep", "0", "--json"])["pruned"], json!([]));
    project.write("go", "");
    run.finish().expect(0);
    let id = project.show("1")["id"].as_str().unwrap().to_owned();
    project.write(&format!(".dcd/unsent/{id}"), "");
    assert_eq!(project.json(&["history", "prune", "--keep", "0", "--json"])["pruned"], json!([]));
    fs::remove_file(project.path().join(".dcd/unsent").join(id)).unwrap();
    assert_eq!(project.json(&["history", "prune", "--keep", "0", "--json"])["workspace_bytes"], 8);
}

#[test]
fn builds_are_carried_to_another_workspace() {
    let project = sharing(None, &[r"printf 'one\377\n'; head -c 5000 /dev/zero"]);
    project.run(&["run"]).expect(0);
    project.run(&["run"]).expect(0);
    let colleague = sharing(Some(&project), &["true"]);
    let file = project.outside().join("builds.tar");
    let file = file.to_str().unwrap();
    // From journals, and from the backend alone.
    for from in [&project, &colleague] {
        assert!(
            from.run(&["history", "export", "-o", file]).expect(0).out.starts_with("wrote 2 builds into ")
        );
        let other = Project::new();
        assert_eq!(other.run(&["history", "import", file]).expect(0).out, "imported 2 builds\n");
        assert_eq!(
            other.run(&["history", "import", file]).expect(0).out,
            "imported 0 builds; 2 builds were here\n"
        );
        assert_eq!(other.logs(&["1"]), project.logs(&["1"]));
        assert_eq!(other.show("2"), project.show("2"));
        other.run(&["history", "verify", "--all"]).expect(0);
        let bytes = |project: &Project| {
            project.journals().iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(bytes(&other), bytes(&project));
    }
    project.run(&["history", "export", "1", "-o", file]).expect(0);
    let taken = printing();
    let run = taken.run(&["history", "import", file, "--json"]);
    assert!(run.expect(0).err.contains("shop #1 is another build here"), "{}", run.err);
    assert_eq!(taken.logs(&["1"]), b"first\nsecond\n", "the number stays with its build");
    assert_eq!(taken.json(&["history", "list", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn an_archive_is_not_believed() {
    let project = printing();
    let file = project.outside().join("builds.tar");
    let name = file.to_str().unwrap();
    project.run(&["history", "export", "-o", name]).expect(0);
    let bytes = fs::read(&file).unwrap();
    let list = bytes[512..].split(|byte| *byte == 0).next().unwrap().to_vec();
    let place = bytes.windows(6).rposition(|part| part == b"second").unwrap();
    let import = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let other = Project::new();
        let run = other.run(&["history", "import", name]);
        let left: Vec<_> = fs::read_dir(other.path().join(".dcd")).into_iter().flatten().collect();
        assert!(left.len() <= 1, "nothing is left behind: {left:?}");
        assert!(other.journals().is_empty());
        (run.code, run.err)
    };
    let mut changed = bytes.clone();
    changed[place] ^= 0x20;
    let (code, said) = import(&changed);
    assert!(code == 10 && said.contains("is damaged: its checksum does not match"), "{said}");
    // With a checksum that fits.
    let start = bytes.windows(8).rposition(|part| part == b"dcd-jrnl").unwrap();
    let mut journal = changed[start..].to_vec();
    let record =
        records(&journal).into_iter().find(|(from, end)| (*from..*end).contains(&(place - start))).unwrap();
    mend(&mut journal, record);
    changed[start..].copy_from_slice(&journal);
    let (code, said) = import(&changed);
    assert!(code == 10 && said.contains("(step.output of `b`) is not what was recorded"), "{said}");
    let (code, said) = import(b"hello");
    assert!(code == 2 && said.contains("is no archive of builds"), "{said}");
    let (code, said) = import(&bytes[..2048]);
    assert!(code == 2 || code == 10, "{said}");

    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &[u8], bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    };
    add(b"dcd-history.json", &list);
    add(b"builds/../../evil/journal", b"dcd-jrnl");
    let (code, said) = import(&tar.into_inner().unwrap());
    assert!(code == 2 && said.contains("it holds `builds/../../evil/journal`"), "{said}");
    assert!(!project.outside().join("evil").exists());
}
