use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::mpsc;

use super::*;
use crate::{
    engine::message::{StepContent, StepEnd, Stop},
    event::Outcome,
    owner::Owner,
};

/// A workspace, with a build's directory in it.
fn place() -> (tempfile::TempDir, Products) {
    let workspace = tempfile::tempdir().unwrap();
    let build = workspace.path().join(".dcd/builds/0a");
    fs::create_dir_all(&build).unwrap();
    let products = Products::at(&build, Owner::of(&build)).unwrap();
    (workspace, products)
}

/// What becomes of a success when the step did this to its two files: its end, and what is said.
fn after(work: impl FnOnce(&Path, &Path)) -> (StepEnd, Vec<String>) {
    let (workspace, products) = place();
    let mut handover = products.begin(3, 1, true).unwrap();
    let [(_, output), (_, summary)] = handover.env();
    work(Path::new(&output), Path::new(&summary));
    let mut end = StepEnd::new(Outcome::Success);
    let said = handover.take(&mut end).into_iter().map(|log| log.message).collect();
    drop(handover);
    drop(products);
    let left = fs::read_dir(workspace.path().join(".dcd/builds/0a")).map_or(0, Iterator::count);
    assert!(left <= 1, "only what the step put there itself stays");
    (end, said)
}

/// The end's outcome, and what was wrong.
fn words((end, said): (StepEnd, Vec<String>)) -> String {
    let problem = end.problem.map(|problem| problem.message);
    [end.outcome.to_string()].into_iter().chain(problem).chain(said).collect::<Vec<_>>().join("; ")
}

