//! Which steps run: `--only`, `--skip`, `--from`, `dcd retry` and `dcd plan`.

use serde_json::{Value, json};

use crate::support::Project;

/// Each step's name and outcome, and why it was skipped.
fn course(build: &Value) -> Vec<String> {
    let steps = build["steps"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |step: &Value| {
        format!("{} {} {}", text(&step["name"]), text(&step["outcome"]), text(&step["reason"]))
    };
    steps.map(|step| line(step).trim_end().to_owned()).collect()
}

fn diamond() -> Project {
    Project::new().pipeline(json!({ "steps": [
        { "name": "fetch", "run": "echo version=1.2 >>\"$DCD_OUTPUT\"" },
        { "name": "left", "run": "true", "needs": ["fetch"] },
        {
            "name": "right", "run": "test ! -e broken", "needs": ["fetch"],
            "env": { "V": "${{ steps.fetch.outputs.version }}" },
        },
        { "name": "join", "run": "echo \"$V\"", "needs": ["left", "right"], "env": { "V": "${{ steps.fetch.outputs.version }}" } },
    ] }))
}

#[test]
fn only_some_steps() {
    let project = diamond();
    project.run(&["run", "--only", "left", "--only", "right", "--skip", "right"]).expect(0);
    assert_eq!(
        course(&project.show("1")),
        [
            "fetch skip left out by --only",
            "left success",
            "right skip left out by --skip",
            "join skip left out by --only",
        ]
    );
    let run = project.run(&["run", "--from", "right"]);
    run.expect(3);
    let build = project.show("2");
    assert_eq!(
        course(&build),
        [
            "fetch skip does not need `right` (--from)",
            "left skip does not need `right` (--from)",
            "right error",
            "join skip step `right` ended in error",
        ]
    );
    let problem = &build["steps"][2]["attempts"][0]["problem"];
    assert!(problem["message"].as_str().unwrap().contains("steps.fetch.outputs.version"), "{problem}");

    let wrong = project.run(&["run", "--only", "lef"]);
    assert!(wrong.expect(2).err.contains("did you mean `left`?"), "{}", wrong.err);
    let nothing = project.run(&["run", "--skip", "*"]);
    assert!(nothing.expect(2).err.contains("no step is left to run"), "{}", nothing.err);
    assert_eq!(project.journals().len(), 2, "what is refused leaves no build");
}

#[test]
fn a_retry_runs_what_did_not_succeed_and_what_comes_after() {
    let project = diamond().file("broken", "").git();
    project.run(&["run"]).expect(1);
    let broken = project.show("1");
    assert_eq!(
        course(&broken),
        ["fetch success", "left success", "right failure", "join skip step `right` ended in failure"]
    );

    project.git_run(&["rm", "--quiet", "broken"]);
    let refused = project.run(&["retry", "1"]);
    assert!(refused.expect(2).err.contains("what is not committed"), "{}", refused.err);
    project.run(&["retry", "1", "--force"]).expect(0);
    let retried = project.show("2");
    assert_eq!(
        course(&retried),
        [
            "fetch skip succeeded in build #1",
            "left skip succeeded in build #1",
            "right success",
            "join success",
        ]
    );
    assert_eq!(retried["retry_of"], broken["id"]);
    assert_eq!(project.logs(&["2", "join"]), b"1.2\n", "outputs of the first build are there");

    let nothing = project.run(&["retry", "2", "--force"]);
    assert!(nothing.expect(2).err.contains("nothing is left to run"), "{}", nothing.err);
}

#[test]
fn what_succeeded_before_did_so_for_expressions_too() {
    let project = Project::new().pipeline(json!({ "steps": [
        { "name": "a", "run": "true" },
        { "name": "lint", "run": "echo lint >>log; false", "continue_on_error": true },
        { "name": "b", "run": "test -e go", "needs": ["a"] },
        { "name": "deploy", "run": "true", "if": "steps.a.outcome == 'success' && steps.a.attempt == 1" },
        { "name": "undo", "run": "false", "needs": ["b"], "if": "always() && steps.a.outcome != 'success'" },
    ] }));
    project.run(&["run", "--jobs", "1"]).expect(1);
    project.write("go", "");
    project.run(&["retry"]).expect(0);
    assert_eq!(
        course(&project.show("2")),
        [
            "a skip succeeded in build #1",
            "lint skip succeeded in build #1",
            "b success",
            "deploy success",
            "undo skip its `if` does not hold: always() && steps.a.outcome != 'success'",
        ],
        "a failure that was forgiven is no reason to run again"
    );
    assert_eq!(std::fs::read_to_string(project.path().join("log")).unwrap(), "lint\n");
    // What was never run is no success.
    project.run(&["run", "--only", "deploy"]).expect(0);
    assert_eq!(project.show("3")["steps"][3]["outcome"], "skip");
}

#[test]
fn a_retry_never_hands_on_what_was_masked() {
    let project = Project::new().env("CI_TOKEN", "hush-hush").pipeline(json!({
        "secrets": { "TOKEN": { "env": "CI_TOKEN" } },
        "steps": [
            { "name": "make", "run": "echo url=https://u:$TOKEN@h/ >>\"$DCD_OUTPUT\"", "secrets": ["TOKEN"] },
            {
                "name": "use", "run": "printf %s \"$URL\" | wc -c; test -e go",
                "env": { "URL": "${{ steps.make.outputs.url }}" },
            },
        ],
    }));
    project.run(&["run"]).expect(1);
    assert_eq!(project.show("1")["steps"][0]["outputs"]["url"], "https://u:***@h/");
    project.write("go", "");
    project.run(&["retry"]).expect(0);
    assert_eq!(course(&project.show("2")), ["make success", "use success"], "who made it runs again");
    assert_eq!(project.logs(&["2", "use"]), b"22\n");
}

#[test]
fn a_retry_needs_the_same_definition_and_keeps_params() {
    let project = Project::new().pipeline(json!({
        "params": { "n": { "type": "integer", "default": 1 } },
        "steps": [{ "name": "a", "run": "echo $N; test -e good", "env": { "N": "${{ params.n }}" } }],
    }));
    project.run(&["run", "--param", "n=7"]).expect(1);
    project.write("good", "");
    project.run(&["retry"]).expect(0);
    assert_eq!(project.logs(&["2"]), b"7\n");
    assert_eq!(project.show("2")["facts"]["params"], json!({ "n": 7 }));

    std::fs::remove_file(project.path().join("good")).unwrap();
    project.run(&["run"]).expect(1);
    let project = project.scripts(&["true"]);
    let refused = project.run(&["retry"]);
    assert!(refused.expect(2).err.contains("the pipeline"), "{}", refused.err);
}

#[test]
fn a_plan_shows_what_would_run() {
    let project = diamond();
    insta::assert_snapshot!(project.run(&["plan", "--skip", "left"]).expect(0).out, @r#"
    dcd: 3 of 4 steps
      1  fetch  shell  at once
      -  left   shell  skipped: left out by --skip
      2  right  shell  after `fetch`
      3  join   shell  after `left`, `right`
    "#);
    insta::assert_snapshot!(project.run(&["plan", "--skip", "left", "--graph", "mermaid"]).expect(0).out, @r#"
    flowchart TD
      s0["fetch"]
      s1["left"]:::skipped
      s2["right"]
      s3["join"]
      s0 --> s1
      s0 --> s2
      s1 --> s3
      s2 --> s3
      classDef skipped stroke-dasharray: 4
    "#);
    insta::assert_snapshot!(project.run(&["plan", "--graph", "dot"]).expect(0).out, @r#"
    digraph "dcd" {
      node [shape=box];
      s0 [label="fetch"];
      s1 [label="left"];
      s2 [label="right"];
      s3 [label="join"];
      s0 -> s1;
      s0 -> s2;
      s1 -> s3;
      s2 -> s3;
    }
    "#);
    let plan = project.json(&["plan", "--json", "--only", "join"]);
    assert_eq!(plan["steps"][3]["needs"], json!(["left", "right"]));
    assert_eq!(plan["steps"][3]["runs"], json!(true));
    assert_eq!(plan["steps"][0]["reason"], json!("left out by --only"));
    assert!(project.journals().is_empty(), "a plan is no build");
}
