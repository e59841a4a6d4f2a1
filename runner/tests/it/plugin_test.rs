//! `dcd plugin test`: step types with cases, history backends with all that is expected of one.

use serde_json::{Value, json};

use crate::support::{Output, Project, plugin_file};

/// Tests a plugin with these cases.
fn test(plugin: &str, cases: &Value, args: &[&str]) -> Output {
    let project = Project::new().file("tests/cases.json", cases.to_string());
    let file = plugin_file(plugin).display().to_string();
    project.run(&[&["plugin", "test", &file], args].concat())
}

#[test]
fn cases_that_pass_touch_nothing_real() {
    let command = json!({ "do": "command", "program": "helm", "args": ["upgrade", "shop"] });
    let cases = json!([
        {
            "name": "a program",
            "with": command,
            "allow": { "exec": ["helm"] },
            "commands": [{ "run": "helm upgrade *", "exit_code": 3, "stdout": "no\n" }],
            "expect": { "outputs": { "code": 3, "signal": null, "stdout": "no\n", "stderr": "", "truncated": false }, "output": { "contains": "no" }, "commands": ["helm upgrade shop"] }
        },
        { "name": "a program without a grant", "with": command, "commands": [{ "run": "helm *" }],
          "expect": { "outcome": "error", "problem": { "contains": "\"exec\": [\"helm\"]" }, "commands": [] } },
        { "name": "a program that the case has not", "with": command, "allow": { "exec": ["helm"] },
          "commands": [{ "run": "helm status" }],
          "expect": { "outcome": "error", "problem": { "contains": "the case has no command `helm upgrade shop`" } } },
        { "name": "a request", "with": { "do": "get", "url": "https://shop.example/health?full" },
          "allow": { "http": ["https://shop.example"] },
          "http": [{ "request": "GET https://shop.example/*", "status": 503, "body": { "up": false } }],
          "expect": { "outputs": { "status": 503, "body": "{\"up\":false}" }, "requests": ["GET https://shop.example/health?full"] } },
        { "name": "a request without a grant", "with": { "do": "get", "url": "https://shop.example/" },
          "http": [{ "request": "*" }],
          "expect": { "outcome": "error", "log": { "contains": "\"http\": [\"https://shop.example\"]" }, "requests": [] } },
        { "name": "a request that the case has not", "with": { "do": "get", "url": "https://shop.example/" },
          "allow": { "http": ["https://shop.example"] },
          "expect": { "outcome": "error", "requests": ["GET https://shop.example/"] } },
        { "name": "a secret", "with": { "do": "secret", "name": "TOKEN" },
          "allow": { "secrets": ["TOKEN"] }, "secrets": { "TOKEN": "t0psecret" }, "expect": { "outputs": { "length": 9 } } },
        { "name": "the workspace", "with": { "do": "write_file", "path": "$WORKSPACE/out.txt", "text": "written" },
          "allow": { "fs": [{ "path": ".", "access": "rw" }] }, "expect": { "files": { "out.txt": "written", "other.txt": null } } },
        { "name": "the environment", "with": { "do": "env", "name": "GREETING" }, "env": { "GREETING": "hello" },
          "expect": { "outputs": { "value": "hello" }, "output": "hello" } },
        { "name": "a failure", "with": { "do": "fail" }, "expect": { "outcome": "failure" } },
        { "name": "a panic", "with": { "do": "panic" }, "expect": { "outcome": "error", "problem": { "contains": "panic" } } },
        { "name": "a wrong config", "with": { "do": "nothing that there is" }, "expect": { "outcome": "refused" } },
    ]);
    let output = test("fixture", &cases, &[]);
    output.expect(0);
    assert!(output.out.ends_with("\nfixture [VERSION]: 12 passed\n"), "{}", output.out);
}

#[test]
fn what_is_not_as_expected_is_shown() {
    let cases = json!([
        { "name": "outcome", "with": { "do": "fail" } },
        { "name": "outputs and text", "with": { "do": "env", "name": "X" }, "env": { "X": "one\ntwo" },
          "expect": { "outputs": { "value": "1" }, "output": "one\n2" } },
        { "name": "well", "with": { "do": "env", "name": "X" } },
    ]);
    let output = test("fixture", &cases, &[]);
    output.expect(1);
    insta::assert_snapshot!(output.out, @r#"
    FAIL outcome           [TOOK]
         tests/cases.json
         outcome: got failure, expected success
         the fixture fails, as it was told (fixture/fail)
         help: tell it something else
    FAIL outputs and text  [TOOK]
         tests/cases.json
         outputs.value: got "one\ntwo", expected "1"
         output: not as expected (-), from line 2 on
           - 2
           + two
    ok   well              [TOOK]

    fixture [VERSION]: 1 passed, 2 failed
    "#);
    let output = test("fixture", &cases, &["--only", "we", "--json"]);
    output.expect(0);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["plugin"], &document["passed"]), (&json!("fixture"), &json!(1)));
    assert_eq!(document["tests"][0]["name"], "well");
}

#[test]
fn a_cancelled_step_hears_of_it() {
    let cases = json!([{
        "name": "stops",
        "with": { "do": "command", "program": "helm" },
        "allow": { "exec": ["helm"] },
        "commands": [{ "run": "helm" }],
        "cancel": true,
        "expect": { "outcome": "cancellation", "commands": [] }
    }]);
    test("fixture", &cases, &[]).expect(0);
}

