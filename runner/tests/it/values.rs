//! Params, secrets, expressions and outputs, as steps see them.

use std::fs;

use serde_json::json;

use crate::support::Project;

#[test]
fn params_have_types_and_reach_steps_through_the_environment() {
    let project = Project::new().pipeline(json!({
        "params": {
            "target": { "enum": ["staging", "prod"], "default": "staging" },
            "count": { "type": "integer", "required": true, "description": "how many" },
            "dry": { "type": "boolean", "default": false },
        },
        "env": { "TARGET": "to-${{ params.target }}" },
        "steps": [
            {
                "name": "say", "run": "echo $TARGET $NEXT $HERE",
                "env": { "NEXT": "${{ params.count + 1 }}", "HERE": "${{ env.TARGET }}/${{ build.number }}" },
            },
            { "name": "prod only", "run": "true", "if": "params.target == 'prod' && !params.dry" },
        ],
    }));
    project.run(&["run", "--param", "count=41"]).expect(0);
    assert_eq!(project.logs(&["1", "say"]), b"to-staging 42 to-staging/1\n");
    let build = project.show("1");
    assert_eq!(build["steps"][1]["outcome"], "skip");
    assert_eq!(build["facts"]["params"], json!({ "target": "staging", "count": 41, "dry": false }));
    project.run(&["run", "-p", "count=1", "-p", "target=prod"]).expect(0);
    assert_eq!(project.show("2")["steps"][1]["outcome"], "success");

    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
    error: the param `count` (how many) must be given
    help: say it: --param count=VALUE
    "#);
    insta::assert_snapshot!(
        project.run(&["run", "-p", "count=many", "-p", "target=moon", "-p", "cuont=1"]).expect(2).err,
        @r#"
        error: there is no param `cuont`; did you mean `count`?
          the param `count` cannot be `many`; it takes a whole number
          the param `target` cannot be `moon`; it takes `staging` or `prod`
        help: give each param once, as --param NAME=VALUE
        "#
    );
}

#[test]
fn outputs_are_read_by_later_steps() {
    let project = Project::new().pipeline(json!({ "steps": [
        {
            "name": "make",
            "run": "printf 'version=1.2\\nnotes<<END\\ntwo\\nlines\\nEND\\n' >>\"$DCD_OUTPUT\"\necho '# Made' >\"$DCD_SUMMARY\"",
        },
        {
            "name": "use", "run": "echo \"$V\"; echo \"$N\"",
            "env": { "V": "${{ steps.make.outputs.version }}", "N": "${{ steps.make.outputs.notes }}" },
        },
        { "name": "none", "run": "true", "env": { "X": "${{ steps.make.outputs.nothing }}" } },
        { "name": "asked", "run": "true", "needs": ["make"], "if": "has(steps.make.outputs.nothing)" },
        {
            "name": "after", "run": "echo $O $A", "if": "always()", "needs": ["none"],
            "env": { "O": "${{ steps.none.outcome }}", "A": "${{ steps.none.attempt }}" },
        },
    ] }));
    project.run(&["run"]).expect(3);
    assert_eq!(project.logs(&["1", "use"]), b"1.2\ntwo\nlines\n");
    assert_eq!(project.logs(&["1", "after"]), b"error 1\n");
    let build = project.show("1");
    assert_eq!(build["steps"][0]["outputs"], json!({ "version": "1.2", "notes": "two\nlines" }));
    assert_eq!(build["steps"][0]["summary"], "# Made\n");
    insta::assert_snapshot!(build["steps"][2]["attempts"][0]["problem"]["message"].as_str().unwrap(), @"`steps.make.outputs.nothing`: the step `make` has no output `nothing`; it has `notes` and `version`");
    assert_eq!(build["steps"][3]["outcome"], "skip");
}

#[test]
fn secrets_reach_those_that_name_them_and_no_sink() {
    let secret = "s3cr3t-p4ss word";
    let project = Project::new().pipeline(json!({
        "secrets": { "TOKEN": { "env": "CI_TOKEN" }, "KEY": { "file": "key.pem" } },
        "steps": [
            {
                "name": "with", "secrets": ["TOKEN", "KEY"],
                "run": "test \"$TOKEN\" = 's3cr3t-p4ss word'\necho \"a $TOKEN b\"; printf 's3cr3t-'; sleep 0.3; echo 'p4ss word'\n\
                        printf %s \"$TOKEN\" | base64; printf %s \"user:$TOKEN\" | base64\n\
                        printf %s \"$TOKEN\" | od -An -tx1 | tr -d ' \\n'; echo\n\
                        echo \"$KEY\"; echo \"value=$TOKEN\" >>\"$DCD_OUTPUT\"; echo \"$TOKEN\" >\"$DCD_SUMMARY\"",
            },
            { "name": "without", "run": "echo \"[${TOKEN-}] [${CI_TOKEN-}] [${KEY-}]\"" },
            { "name": "later", "run": "echo '::add-mask::hush-hush'; echo 'it is hush-hush'" },
        ],
    }));
    let project =
        project.file("key.pem", "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n").env("CI_TOKEN", secret);
    let run = project.run(&["run"]);
    run.expect(0);
    assert_eq!(project.logs(&["1", "without"]), b"[] [] []\n");
    let logs = String::from_utf8(project.logs(&["1"])).unwrap();
    let show = project.show("1").to_string();
    let journal = fs::read(&project.journals()[0]).unwrap();
    let places = [run.out, run.err, logs.clone(), show, String::from_utf8_lossy(&journal).into_owned()];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for place in &places {
        // What the pipeline file itself says is its author's.
        let place = place.replace("s3cr3t-p4ss word'\\", "").replace("= 's3cr3t-p4ss word'", "");
        for form in [secret, "czNjcjN0LXA0c3Mgd29yZ", &hex, "MIIEvQIBADANBg", "it is hush-hush\n"] {
            assert!(!place.contains(form), "{form} in {place}");
        }
    }
    assert!(logs.contains("a *** b\n") && logs.contains("::add-mask::***\nit is ***\n"), "{logs}");
}

