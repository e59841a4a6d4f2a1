//! What the record says of what plugins used.

use serde_json::json;

use crate::support::Project;

#[test]
fn what_a_backend_and_an_observer_used_is_recorded() {
    let project = Project::new();
    let told = project.path().join("told.txt").display().to_string();
    let workspace = json!([{ "path": project.path(), "access": "rw" }]);
    let project = project
        .granted("fixture-history", &json!({ "secrets": ["KEEP", "NEVER"] }))
        .granted("fixture-observer", &json!({ "secrets": ["TELL"], "fs": workspace }))
        .env("KEEP", "k33p-s3cret")
        .env("TELL", "t311-s3cret")
        .pipeline(json!({
            "secrets": { "KEEP": { "env": "KEEP" }, "TELL": { "env": "TELL" }, "NEVER": { "env": "KEEP" } },
            // It gets the secret and fails only at the hundredth end of a build.
            "history": { "uses": "fixture-history", "with": { "secret": "KEEP", "fail": "finish", "after": 99 } },
            "observers": [
                { "uses": "fixture-observer", "with": { "secret": "TELL", "file": told } },
                { "uses": "fixture-observer", "with": {} },
            ],
            // The first observer has opened when its file is there.
            "steps": [{ "name": "a", "run": "until test -s told.txt; do sleep 0.01; done" }],
        }));
    let output = project.run(&["run", "--output", "json"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let kinds: Vec<_> = output.out.lines().filter_map(|line| line.split_once("\"kind\":\"")).collect();
    let kinds: Vec<_> = kinds.iter().filter_map(|(_, rest)| rest.split('"').next()).collect();
    assert!(kinds.ends_with(&["step.finished", "plugin.used", "plugin.used", "build.finished"]), "{kinds:?}");
    let build = project.show("1");
    let used = json!([
        { "plugin": "fixture-history", "secrets": ["KEEP"] },
        { "plugin": "fixture-observer", "secrets": ["TELL"] },
    ]);
    assert_eq!(build["used"], used);
    assert_eq!(build["steps"][0]["attempts"][0]["used"], json!(null));
    let page = project.run(&["history", "show", "1"]).out;
    let lines: Vec<_> = page.lines().collect();
    for (plugin, secret) in [("fixture-history", "KEEP"), ("fixture-observer", "TELL")] {
        let record =
            lines.iter().position(|line| line.starts_with(&format!("  plugin     {plugin} "))).unwrap();
        assert_eq!(lines[record + 1], format!("             used secrets: {secret}"), "{page}");
    }
}

#[test]
fn a_build_whose_plugins_used_nothing_says_nothing() {
    let project = Project::new().plugin("fixture-observer").pipeline(json!({
        "observers": [{ "uses": "fixture-observer", "with": {} }],
        "steps": [{ "name": "a", "run": "true" }],
    }));
    let output = project.run(&["run", "--output", "json"]);
    output.expect(0);
    assert!(!output.out.contains("plugin.used"), "{}", output.out);
    assert_eq!(project.show("1")["used"], json!([]));
}
