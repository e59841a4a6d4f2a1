//! Secrets of plugins.

use serde_json::{Value, json};

use crate::support::Project;

fn secret(name: &str) -> Value {
    json!({ "do": "secret", "name": name })
}

#[test]
fn secrets_are_granted_by_name_and_masked() {
    let step = |name: &str, of: &str, own: &[&str]| json!({ "name": name, "uses": "fixture", "with": secret(of), "secrets": own, "continue_on_error": true });
    let project = Project::new()
        .granted("fixture", &json!({ "secrets": ["TOKEN", "deploy/*"] }))
        .env("THE_TOKEN", "t0p-s3cret")
        .env("OTHER", "0ther-value")
        .file("key", "fr0m-a-file\n")
        .pipeline(json!({
            "secrets": {
                "TOKEN": { "env": "THE_TOKEN" },
                "deploy/key": { "file": "key" },
                "deploy/gone": { "env": "NOT_SET" },
                "OTHER": { "env": "OTHER" },
            },
            "steps": [
                step("granted", "TOKEN", &[]),
                step("by pattern", "deploy/key", &[]),
                step("missing", "deploy/gone", &[]),
                step("unknown", "deploy/other", &[]),
                step("denied", "OTHER", &[]),
                step("own", "OTHER", &["OTHER"]),
            ],
        }));
    let output = project.run(&["run"]);
    output.expect(0);
    for value in ["t0p-s3cret", "fr0m-a-file", "0ther-value"] {
        assert!(!output.out.contains(value) && !output.err.contains(value), "{}", output.out);
        for step in ["granted", "by pattern", "own"] {
            assert!(!String::from_utf8_lossy(&project.logs(&["1", step])).contains(value));
        }
    }
    assert_eq!(project.logs(&["1", "granted"]), b"the secret is ***\n");
    let build = project.show("1");
    let outcome = |step: usize| build["steps"][step]["outcome"].as_str().unwrap();
    let outcomes: Vec<_> = (0..6).map(outcome).collect();
    assert_eq!(outcomes, ["success", "success", "error", "error", "error", "success"]);
    assert_eq!(build["steps"][0]["outputs"]["length"], 10);
    let used = |step: usize| &build["steps"][step]["attempts"][0]["used"]["secrets"];
    assert_eq!((used(0), used(1), used(4)), (&json!(["TOKEN"]), &json!(["deploy/key"]), &json!(null)));
    assert_eq!(build["facts"]["secrets"], json!(["OTHER", "TOKEN", "deploy/gone", "deploy/key"]));
    let problem = |step: usize| build["steps"][step]["attempts"][0]["problem"].clone();
    insta::assert_snapshot!(problem(2)["message"].as_str().unwrap(), @"plugin fixture: the secret deploy/gone comes from the variable NOT_SET, which is not set");
    insta::assert_snapshot!(problem(3)["message"].as_str().unwrap(), @r#"plugin fixture: the pipeline has no secret `deploy/other`; it is declared beside `steps`: "secrets": {"deploy/other": {"env": "deploy/other"}}"#);
    insta::assert_snapshot!(problem(4)["message"].as_str().unwrap(), @r#"plugin fixture wanted the secret `OTHER`, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"secrets": ["OTHER"]}}}"#);
}

#[test]
fn a_plugin_without_the_grant_gets_no_secret() {
    let project = Project::new().plugin("fixture").env("TOKEN", "t0p-s3cret").pipeline(json!({
        "secrets": { "TOKEN": { "env": "TOKEN" } },
        "steps": [{ "name": "a", "uses": "fixture", "with": secret("TOKEN") }],
    }));
    let output = project.run(&["run"]);
    assert!(!output.expect(3).out.contains("t0p"), "{}", output.out);
    let problem = &project.show("1")["steps"][0]["attempts"][0]["problem"];
    insta::assert_snapshot!(problem["message"].as_str().unwrap(), @r#"plugin fixture wanted the secret `TOKEN`, which it is not granted. To allow it: "plugins": {"fixture": {"allow": {"secrets": ["TOKEN"]}}}"#);
}

#[test]
fn a_history_backend_gets_secrets_and_tells_nobody() {
    let project = |allow: Value, fail: &str| {
        Project::new().granted("fixture-history", &allow).env("THE_TOKEN", "t0p-s3cret").pipeline(json!({
            "secrets": { "TOKEN": { "env": "THE_TOKEN" } },
            "history": { "uses": "fixture-history", "with": { "secret": "TOKEN", "fail": fail, "kind": "trap" } },
            "steps": [{ "name": "a", "run": "true" }],
        }))
    };
    let said = |project: Project| {
        let run = project.run(&["run"]);
        let err = run.expect(4).err.clone();
        assert!(!err.contains("s3cret") && !run.out.contains("s3cret"), "{err}");
        err[..err.find("\nThe build").unwrap()].to_owned()
    };
    let allow = json!({ "secrets": ["TOKEN"] });
    insta::assert_snapshot!(said(project(allow.clone(), "none")), @"warning: history backend fixture-history: plugin fixture-history: TOKEN is ***, to be told to everybody");
    let trapped = said(project(allow, "begin"));
    assert!(trapped.contains("it said: the secret is ***"), "{trapped}");
    insta::assert_snapshot!(said(project(json!({}), "none")), @r#"warning: history backend fixture-history: plugin fixture-history wanted the secret `TOKEN`, which it is not granted. To allow it: "plugins": {"fixture-history": {"allow": {"secrets": ["TOKEN"]}}}"#);
}