#[test]
fn outputs_and_summary_are_taken() {
    let (end, said) = after(|output, summary| {
        fs::write(output, "tag=v1\nempty=\n").unwrap();
        fs::write(summary, b"# Done \xff\n").unwrap();
    });
    assert_eq!((end.outcome, end.summary.as_deref()), (Outcome::Success, Some("# Done \u{fffd}\n")));
    assert_eq!(serde_json::to_string(&end.outputs).unwrap(), r#"{"empty":"","tag":"v1"}"#);
    assert_eq!(said, [""; 0]);
    let (end, said) = after(|_, _| ());
    assert_eq!((end, said), (StepEnd::new(Outcome::Success), Vec::new()));
}

#[test]
fn a_file_that_was_replaced_by_another_is_read() {
    let (end, _) = after(|output, _| {
        let new = output.with_extension("new");
        fs::write(&new, "a=1\n").unwrap();
        fs::rename(new, output).unwrap();
    });
    assert_eq!(end.outputs["a"], "1");
}

#[test]
fn nothing_else_is_read_and_nothing_hangs() {
    let secret = |output: &Path| output.with_file_name("secret");
    let linked = after(|output, _| {
        fs::write(secret(output), "password=1\n").unwrap();
        fs::remove_file(output).unwrap();
        symlink(secret(output), output).unwrap();
    });
    assert!(linked.0.outputs.is_empty());
    insta::assert_snapshot!(words(linked), @"error; the step put something else than a file in the place of DCD_OUTPUT");
    let fifo = after(|output, summary| {
        for path in [output, summary] {
            fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }
    });
    insta::assert_snapshot!(words(fifo), @"error; the step put something else than a file in the place of DCD_OUTPUT; the step put something else than a file in the place of DCD_SUMMARY");
    let directory = after(|output, _| {
        fs::remove_file(output).unwrap();
        fs::create_dir(output).unwrap();
    });
    insta::assert_snapshot!(words(directory), @"error; the step put something else than a file in the place of DCD_OUTPUT");
    let gone = after(|output, summary| {
        fs::remove_file(output).unwrap();
        fs::remove_file(summary).unwrap();
    });
    insta::assert_snapshot!(words(gone), @"error; the step deleted the file of DCD_OUTPUT; the step deleted the file of DCD_SUMMARY");
    let moved = after(|output, _| {
        let build = output.parent().unwrap().parent().unwrap();
        fs::rename(build, build.with_file_name("0b")).unwrap();
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        fs::write(output, "password=1\n").unwrap();
    });
    assert!(moved.0.outputs.is_empty(), "not even through another directory");
    let elsewhere = tempfile::tempdir().unwrap();
    let other = elsewhere.path().join("output");
    fs::write(&other, "password=1\n").unwrap();
    let linked = after(|output, _| {
        let folder = output.parent().unwrap();
        fs::remove_dir_all(folder).unwrap();
        symlink(elsewhere.path(), folder).unwrap();
    });
    insta::assert_snapshot!(words(linked), @"error; the step deleted the file of DCD_OUTPUT; the step deleted the file of DCD_SUMMARY");
    assert!(other.exists(), "nor is anything deleted there");
}

#[test]
fn what_is_too_much_is_said() {
    let large = after(|output, _| fs::write(output, vec![b'a'; (1 << 20) + 1]).unwrap());
    insta::assert_snapshot!(words(large), @"error; the step wrote more than 1 MiB to DCD_OUTPUT");
    let (end, said) = after(|_, summary| fs::write(summary, "ö".repeat(1 << 20)).unwrap());
    assert_eq!(end.summary.unwrap().len(), 1 << 20);
    assert_eq!(said, ["the step's summary is cut: it is longer than 1 MiB"]);
    let nul = after(|_, summary| fs::write(summary, "a\0b").unwrap());
    assert_eq!(nul.0.summary, None);
    insta::assert_snapshot!(words(nul), @"success; the step's summary is left out: it has a NUL byte, so it is no text");
}

#[test]
fn a_failure_stays_one_with_bad_outputs() {
    let (_workspace, products) = place();
    let mut handover = products.begin(0, 2, true).unwrap();
    fs::write(&handover.env()[0].1, "nonsense\n").unwrap();
    let mut end = StepEnd::new(Outcome::Failure);
    let said = handover.take(&mut end);
    assert_eq!((end, said.len()), (StepEnd::new(Outcome::Failure), 1));
}

#[test]
fn a_build_without_its_directory_says_what_happened() {
    let (workspace, products) = place();
    fs::remove_dir_all(workspace.path().join(".dcd")).unwrap();
    let problem = products.begin(0, 1, true).err().unwrap();
    assert!(problem.message.contains("is gone") && problem.help.unwrap().contains("git clean -e .dcd"));
}

#[test]
fn an_attempts_old_file_is_no_hindrance() {
    let (_workspace, products) = place();
    std::mem::forget(products.begin(0, 1, true).unwrap());
    let again = products.begin(0, 1, true).unwrap();
    assert_eq!(fs::read(&again.env()[0].1).unwrap(), b"");
}

/// What is said of the step's files.
async fn collected(
    workspace: &Path,
    handover: &Handover,
    succeeded: bool,
    wanted: [&[&str]; 2],
) -> Vec<String> {
    let globs = |globs: &[&str]| globs.iter().map(|&glob| glob.to_owned()).collect();
    let [outputs, junit] = wanted.map(globs);
    let wanted = Wanted { workspace: workspace.to_owned(), outputs, junit };
    let (sender, mut messages) = mpsc::channel(100);
    let (_stop, mut control) = mpsc::unbounded_channel();
    collect(wanted, handover, succeeded, 0, &sender, &mut control).await;
    drop(sender);
    let mut said = Vec::new();
    while let Some(message) = messages.recv().await {
        said.push(match message.content {
            StepContent::Log(log) => log.message,
            StepContent::Artifacts(artifacts) => {
                artifacts.artifacts.into_iter().map(|artifact| artifact.path).collect::<Vec<_>>().join(" ")
            }
            StepContent::Tests(tests) => {
                let names: Vec<_> = tests.cases.iter().map(|case| case.name.as_str()).collect();
                format!("{}: {} {}", tests.report, names.len(), names.first().unwrap())
            }
            other => panic!("{other:?}"),
        });
    }
    said
}

#[tokio::test]
async fn reports_count_when_this_attempt_wrote_them() {
    let (workspace, products) = place();
    let report = |name: &str, test: &str| {
        let text = format!("<testsuite><testcase name='{test}'/></testsuite>");
        fs::write(workspace.path().join(name), text).unwrap();
    };
    report("old.xml", "old");
    // The clock that files get their times from goes in steps of up to 10 ms.
    std::thread::sleep(Duration::from_millis(30));
    let handover = products.begin(0, 1, true).unwrap();
    report("new.xml", "new");
    fs::write(workspace.path().join("page.xml"), "<html/>").unwrap();
    let globs: [&[&str]; 2] = [&["none.gz"], &["*.xml", "none.xml", "old.xml"]];
    let said = collected(workspace.path(), &handover, true, globs).await;
    assert_eq!(
        said,
        [
            "reports.junit: `none.xml` matches no file that this attempt wrote",
            "reports.junit: `old.xml` matches no file that this attempt wrote",
            "new.xml: 1 new",
            "reports.junit: page.xml is no test report: it begins with <html>, and not with <testsuites> or <testsuite>",
            "outputs: `none.gz` matches no file",
        ]
    );
    let failed = collected(workspace.path(), &handover, false, globs).await;
    assert_eq!(failed, said[2..4], "no artifacts, and no word of a report that is missing");
}

#[tokio::test]
async fn a_long_report_comes_in_several_events() {
    let (workspace, products) = place();
    let handover = products.begin(0, 1, true).unwrap();
    let cases: String = (0..2500).map(|number| format!("<testcase name='{number}'/>")).collect();
    fs::write(workspace.path().join("a.xml"), format!("<testsuite>{cases}</testsuite>")).unwrap();
    let said = collected(workspace.path(), &handover, true, [&[], &["a.xml"]]).await;
    assert_eq!(said, ["a.xml: 1000 0", "a.xml: 1000 1000", "a.xml: 500 2000"]);
    let text = "x".repeat(2000);
    let cases = format!("<testcase name='a'><failure>{text}</failure></testcase>").repeat(500);
    fs::write(workspace.path().join("a.xml"), format!("<testsuite>{cases}</testsuite>")).unwrap();
    let said = collected(workspace.path(), &handover, true, [&[], &["a.xml"]]).await;
    assert_eq!(said, ["a.xml: 132 a"; 3].into_iter().chain(["a.xml: 104 a"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn collecting_can_be_stopped_while_nobody_listens() {
    let (workspace, products) = place();
    let handover = products.begin(0, 1, true).unwrap();
    for number in 0..3000 {
        fs::write(workspace.path().join(number.to_string()), "").unwrap();
    }
    for stop in [Stop::Grace, Stop::Kill] {
        let wanted =
            Wanted { workspace: workspace.path().to_owned(), outputs: vec!["*".into()], junit: Vec::new() };
        let (sender, mut messages) = mpsc::channel(1);
        let (stops, mut control) = mpsc::unbounded_channel();
        let reading = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stops.send(stop).unwrap();
            if stop == Stop::Grace {
                while messages.recv().await.is_some() {}
            }
        };
        let collecting = async {
            let sender = sender;
            collect(wanted, &handover, true, 0, &sender, &mut control).await;
        };
        let both = async { tokio::join!(reading, collecting) };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    }
}

/// What is in a build's directory.
fn names(build: &Path) -> Vec<String> {
    let names = fs::read_dir(build).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn paths(handover: &Handover) -> [PathBuf; 2] {
    handover.env().map(|(_, path)| PathBuf::from(path))
}

/// An attempt that does nothing; where its files were.
fn idle(products: &Products, step: usize) -> [PathBuf; 2] {
    let mut handover = products.begin(step, 1, false).unwrap();
    handover.take(&mut StepEnd::new(Outcome::Success));
    paths(&handover)
}

#[test]
fn only_files_that_nobody_touched_are_used_again() {
    let build = tempfile::tempdir().unwrap();
    let names = || names(build.path());
    let products = Products::at(build.path(), Owner::of(build.path())).unwrap();
    let inodes = |handover: &Handover| paths(handover).map(|path| fs::metadata(path).unwrap().ino());
    let handover = products.begin(0, 1, true).unwrap();
    let first = inodes(&handover);
    drop(handover);
    assert_eq!(names(), ["attempt-0-1"], "it waits");
    let mut handover = products.begin(1, 1, true).unwrap();
    assert_eq!((names(), inodes(&handover)), (vec!["attempt-1-1".to_owned()], first), "under a new name");
    fs::write(&paths(&handover)[0], "a=1\n").unwrap();
    handover.take(&mut StepEnd::new(Outcome::Success));
    drop(handover);
    assert_eq!(names(), [""; 0], "there is something in it");
    let mut handover = products.begin(2, 1, true).unwrap();
    handover.take(&mut StepEnd { leaked: true, ..StepEnd::new(Outcome::Success) });
    drop(handover);
    assert_eq!(names(), [""; 0], "somebody may still write to them");
    drop(products.begin(3, 1, true).unwrap());
    drop(products);
    assert_eq!(names(), [""; 0], "the build is over");
}

/// Something that is done to an attempt's files when it has ended.
type Harm<'a> = &'a dyn Fn(&[PathBuf; 2]);

#[test]
fn what_is_done_to_files_later_is_seen_when_they_are_to_be_used() {
    let build = tempfile::tempdir().unwrap();
    let products = Products::at(build.path(), Owner::of(build.path())).unwrap();
    let aside = |name: &str| build.path().join(name);
    let harms: [Harm<'_>; 8] = [
        &|[output, _]| fs::write(output, "a=1\n").unwrap(),
        &|[_, summary]| fs::remove_file(summary).unwrap(),
        &|[output, summary]| fs::rename(output, summary).unwrap(),
        &|[output, _]| fs::hard_link(output, aside("hard")).unwrap(),
        &|[output, _]| fs::set_permissions(output, PermissionsExt::from_mode(0o400)).unwrap(),
        &|[output, _]| fs::write(output.with_extension("tmp"), "").unwrap(),
        &|[output, _]| {
            fs::set_permissions(output.parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
        },
        &|[output, _]| {
            fs::rename(output.parent().unwrap(), aside("linked")).unwrap();
            symlink("linked", output.parent().unwrap()).unwrap();
        },
    ];
    for (step, harm) in harms.into_iter().enumerate() {
        let old = idle(&products, step);
        // The clock that files get their times from goes in steps of up to 10 ms.
        std::thread::sleep(Duration::from_millis(30));
        harm(&old);
        let mut handover = products.begin(step, 2, false).unwrap();
        assert!(!old[0].exists() && !old[1].exists(), "harm {step}");
        for path in paths(&handover) {
            let metadata = fs::metadata(&path).unwrap();
            assert!(
                metadata.len() == 0 && metadata.nlink() == 1 && metadata.mode() & 0o200 != 0,
                "harm {step}"
            );
            assert!(fs::read_dir(path.parent().unwrap()).unwrap().count() == 2, "harm {step}");
        }
        let mut end = StepEnd { leaked: true, ..StepEnd::new(Outcome::Success) };
        assert_eq!((handover.take(&mut end), end.outputs.len()), (Vec::new(), 0));
    }
    // The step's own file, and the link: all else is gone.
    assert_eq!(names(build.path()), ["attempt-5-1", "attempt-7-1", "hard", "linked"]);
}

#[test]
fn what_is_put_in_a_folders_place_is_not_in_the_way() {
    let build = tempfile::tempdir().unwrap();
    let products = Products::at(build.path(), Owner::of(build.path())).unwrap();
    let old = idle(&products, 0);
    let (folder, moved) = (old[0].parent().unwrap(), build.path().join("moved"));
    fs::rename(folder, &moved).unwrap();
    fs::create_dir(folder).unwrap();
    for file in ["output", "summary"] {
        fs::rename(moved.join(file), folder.join(file)).unwrap();
    }
    let mut handover = products.begin(0, 2, false).unwrap();
    fs::write(&paths(&handover)[0], "a=1\n").unwrap();
    let mut end = StepEnd::new(Outcome::Success);
    assert_eq!((handover.take(&mut end), end.outputs.len()), (Vec::new(), 1));
    drop(handover);
    assert_eq!(names(build.path()), ["attempt-0-1", "moved"]);
    // A name that is taken, by a file or by a link, is made free.
    fs::write(build.path().join("attempt-1-1"), "").unwrap();
    symlink("moved", build.path().join("attempt-2-1")).unwrap();
    for step in [1, 2] {
        let handover = products.begin(step, 1, false).unwrap();
        assert!(paths(&handover).iter().all(|path| path.exists()));
        std::mem::forget(handover);
    }
    assert_eq!(fs::read_dir(moved).unwrap().count(), 0);
}
