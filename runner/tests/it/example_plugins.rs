//! The plugins of `examples/plugins` in other languages, as their pages say it (`docs/plugins/`).

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::Project;

/// A workspace with the component that `scripts/example-plugins` built, which got its manifest.
fn project(file: &str, manifest: &[&str]) -> Project {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/example-plugins").join(file);
    assert!(built.exists(), "{} is missing: run scripts/example-plugins", built.display());
    let project = Project::new();
    fs::copy(&built, project.path().join(file)).unwrap();
    project.run(&[&["plugin", "manifest", file], manifest].concat()).expect(0);
    project
}

fn said(out: &str) -> &str {
    &out[out.find("\n> ").unwrap() + 1..out.find("\nSee it again").unwrap()]
}

#[test]
fn javascript_computes_a_version() {
    let project = project("semver.wasm", &["--name", "semver"]);
    let next = |with: Value| json!({ "name": "next", "uses": "semver", "with": with });
    let plugins = json!({ "semver": { "path": "semver.wasm" } });
    let project = project.pipeline(json!({ "plugins": plugins, "component": "shop", "steps": [
        next(json!({ "current": "v1.4.2", "bump": "minor" })),
        { "name": "use", "run": "echo $TAG", "env": { "TAG": "${{ steps.next.outputs.tag }}" } },
    ] }));
    insta::assert_snapshot!(said(&project.run(&["run"]).expect(0).out), @r"
    > next
    [TIME] next | [info] shop: v1.4.2 -> 1.5.0 bump=minor
    ok next  [TOOK]
       1.5.0
    > use
    [TIME] use | v1.5.0
    ok use  [TOOK]
    shop #1: success in [TOOK]
    ");
    let wrong = json!({ "current": "1.4.2", "bump": "patch", "pre": "a b" });
    let project = project.pipeline(json!({ "plugins": plugins, "steps": [next(wrong)] }));
    let run = project.run(&["run"]);
    assert!(run.expect(2).err.contains("`pre` of plugin semver: letters, digits"), "{}", run.err);
}

#[test]
fn a_manifest_is_added_once_and_says_what_is_known() {
    let project =
        project("semver.wasm", &["--name", "semver", "--plugin-version", "2.0.0", "--ask", "http=to ask"]);
    let inspected = project.json(&["plugin", "inspect", "semver.wasm", "--json"]);
    assert_eq!((&inspected["name"], &inspected["version"]), (&json!("semver"), &json!("2.0.0")));
    assert_eq!(inspected["asks"], json!([{ "kind": "http", "reason": "to ask" }]));
    let refused = |args: &[&str]| {
        project.run(&[&["plugin", "manifest", "semver.wasm"], args].concat()).expect(2).err.clone()
    };
    assert!(refused(&["--name", "x"]).contains("semver.wasm has a manifest already"));
    assert!(
        refused(&["--name", "x", "--ask", "udp=why"])
            .contains("\"udp=why\" is nothing that a plugin can ask for")
    );
    project.write("no.wasm", "no");
    let run = project.run(&["plugin", "manifest", "no.wasm", "--name", "no"]);
    assert!(run.expect(2).err.contains("no.wasm is not a plugin"), "{}", run.err);
    assert_eq!(fs::read(project.path().join("no.wasm")).unwrap(), b"no");
}

/// Compiling 18 MB takes most of the time: both steps are in one pipeline.
#[test]
fn python_judges_a_coverage_report() {
    let project =
        project("coverage_gate.wasm", &["--name", "coverage-gate", "--ask", "fs=to read the report"]);
    let report = r#"<?xml version="1.0" ?>
        <coverage line-rate="0.8512"><packages><package name="."><classes>
        <class filename="cart.py" line-rate="0.6"/><class filename="pay.py" line-rate="0.98"/>
        </classes></package></packages></coverage>"#;
    let grants = json!({ "fs": [{ "path": "reports", "access": "ro" }] });
    let gate = |name: &str, percent: u8| {
        let with = json!({ "report": "reports/coverage.xml", "min_lines": percent });
        json!({ "name": name, "uses": "coverage-gate", "with": with })
    };
    let project = project.file("reports/coverage.xml", report).pipeline(json!({
        "component": "shop",
        "plugins": { "coverage-gate": { "path": "coverage_gate.wasm", "allow": grants } },
        "steps": [gate("enough", 80), gate("too little", 90)],
    }));
    // Without the limit of `Project::run`: on a busy machine the compiler may take a minute.
    let run = project.dcd(&["run"]).output().unwrap();
    let out = project.cleaner().clean(&String::from_utf8(run.stdout).unwrap());
    assert_eq!(run.status.code(), Some(1), "{out}");
    insta::assert_snapshot!(said(&out), @r"
    > enough
    [TIME] enough | 85.1 % of all lines are covered
    ok enough  [TOOK]
       85.1 % of lines covered
    > too little
    [TIME] too little | 85.1 % of all lines are covered
    [TIME] too little |    60.0 %  cart.py
    [TIME] too little |    98.0 %  pay.py
      85.1 % of all lines are covered, and 90 % must be
      help: write tests for the files above
    !! too little  failure, [TOOK]
    shop #1: failure in [TOOK]: too little
    ");
    assert_eq!(project.show("1")["steps"][0]["outputs"], json!({ "lines": 85.1 }));
}
