//! What commands print for people and for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Project;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_times(value: &Value, finished: bool) {
    let time = |key: &str| {
        value[key].as_str().map(|text| {
            assert!(text.ends_with('Z') && text.len() == "2026-01-01T00:00:00.000Z".len(), "{text}");
            text.parse::<jiff::Timestamp>().unwrap()
        })
    };
    let (started, ended) = (time("started_at").unwrap(), time("finished_at"));
    assert_eq!(ended.is_some(), finished, "{value}");
    assert!(ended.is_none_or(|ended| ended >= started), "{value}");
}

#[test]
fn what_programs_read_has_the_keys_that_are_promised() {
    let project = Project::new().scripts(&["echo one", "exit 3", "true"]).git();
    project.run(&["run"]).expect(1);
    let list = project.json(&["history", "list", "--json"]);
    let row = &list[0];
    let common = [
        "branch",
        "commit",
        "component",
        "dirty",
        "duration_ms",
        "finished_at",
        "id",
        "image_digest",
        "number",
        "outcome",
        "pipeline",
        "pruned",
        "reason",
        "started_at",
        "user",
    ];
    assert_eq!(keys(row), common);
    assert_times(row, true);
    assert_eq!(row["commit"], project.git_run(&["rev-parse", "HEAD"]));
    assert_eq!(
        (&row["branch"], &row["dirty"], &row["user"]),
        (&json!("main"), &json!(false), &json!("ada@example.com"))
    );

    let build = project.show("1");
    let all: BTreeSet<_> = common.into_iter().chain(["facts", "hash", "retry_of", "steps", "used"]).collect();
    assert_eq!(keys(&build), all.into_iter().collect::<Vec<_>>());
    assert_times(&build, true);
    let mut summary = build.clone();
    summary.as_object_mut().unwrap().retain(|key, _| common.contains(&key.as_str()));
    assert_eq!(summary, *row, "a list's row is a part of the whole");

    let facts = [
        "container",
        "dcd_version",
        "definition",
        "docker",
        "git",
        "host",
        "image",
        "params",
        "plugins",
        "secrets",
        "user",
    ];
    assert_eq!(keys(&build["facts"]), facts);
    assert_eq!(build["facts"]["definition"]["path"], "dcd.json");
    let text = std::fs::read_to_string(project.path().join("dcd.json")).unwrap();
    assert_eq!(build["facts"]["definition"]["text"], text);
}

#[test]
fn what_programs_read_of_steps_has_the_keys_that_are_promised() {
    let project = Project::new().scripts(&["echo one", "exit 3", "true"]);
    project.run(&["run"]).expect(1);
    let build = project.show("1");
    let steps = build["steps"].as_array().unwrap();
    for step in steps {
        assert_eq!(
            keys(step),
            [
                "artifacts",
                "attempts",
                "conclusion",
                "flaky",
                "name",
                "needs",
                "outcome",
                "outputs",
                "reason",
                "shells",
                "summary",
                "tests",
                "type"
            ]
        );
    }
    for (step, exit_code) in [(0, 0), (1, 3)] {
        let attempt = &steps[step]["attempts"][0];
        let names = [
            "attempt",
            "duration_ms",
            "exit_code",
            "finished_at",
            "leaked",
            "outcome",
            "output_bytes",
            "problem",
            "signal",
            "started_at",
            "used",
        ];
        assert_eq!(keys(attempt), names);
        assert_times(attempt, true);
        assert_eq!((&attempt["exit_code"], &attempt["attempt"]), (&json!(exit_code), &json!(1)));
    }
    assert_eq!(steps[0]["attempts"][0]["output_bytes"], 4);
    assert_eq!((&steps[2]["outcome"], &steps[2]["attempts"]), (&json!("skip"), &json!([])));
}

#[test]
fn without_builds_there_is_an_empty_list() {
    let project = Project::new();
    assert_eq!(project.json(&["history", "list", "--json"]), json!([]));
    insta::assert_snapshot!(project.run(&["history", "list"]).expect(0).out, @"There are no builds here yet. Make one: dcd run");
    insta::assert_snapshot!(project.run(&["history", "show"]).expect(2).err, @r#"
    error: there is no build `latest` in this workspace
    help: run one first: dcd run
    "#);
}

#[test]
fn a_list_is_a_table_newest_first() {
    let project = Project::new().scripts(&["exit 1"]).git();
    project.run(&["run"]).expect(1);
    let project = project.scripts(&["true"]);
    project.run(&["run"]).expect(0);
    let list = project.run(&["history", "list"]);
    let lines: Vec<Vec<_>> =
        list.expect(0).out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["BUILD", "OUTCOME", "STARTED", "TOOK", "COMMIT", "ID"]);
    let commit = &project.git_run(&["rev-parse", "HEAD"])[..10];
    assert_eq!(lines[1], ["shop", "#2", "success", "[AT]", "[TOOK]", &format!("{commit}+"), "[ID]"]);
    assert_eq!(lines[2], ["shop", "#1", "failure", "[AT]", "[TOOK]", commit, "[ID]"]);
    assert_eq!(project.run(&["history", "list", "-n", "1"]).out.lines().count(), 2);
}