#[test]
fn a_wrong_file_is_shown_where_it_is_wrong() {
    let project = Project::new().file(
        "cases.json",
        "[\n  // a comment\n  { \"name\": \"a\", \"expects\": { \"outcome\": \"red\" } },\n  { \"expect\": { \"outcome\": \"red\" }, \"http\": [{ \"status\": 7 }] },\n]\n",
    );
    let file = plugin_file("fixture").display().to_string();
    let output = project.run(&["plugin", "test", &file, "cases.json"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r#"
      x unknown key `expects` in a case
       ,-[cases.json:3:18]
     2 |   // a comment
     3 |   { "name": "a", "expects": { "outcome": "red" } },
       :                  ^^^^|^^^^
       :                      `-- did you mean `expect`?
     4 |   { "expect": { "outcome": "red" }, "http": [{ "status": 7 }] },
       `----

      x this case has no `name`
       ,-[cases.json:4:3]
     3 |   { "name": "a", "expects": { "outcome": "red" } },
     4 |   { "expect": { "outcome": "red" }, "http": [{ "status": 7 }] },
       :   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     5 | ]
       `----
      help: say what it shows, as in "name": "greets"

      x a case does not end in `red`
       ,-[cases.json:4:28]
     3 |   { "name": "a", "expects": { "outcome": "red" } },
     4 |   { "expect": { "outcome": "red" }, "http": [{ "status": 7 }] },
       :                            ^^^^^
     5 | ]
       `----
      help: it is `success`, `failure`, `error`, `cancellation`, or `refused` for a config that is
            wrong

      x this answer does not say to what
       ,-[cases.json:4:46]
     3 |   { "name": "a", "expects": { "outcome": "red" } },
     4 |   { "expect": { "outcome": "red" }, "http": [{ "status": 7 }] },
       :                                              ^^^^^^^^^^^^^^^
     5 | ]
       `----
      help: add `request`: { "request": "POST https://example.com/*", "status": 201, "body": { "id":
            7 } }

      x `status` cannot be 7
       ,-[cases.json:4:58]
     3 |   { "name": "a", "expects": { "outcome": "red" } },
     4 |   { "expect": { "outcome": "red" }, "http": [{ "status": 7 }] },
       :                                                          ^
     5 | ]
       `----
      help: it is from 100 to 599

    5 errors in cases.json
    "#);
    let output = project.run(&["plugin", "test", &file]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r"
    error: there are no cases in [ROOT]/shop/tests
    help: name files of cases: dcd plugin test PLUGIN.wasm FILE…; `dcd plugin new step NAME` makes a first one
    ");
    let output = project.run(&["plugin", "test", &file, "cases.json", "--config", "x.json"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r"
    error: fixture [VERSION] is a step type, which is not opened as x.json says
    help: name files of cases instead; each case says its config and grants
    ");
}

/// The lines of the tests that did not pass, without those about time.
fn results(output: &Output, word: &str) -> Vec<String> {
    let lines = output.out.lines().filter_map(|line| line.strip_prefix(word));
    lines.map(|line| line.trim().split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_backend_that_forgets_is_found_out() {
    let project = Project::new();
    let file = plugin_file("fixture-history").display().to_string();
    let output = project.run(&["plugin", "test", &file]);
    output.expect(1);
    // It keeps builds for as long as an instance of it lives: what needs no other instance passes.
    insta::assert_snapshot!(results(&output, "FAIL").join("\n"), @r"
    record-kept
    begin-answer-lost
    numbers-instances
    numbers-race
    append-contiguous
    append-repeated
    append-overlapping
    append-gapped
    append-reordered
    kinds-kept
    payload-1-mib
    append-many
    read-follows
    events-10000
    build-64-mib
    writer-fenced
    lease-stolen
    finish-kept
    finish-repeated
    summary-kept
    prune-output
    prune-lost
    list-grows
    list-everywhere
    clock-numbers
    lock-exclusive
    lock-queued
    lock-expires
    lock-listed
    lock-renewed
    clock-locks
    lock-race
    ");
}

#[test]
fn a_backend_that_fails_says_how() {
    let with = |fail: &str, kind: &str| {
        let config = json!({ "with": { "fail": fail, "kind": kind } });
        let project = Project::new().file("tests/backend.json", config.to_string());
        let file = plugin_file("fixture-history").display().to_string();
        project.run(&["plugin", "test", &file, "--only", "append-contiguous"])
    };
    let output = with("open", "denied");
    output.expect(3);
    insta::assert_snapshot!(output.err, @r"
    error: the backend cannot be opened: plugin fixture-history: the fixture fails to open, as it was told (fixture/denied)
    help: how it is opened is said in tests/backend.json, or in a file that --config names
    ");
    let output = with("append", "trap");
    output.expect(1);
    insta::assert_snapshot!(output.out.lines().nth(3).unwrap_or_default(), @"     append: plugin fixture-history failed in `append`: it trapped (`unreachable`), as a panic does (what it printed last says why, if it panicked; report it to the plugin's author)");
    let output = with("nothing", "trap");
    output.expect(2);
    insta::assert_snapshot!(output.err, @r#"
    error: `fail` of plugin fixture-history is "nothing", which it cannot be
    help: it must be one of `none`, `open`, `begin`, `append`, `finish`, `lock`
    "#);
}
