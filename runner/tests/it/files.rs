//! Pipelines of several files, from the disk.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::Project;

#[test]
fn a_used_files_steps_run_with_what_they_are_given_and_are_recorded() {
    let deploy = json!({
        "params": { "where": { "required": true } },
        "env": { "WHERE": "${{ params.where }}" },
        "steps": [
            { "name": "push", "run": "echo to $WHERE from $FROM; exit 3" },
            { "name": "more", "run": "echo never" },
            { "name": "clean", "run": "echo cleaned $WHERE", "if": "always()" },
        ],
    })
    .to_string();
    let project = Project::new().file("ci/deploy.json", &deploy).pipeline(json!({
        "params": { "target": { "default": "staging" } },
        "steps": [
            { "name": "test", "run": "exit 1" },
            {
                "name": "deploy", "uses": "ci/deploy.json", "if": "always()", "matrix": { "region": ["eu", "us"] },
                "with": { "where": "${{ params.target }}-${{ matrix.region }}" }, "env": { "FROM": "here" },
            },
            { "name": "never", "run": "echo never", "needs": ["deploy"] },
        ],
    }));
    project.run(&["run", "--param", "target=prod"]).expect(1);
    let build = project.show("latest");
    let steps: Vec<_> = build["steps"].as_array().unwrap().iter().collect();
    let ends: Vec<_> = steps.iter().map(|step| json!([step["name"], step["outcome"]])).collect();
    assert_eq!(
        json!(ends),
        json!([
            ["test", "failure"],
            ["deploy (eu)/push", "failure"],
            ["deploy (eu)/more", "skip"],
            ["deploy (eu)/clean", "success"],
            ["deploy (us)/push", "failure"],
            ["deploy (us)/more", "skip"],
            ["deploy (us)/clean", "success"],
            ["never", "skip"],
        ])
    );
    let said = |step| String::from_utf8(project.logs(&["latest", step])).unwrap();
    assert_eq!(said("deploy (us)/push"), "to prod-us from here\n");
    assert_eq!(said("deploy (eu)/clean"), "cleaned prod-eu\n");
    let digest: String = Sha256::digest(deploy.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let includes = &build["facts"]["definition"]["includes"];
    assert_eq!(includes, &json!([{ "path": "ci/deploy.json", "sha256": digest, "text": deploy }]));
}

#[test]
fn what_cannot_be_read_is_shown_where_it_is_named() {
    let project = Project::new().file("ci/latin.json", b"{\n\"name\": \"\xfc\" }").pipeline(json!({
        "steps": [{ "include": "ci/latin.json" }, { "include": "./ci" }, { "include": "none.json" }],
    }));
    let told = project.run(&["validate"]).expect(2).err.clone();
    for message in
        ["this file is not UTF-8 text (line 2)", "this is a directory, not a file", "there is no such file"]
    {
        assert!(told.contains(message), "{told}");
    }
    assert!(told.contains("3 errors in dcd.json"), "{told}");
}

#[test]
fn the_schema_is_printed() {
    let schema = Project::new().json(&["schema"]);
    assert_eq!(schema["required"], json!(["steps"]));
    assert!(schema["properties"]["steps"]["description"].is_string());
}