#[test]
fn a_wrong_pipeline_file_hides_no_build() {
    let project = Project::new().scripts(&["echo one"]);
    project.run(&["run"]).expect(0);
    let project = project.file("dcd.json", "{");
    let list = project.run(&["history", "list"]);
    assert_eq!(list.expect(0).out.lines().count(), 2);
    insta::assert_snapshot!(list.err, @"warning: dcd.json has errors (see `dcd validate`): only the builds of this workspace are looked at");
    assert_eq!(project.run(&["history", "list", "--local"]).err, "");
}

#[test]
fn validate_says_what_it_found() {
    let project = Project::new().plugin("fixture").pipeline(json!({
        "name": "release",
        "component": "web",
        "steps": [
            { "name": "a", "run": "true" },
            { "name": "b", "uses": "fixture", "with": { "do": "fail" } },
        ],
    }));
    insta::assert_snapshot!(project.run(&["validate"]).expect(0).out, @"dcd.json is valid: 2 steps, 1 plugin");
    let document = project.json(&["validate", "--json"]);
    assert_eq!(
        keys(&document),
        ["component", "file", "includes", "pipeline", "plugins", "sha256", "steps", "valid"]
    );
    assert_eq!((&document["valid"], &document["steps"]), (&json!(true), &json!(["a", "b"])));
    assert_eq!((&document["plugins"][0]["name"], &document["file"]), (&json!("fixture"), &json!("dcd.json")));
}

#[test]
fn plugins_are_listed() {
    let project = Project::new();
    let empty = project.run(&["plugin", "list"]);
    assert_eq!(project.json(&["plugin", "list", "--json"]), json!([]));
    insta::assert_snapshot!(empty.expect(0).out, @"There are no plugins here: /dcd-plugins has none, and neither DCD_PLUGIN_PATH nor the pipeline names any.");
    let project = project.plugin("http").plugin("history-dir").file("broken.wasm", "no plugin");
    let project =
        project.env("DCD_PLUGIN_PATH", ".").pipeline(json!({ "steps": [{ "name": "a", "run": "true" }] }));
    insta::assert_snapshot!(project.run(&["plugin", "list"]).expect(0).out, @r#"
    history-dir [VERSION]  history-backend  [ROOT]/shop/history-dir.wasm  not installed
    http [VERSION]  step-type  [ROOT]/shop/http.wasm  not installed
    !! ./broken.wasm is not a plugin: it is not a WebAssembly component
    "#);
    let list = project.json(&["plugin", "list", "--json"]);
    let names: BTreeSet<_> =
        list.as_array().unwrap().iter().filter_map(|plugin| plugin["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["http", "history-dir"]));
}

#[test]
fn a_plugin_is_shown_without_running_it() {
    let project =
        Project::new().granted("http", &json!({ "http": ["https://a.example", "https://*.b.example:8443"] }));
    let project = project.pipeline(json!({ "steps": [{ "name": "a", "run": "true" }] }));
    let page = project.run(&["plugin", "inspect", "http"]);
    // Which interfaces of WASI the standard library wants is its own matter.
    let is_stable = |line: &&str| !line.starts_with("  size") && !line.starts_with("  imports   wasi:");
    let stable: String =
        page.expect(0).out.lines().filter(is_stable).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(stable, @r#"
    http [VERSION]
      kind      step-type
      api       dcd:plugin@[VERSION]
      file      [ROOT]/shop/http.wasm
      sha256    [SHA]
      installed no: it is in no plugin directory, and compiled at each start
      asks      http (to send the request): granted https://a.example, https://*.b.example:8443
      asks      secrets (to send those that `headers` and `auth` name): granted none
      asks      fs (to read `file` and to write `save_to`): granted none
      config    not known before it is installed; --describe runs it, to ask it
      imports   dcd:plugin/log@[VERSION]
      imports   dcd:plugin/secrets@[VERSION]
      imports   dcd:plugin/types@[VERSION]
      imports   dcd:plugin/run-control@[VERSION]
    "#);
    let document = project.json(&["plugin", "inspect", "./http.wasm", "--json"]);
    assert_eq!(
        keys(&document),
        [
            "api",
            "asks",
            "config_schema",
            "grants",
            "grants_file",
            "image_grants",
            "imports",
            "installed",
            "kind",
            "locked",
            "name",
            "path",
            "sha256",
            "size",
            "version"
        ]
    );
    let described = project.json(&["plugin", "inspect", "./http.wasm", "--describe", "--json"]);
    assert_eq!(described["config_schema"]["required"], json!(["url"]));
    assert_eq!(document["grants"], json!({ "http": ["https://a.example", "https://*.b.example:8443"] }));
    insta::assert_snapshot!(project.run(&["plugin", "inspect", "htpt"]).expect(2).err, @r#"
    error: there is no plugin `htpt` in /dcd-plugins
    help: add it to the image (`COPY htpt.wasm /dcd-plugins/`), or say where it is: "plugins": {"htpt": {"path": "….wasm"}}
    "#);
    insta::assert_snapshot!(project.run(&["plugin", "inspect", "dcd.json"]).expect(2).err, @r#"
    error: there is no plugin `dcd.json` in /dcd-plugins
    help: add it to the image (`COPY dcd.json.wasm /dcd-plugins/`), or say where it is: "plugins": {"dcd.json": {"path": "….wasm"}}
    "#);
    insta::assert_snapshot!(project.run(&["plugin", "inspect", "./dcd.json"]).expect(2).err, @r#"
    error: [ROOT]/shop/./dcd.json is not a plugin: it is not a WebAssembly component
    help: build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that comes out
    "#);
}