#[test]
fn a_secret_is_masked_whoever_prints_it() {
    let project = Project::new().env("CI_TOKEN", "hush'hush&<x>").pipeline(json!({
        "secrets": { "TOKEN": { "env": "CI_TOKEN" }, "OTHER": { "env": "NOT_SET" } },
        "steps": [
            { "name": "login", "run": "echo \"token=$TOKEN\" >creds", "secrets": ["TOKEN"] },
            { "name": "use", "run": "cat creds; echo \"hush'\\\\''hush&<x> hush&apos;hush&amp;&lt;x&gt;\"" },
            { "name": "rare", "run": "true", "secrets": ["OTHER"], "if": "false" },
        ],
    }));
    project.run(&["run"]).expect(0);
    assert_eq!(project.logs(&["1", "use"]), b"token=***\n*** ***\n");
    // Also when the step that gets the secret is left out.
    project.run(&["run", "--skip", "login"]).expect(0);
    assert_eq!(project.logs(&["2", "use"]), b"token=***\n*** ***\n");
    assert_eq!(project.show("1")["facts"]["secrets"], json!(["TOKEN"]));
    // Only a step that runs needs its secret.
    let run = project.run(&["run", "--only", "login", "--only", "use"]);
    run.expect(0);
}

#[test]
fn a_secret_that_is_not_there() {
    let project = Project::new().pipeline(json!({
        "secrets": { "TOKEN": { "env": "CI_TOKEN" }, "KEY": { "file": "key.pem" } },
        "steps": [
            { "name": "a", "run": "true", "secrets": ["TOKEN"] },
            { "name": "b", "run": "true", "secrets": ["KEY"] },
            { "name": "c", "run": "true" },
        ],
    }));
    insta::assert_snapshot!(project.run(&["run"]).expect(2).err, @r#"
    error: the secret TOKEN, which step `a` needs, comes from the variable CI_TOKEN, which is not set
    help: set it where dcd starts; for a container: `docker run -e CI_TOKEN ...`
    "#);
    insta::assert_snapshot!(project.run(&["run", "--skip", "a"]).expect(2).err, @r#"
    error: the secret KEY, which step `b` needs, comes from the file [ROOT]/shop/key.pem: No such file or directory (os error 2)
    help: mount it into the container: `docker run -v HOST_FILE:FILE:ro ...`
    "#);
    project.run(&["run", "--only", "c"]).expect(0);
    insta::assert_snapshot!(project.env("CI_TOKEN", "").run(&["run"]).expect(2).err, @r#"
    error: the secret TOKEN, which step `a` needs, is empty
    help: give it its value
    "#);
}

#[test]
fn each_combination_of_a_matrix_has_its_own_files() {
    let project = Project::new().pipeline(json!({
        "params": { "dir": { "default": "dist" } },
        "steps": [{
            "name": "pack", "matrix": { "arch": ["amd64", "arm64"] },
            "env": { "OUT": "${{ params.dir }}/${{ matrix.arch }}" },
            "run": "mkdir -p $OUT\necho $OUT >$OUT/app\nsleep 0.2",
            "outputs": ["${{ params.dir }}/${{ matrix.arch }}/*"],
        }],
    }));
    project.run(&["run", "--jobs", "2"]).expect(0);
    let build = project.show("1");
    let paths = |step: usize| {
        let artifacts = build["steps"][step]["artifacts"].as_array().unwrap();
        artifacts.iter().map(|artifact| artifact["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((paths(0), paths(1)), (vec!["dist/amd64/app".to_owned()], vec!["dist/arm64/app".to_owned()]));

    // A value may lead out of the workspace; then nothing runs.
    let run = project.run(&["run", "-p", "dir=../x"]);
    run.expect(3);
    let problem = &project.show("2")["steps"][0]["attempts"][0]["problem"];
    assert_eq!(problem["message"], "the glob `../x/amd64/*` leaves the workspace");
    assert!(!project.outside().join("x").exists());
}
