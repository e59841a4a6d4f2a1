//! What people are told when the pipeline file, or what it names, is wrong.

use serde_json::json;

use crate::support::Project;

#[test]
fn no_pipeline_file() {
    let run = Project::new().run(&["run"]);
    insta::assert_snapshot!(run.expect(2).err, @r#"
    error: there is no pipeline file dcd.json in [ROOT]/shop
    help: write one, for example: {"steps": [{"name": "test", "run": "make test"}]}
          or go to the directory that has it, or name another one: dcd run FILE
    "#);
    assert_eq!(run.out, "");
}

#[test]
fn another_file_that_is_missing() {
    insta::assert_snapshot!(Project::new().run(&["run", "ci/release.json"]).expect(2).err, @r#"
    error: there is no pipeline file ci/release.json in [ROOT]/shop
    help: write one, for example: {"steps": [{"name": "test", "run": "make test"}]}
          or go to the directory that has it, or name another one: dcd run FILE
    "#);
}

#[test]
fn a_directory_instead_of_a_file() {
    insta::assert_snapshot!(Project::new().run(&["run", "."]).expect(2).err, @r#"
    error: . is a directory
    help: name the pipeline file in it
    "#);
}

#[test]
fn a_file_that_is_not_text() {
    let project = Project::new().file("dcd.json", b"{\"name\": \"\xff\"}");
    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
    error: dcd.json:1:11: what begins here is not UTF-8 text
    help: save the file as UTF-8
    "#);
}

#[test]
fn bad_json() {
    let project = Project::new()
        .file("dcd.json", "{\n  \"steps\": [\n    {\"name\": \"a\" \"run\": \"true\"}\n  ]\n}\n");
    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
     x a comma is missing
      ,-[dcd.json:3:17]
    2 |   "steps": [
    3 |     {"name": "a" "run": "true"}
      :                 ^
      :                 `-- write `,` here
    4 |   ]
      `----
    "#);
}

#[test]
fn several_errors_at_once() {
    let text = "{\n  \"step\": [],\n  \"steps\": [\n    {\"name\": \"a\", \"run\": 7, \"timeuot\": \"1m\"},\n    {\"name\": \"a\", \"run\": \"true\", \"timeout\": 60}\n  ]\n}\n";
    insta::assert_snapshot!(Project::new().file("dcd.json", text).run(&["run"]).expect(2).err, @r#"
      x unknown key `step` in a pipeline
       ,-[dcd.json:2:3]
     1 | {
     2 |   "step": [],
       :   ^^^|^^
       :      `-- did you mean `steps`?
     3 |   "steps": [
       `----

      x `run` must be a string or an array of strings, not a number
       ,-[dcd.json:4:26]
     3 |   "steps": [
     4 |     {"name": "a", "run": 7, "timeuot": "1m"},
       :                          ^
     5 |     {"name": "a", "run": "true", "timeout": 60}
       `----
      help: write it like "run": "make test" or "run": ["make", "test"]

      x unknown key `timeuot` in a step
       ,-[dcd.json:4:29]
     3 |   "steps": [
     4 |     {"name": "a", "run": 7, "timeuot": "1m"},
       :                             ^^^^|^^^^
       :                                 `-- did you mean `timeout`?
     5 |     {"name": "a", "run": "true", "timeout": 60}
       `----

      x two steps have the name `a`
       ,-[dcd.json:5:14]
     3 |   "steps": [
     4 |     {"name": "a", "run": 7, "timeuot": "1m"},
       :              ^|^
       :               `-- first here
     5 |     {"name": "a", "run": "true", "timeout": 60}
       :              ^|^
       :               `-- again here
     6 |   ]
       `----
      help: give each step a name of its own

      x `timeout` is not a duration: `60` has no unit; write "60s" for seconds or "60m" for minutes
       ,-[dcd.json:5:45]
     4 |     {"name": "a", "run": 7, "timeuot": "1m"},
     5 |     {"name": "a", "run": "true", "timeout": 60}
       :                                             ^^
     6 |   ]
       `----
      help: a duration is written like [TOOK], 90s, 10m or 1h30m

    5 errors in dcd.json
    "#);
}

#[test]
fn no_steps() {
    let project = Project::new().file("dcd.json", "{\"name\": \"x\"}\n");
    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
     x this pipeline has no `steps`
      ,-[dcd.json:1:1]
    1 | {"name": "x"}
      : ^^^^^^^^^^^^^
    2 | 
      `----
     help: add them: "steps": [{ "name": "test", "run": "make test" }]
    "#);
    project.write("dcd.json", "{\"steps\": []}\n");
    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
     x `steps` is empty
      ,-[dcd.json:1:11]
    1 | {"steps": []}
      :           ^^
    2 | 
      `----
     help: write at least one step: "steps": [{ "name": "test", "run": "make test" }]
    "#);
}

#[test]
fn nothing_is_kept_of_a_run_that_did_not_start() {
    let project = Project::new().file("dcd.json", "{}");
    project.run(&["run"]).expect(2);
    assert!(!project.path().join(".dcd").exists());
}

/// Runs one step, and gives what is said of it: from its start to its end.
fn step(project: Project, step: &serde_json::Value, code: i32) -> String {
    let run = project.pipeline(json!({ "steps": [step] })).run(&["run"]);
    let out = &run.expect(code).out;
    let said = &out[out.find("> a").unwrap()..out.find("\nSee it again").unwrap()];
    // What the shell itself says is its own.
    let line = |line: &str| match line.split_once("/bin/sh:") {
        Some((prefix, _)) => format!("{prefix}/bin/sh: ...\n"),
        None => format!("{line}\n"),
    };
    said.lines().map(line).collect()
}

#[test]
fn a_program_that_does_not_exist() {
    let said = step(Project::new(), &json!({"name": "a", "run": ["carog", "test"]}), 3);
    insta::assert_snapshot!(said, @r#"
    > a
      there is no program `carog` in PATH
      help: install it in the image, or check its spelling in `run`
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
    let said = step(Project::new(), &json!({"name": "a", "run": ["./carog", "test"]}), 3);
    insta::assert_snapshot!(said, @r#"
    > a
      there is no file [ROOT]/shop/carog
      help: check the path in `run`; it is relative to `workdir`
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
    let said = step(Project::new(), &json!({"name": "a", "run": "carog test"}), 1);
    insta::assert_snapshot!(said, @r#"
    > a
    [TIME] a | /bin/sh: ...
      exit code 127: the shell did not find a command that the script names
      help: the output says which one: install it in the image, or check its spelling; if it is a script that is there, the interpreter on its first line is missing
    !! a  failure, exit code 127, [TOOK]
    shop #1: failure in [TOOK]: a
    "#);
}

#[test]
fn a_script_without_the_executable_bit() {
    let project = || Project::new().file("x.sh", "#!/bin/sh\necho hi\n");
    insta::assert_snapshot!(step(project(), &json!({"name": "a", "run": ["./x.sh"]}), 3), @r#"
    > a
      `./x.sh` is not executable
      help: run `chmod +x ./x.sh` and commit that, or start it through its interpreter: ["sh", "./x.sh"]
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
    insta::assert_snapshot!(step(project(), &json!({"name": "a", "run": "./x.sh"}), 1), @r#"
    > a
    [TIME] a | /bin/sh: ...
      exit code 126: the shell found the command but could not execute it
      help: check the executable bit (`chmod +x FILE`), or the interpreter on the script's first line
    !! a  failure, exit code 126, [TOOK]
    shop #1: failure in [TOOK]: a
    "#);
}

#[test]
fn a_script_whose_interpreter_is_missing() {
    let project = || {
        let project = Project::new().file("x.sh", "#!/no/such/bash -e\necho hi\n");
        project.executable("x.sh");
        project
    };
    insta::assert_snapshot!(step(project(), &json!({"name": "a", "run": ["./x.sh"]}), 3), @r#"
    > a
      `./x.sh` is there, but what it needs to run is not
      help: check that the interpreter on its first line (#!/no/such/bash -e) exists in this image
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
    insta::assert_snapshot!(step(project(), &json!({"name": "a", "run": "./x.sh"}), 1), @r#"
    > a
    [TIME] a | /bin/sh: ...
      exit code 127: the shell did not find a command that the script names
      help: the output says which one: install it in the image, or check its spelling; if it is a script that is there, the interpreter on its first line is missing
    !! a  failure, exit code 127, [TOOK]
    shop #1: failure in [TOOK]: a
    "#);
}

#[test]
fn a_script_without_a_first_line() {
    let project = Project::new().file("x.sh", "echo hi\n");
    project.executable("x.sh");
    insta::assert_snapshot!(step(project, &json!({"name": "a", "run": ["./x.sh"]}), 3), @r#"
    > a
      `./x.sh` is not in a format that this system can execute
      help: begin a script with a line like `#!/bin/sh`; build a program for this machine's architecture
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
}

#[test]
fn a_directory_instead_of_a_program() {
    let project = Project::new().file("x/y", "");
    insta::assert_snapshot!(step(project, &json!({"name": "a", "run": ["./x"]}), 3), @r#"
    > a
      `./x` is a directory
      help: name a program in `run`
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
}

#[test]
fn a_missing_workdir() {
    let said = step(Project::new(), &json!({"name": "a", "run": "true", "workdir": "dist"}), 3);
    insta::assert_snapshot!(said, @r#"
    > a
      the step's working directory [ROOT]/shop/dist does not exist
      help: create it in an earlier step, or correct `workdir`
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
    let project = Project::new().file("dist", "");
    insta::assert_snapshot!(step(project, &json!({"name": "a", "run": ["true"], "workdir": "dist"}), 3), @r#"
    > a
      the step's working directory [ROOT]/shop/dist is a file
      help: name the directory in `workdir`
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
}

#[test]
fn arguments_that_are_too_long() {
    let said = step(Project::new(), &json!({"name": "a", "run": format!(": {}", "x".repeat(140_000))}), 3);
    insta::assert_snapshot!(said, @r#"
    > a
      the step's arguments and environment are too long for the system
      help: write a long script to a file and run that
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    "#);
}
