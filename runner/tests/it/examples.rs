//! The projects of `examples/`, each run by its own pipeline from a copy.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dcd::event::{Body, Outcome};
use serde_json::Value;

use crate::support::{Output, Project};

/// A copy of the example in a repository of its own; `None`, with a line that says why, where its tools are missing.
fn example(name: &str, tools: &[&str]) -> Option<Project> {
    let missing = tools.iter().find(|tool| {
        !Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().unwrap().status.success()
    });
    if let Some(tool) = missing {
        let reason = format!("there is no {tool}: scripts/setup test installs it");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    let mut project = Project::new();
    // The tools' own homes, as the test's home is empty.
    for variable in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        let home = std::env::var("HOME").unwrap_or_default();
        let value = std::env::var(variable).ok().or_else(|| {
            let place = format!("{home}/.{}", variable.strip_suffix("_HOME")?.to_lowercase());
            Path::new(&place).exists().then_some(place)
        });
        if let Some(value) = value {
            project = project.env(variable, &value);
        }
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name), project.path());
    let project = project.git();
    project.git_run(&["commit", "--quiet", "--allow-empty", "--message=feat: begin"]);
    Some(project)
}

/// What was made there by hand stays there.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let made = [".dcd", "target", "build", "dist", "reports", "__pycache__"];
        if made.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if source.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// What a build came to.
struct Built {
    show: Value,
    /// By path: the SHA-256.
    artifacts: BTreeMap<String, String>,
    /// How many tests each report has; all of them passed.
    tests: BTreeMap<String, usize>,
}

impl Built {
    fn read(project: &Project, run: &Output) -> Self {
        run.expect(0);
        let mut built =
            Built { show: project.show("latest"), artifacts: BTreeMap::new(), tests: BTreeMap::new() };
        let journal: PathBuf = project.journals().pop().unwrap();
        let mut reader = dcd::journal::Reader::open(&journal).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            match event.body {
                Body::StepArtifacts(found) => {
                    let pairs = found.artifacts.into_iter().map(|artifact| (artifact.path, artifact.sha256));
                    built.artifacts.extend(pairs);
                }
                Body::StepTests(found) => {
                    assert!(found.cases.iter().all(|case| case.outcome == Outcome::Success), "{found:?}");
                    *built.tests.entry(found.report).or_default() += found.cases.len();
                }
                _ => {}
            }
        }
        for (path, sha256) in &built.artifacts {
            let sum = Command::new("sha256sum").arg(project.path().join(path)).output().unwrap();
            assert!(String::from_utf8(sum.stdout).unwrap().starts_with(sha256), "{path}");
        }
        assert_eq!(project.git_run(&["status", "--porcelain"]), "", "git ignores what steps make");
        built
    }

    fn step(&self, name: &str) -> &Value {
        let mut steps = self.show["steps"].as_array().unwrap().iter();
        steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name}: {:#}", self.show))
    }

    fn outcomes(&self) -> String {
        let steps = self.show["steps"].as_array().unwrap().iter();
        let words = steps
            .map(|step| format!("{} {}", step["name"].as_str().unwrap(), step["outcome"].as_str().unwrap()));
        words.collect::<Vec<_>>().join("\n")
    }

    fn artifacts(&self) -> Vec<&str> {
        self.artifacts.keys().map(String::as_str).collect()
    }

    fn tests(&self) -> Vec<(&str, usize)> {
        self.tests.iter().map(|(report, count)| (report.as_str(), *count)).collect()
    }
}

#[test]
fn rust_workspace() {
    let Some(project) = example("rust-workspace", &["cargo", "cargo-nextest", "git"]) else { return };
    let built = Built::read(&project, &project.run(&["run"]));
    insta::assert_snapshot!(built.outcomes(), @r"
    format success
    clippy success
    test success
    doc-test success
    build success
    version success
    package success
    summary success
    ");
    assert_eq!(built.tests(), [("target/nextest/ci/junit.xml", 8)]);
    assert_eq!(built.step("version")["outputs"]["next"], "0.4.0");
    assert_eq!(built.artifacts(), ["dist/next-version", "dist/next-version-0.4.0.tar.gz"]);

    let built = Built::read(&project, &project.run(&["run", "--param", "profile=dev"]));
    assert_eq!(built.step("package")["outcome"], "skip");
    assert_eq!(built.step("summary")["summary"], "next-version: tests ended in **success**\n");
}

#[test]
fn node() {
    let Some(project) = example("node", &["node"]) else { return };
    let refused = project.run(&["run"]);
    assert!(refused.expect(2).err.contains("SIGNING_KEY"), "{}", refused.err);
    let built = Built::read(&project, &project.run(&["run", "--skip", "sign"]));
    assert_eq!(built.artifacts(), ["dist/headings-1.2.0.tgz"]);
    assert!(built.step("summary")["summary"].as_str().unwrap().contains(", not signed"), "{:#}", built.show);

    let project = project.env("SIGNING_KEY", "not to be seen");
    let run = project.run(&["run"]);
    let built = Built::read(&project, &run);
    insta::assert_snapshot!(built.outcomes(), @r"
    lint success
    test success
    smoke success
    deprecations success
    pack success
    sign success
    summary success
    ");
    assert_eq!(built.tests(), [("reports/junit.xml", 9)]);
    assert_eq!(built.artifacts(), ["dist/headings-1.2.0.tgz", "dist/headings-1.2.0.tgz.sig"]);
    assert_eq!(built.step("pack")["outputs"]["file"], "dist/headings-1.2.0.tgz");
    assert!(!run.out.contains("not to be seen"));
}

#[test]
fn c_make() {
    let Some(project) = example("c-make", &["cc", "make"]) else { return };
    let built = Built::read(&project, &project.run(&["run"]));
    let outcomes = built.outcomes();
    // With cppcheck it is a success, without an error: neither counts.
    assert_eq!(built.step("cppcheck")["conclusion"], "success");
    let others: Vec<_> = outcomes.lines().filter(|line| !line.starts_with("cppcheck")).collect();
    insta::assert_snapshot!(others.join("\n"), @r"
    build (release) success
    build (sanitize) success
    check (release) success
    check (sanitize) success
    tests success
    dist success
    try-dist success
    clean-up success
    ");
    assert_eq!(built.tests(), [("build/reports/release.xml", 23), ("build/reports/sanitize.xml", 23)]);
    assert_eq!(built.artifacts(), ["build/base32-0.2.1.tar.gz"]);
    let digest = &built.artifacts["build/base32-0.2.1.tar.gz"];
    assert_eq!(built.step("dist")["outputs"]["sha256"].as_str(), Some(digest.as_str()));
    assert!(!project.path().join("build/try").exists());

    // The same sources give the same archive; a mistake in them is found, and what has to happen happens.
    assert_eq!(Built::read(&project, &project.run(&["run"])).artifacts, built.artifacts);
    let source = fs::read_to_string(project.path().join("src/base32.c")).unwrap();
    project.write("src/base32.c", source.replace("35 - 5 * i", "34 - 5 * i"));
    project.run(&["run"]).expect(1);
    let show = project.show("latest");
    let of = |name: &str| {
        show["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!(
        ["check (release)", "tests", "dist", "clean-up"].map(of),
        ["failure", "success", "skip", "success"]
    );
}

#[test]
fn monorepo() {
    let Some(project) = example("monorepo", &["node", "python3", "git"]) else { return };
    let built = Built::read(&project, &project.run(&["run"]));
    insta::assert_snapshot!(built.outcomes(), @r"
    tools success
    whitespace success
    node (libs/money)/syntax success
    node (libs/money)/test success
    node (services/prices)/syntax success
    node (services/prices)/test success
    orders/test success
    together success
    bundle success
    summary success
    ");
    let tests = [
        ("libs/money/reports/junit.xml", 2),
        ("services/orders/reports/junit.xml", 4),
        ("services/prices/reports/junit.xml", 3),
    ];
    assert_eq!(built.tests(), tests);
    assert_eq!(built.artifacts(), ["dist/orders.tar.gz", "dist/prices.tar.gz"]);
    let node = built.step("tools")["outputs"]["node"].as_str().unwrap();
    assert!(built.step("summary")["summary"].as_str().unwrap().contains(node));

    let built = Built::read(&project, &project.run(&["run", "--only", "node"]));
    assert_eq!(built.step("node (libs/money)/test")["outcome"], "success");
    assert_eq!(built.step("orders/test")["outcome"], "skip");
}
