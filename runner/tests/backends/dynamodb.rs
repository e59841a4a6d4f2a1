//! history-dynamodb against dynalite and moto: `eval "$(scripts/servers/dynamodb)"`.

use std::{
    path::Path,
    process::{Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{harness::installed_file, support::installed};

const VARIABLES: [&str; 2] = ["DCD_TEST_DYNALITE", "DCD_TEST_DYNAMO_MOTO"];

/// The address of a server. Panics when it is not known.
fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `eval \"$(scripts/servers/dynamodb)\"` first"))
}

/// A name that no other run of the tests has.
fn table(test: &str) -> String {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{test}-{nanoseconds:x}")
}

/// How the backend is opened, in a test and in a pipeline.
struct Backend {
    with: Value,
    allow: Value,
    secrets: Value,
    /// Variables of `dcd`'s environment.
    env: Vec<(&'static str, String)>,
}

impl Backend {
    fn new(url: &str, table: &str) -> Self {
        Backend {
            with: json!({ "table": table, "region": "eu-central-1", "endpoint": url, "create_table": true }),
            allow: json!({ "http": [url], "secrets": ["AWS_*"] }),
            secrets: json!({
                "AWS_ACCESS_KEY_ID": { "env": "AWS_ACCESS_KEY_ID" },
                "AWS_SECRET_ACCESS_KEY": { "env": "AWS_SECRET_ACCESS_KEY" },
            }),
            env: Vec::new(),
        }
    }

    /// `dcd plugin test` of it.
    fn test(&self, args: &[&str]) -> Output {
        let workspace = workspace();
        // moto answers one request at a time, and 32 processes ask at once.
        let limits = json!({ "call_timeout": "3m" });
        let config =
            json!({ "with": self.with, "allow": self.allow, "secrets": self.secrets, "limits": limits });
        std::fs::write(workspace.path().join("backend.json"), config.to_string()).unwrap();
        let plugin = installed_file("history-dynamodb");
        let args = [&["plugin", "test", &plugin, "--config", "backend.json"], args].concat();
        command(workspace.path(), &args).envs(self.env.clone()).output().unwrap()
    }

    /// A workspace whose builds are kept there.
    fn project(&self) -> TempDir {
        let workspace = workspace();
        let pipeline = json!({
            "component": "shop",
            "lock": "deploy/prod",
            "secrets": self.secrets,
            "plugins": { "history-dynamodb": { "allow": self.allow } },
            "history": { "uses": "history-dynamodb", "with": self.with },
            "steps": [
                { "name": "test", "run": "echo 12 tests passed" },
                { "name": "deploy", "run": "echo deployed" },
            ],
        });
        std::fs::write(workspace.path().join("dcd.json"), pipeline.to_string()).unwrap();
        workspace
    }
}

fn workspace() -> TempDir {
    tempfile::Builder::new().prefix("dcd").tempdir_in("/tmp").unwrap()
}

fn dcd(workspace: &Path, args: &[&str]) -> Output {
    command(workspace, args).output().unwrap()
}

fn command(workspace: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcd"));
    command.args(args).current_dir(workspace).env_clear();
    for (name, value) in [
        ("PATH", "/usr/bin:/bin"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "s3cr3tk3y"),
        ("AWS_SESSION_TOKEN", "s3ss10nt0k3n"),
    ] {
        command.env(name, value);
    }
    command.env("HOME", workspace).env("DCD_PLUGIN_PATH", installed("history-dynamodb"));
    command
}

fn text(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for secret in ["s3cr3tk3y", "s3ss10nt0k3n"] {
        assert!(!text.contains(secret), "a secret is shown: {text}");
    }
    text
}

fn keeps_the_contract(variable: &str) {
    let said = expect(&Backend::new(&server(variable), &table("contract")).test(&[]), 0);
    assert!(!said.contains("\nFAIL") && !said.contains("\nskip"), "{said}");
}

#[test]
fn dynalite_keeps_the_contract() {
    keeps_the_contract(VARIABLES[0]);
}

#[test]
fn moto_keeps_the_contract() {
    keeps_the_contract(VARIABLES[1]);
}

#[test]
fn a_missing_table_is_said_with_the_command_that_makes_it() {
    for variable in VARIABLES {
        let url = server(variable);
        let mut backend = Backend::new(&url, "no-such-table");
        backend.with["create_table"] = false.into();
        let said = expect(&backend.test(&["--only", "check"]), 1);
        let missing = format!("there is no table no-such-table in eu-central-1 at {url}");
        let command = "aws dynamodb create-table --table-name no-such-table --region eu-central-1";
        assert!(said.contains(&missing) && said.contains(command), "{said}");
    }
}

#[test]
fn temporary_credentials_are_used_and_never_shown() {
    for variable in VARIABLES {
        let url = server(variable);
        let mut backend = Backend::new(&url, &table("token"));
        backend.secrets["AWS_SESSION_TOKEN"] = json!({ "env": "AWS_SESSION_TOKEN" });
        expect(&backend.test(&["--only", "check"]), 0);
        // What is not granted is as if it were not there.
        backend.allow["secrets"] = json!(["AWS_ACCESS_KEY_ID"]);
        let said = expect(&backend.test(&["--only", "check"]), 3);
        assert!(said.contains("AWS_SECRET_ACCESS_KEY is not set or not granted"), "{said}");
    }
}

#[test]
fn the_usual_variables_say_what_the_configuration_does_not() {
    for variable in VARIABLES {
        let url = server(variable);
        let mut backend = Backend::new(&url, "");
        backend.with = json!({ "table": table("variables"), "create_table": true });
        backend.env = vec![("AWS_REGION", "eu-west-1".into()), ("AWS_ENDPOINT_URL_DYNAMODB", url)];
        let said = expect(&backend.test(&["--only", "check"]), 3);
        assert!(said.contains("the table's region is not known"), "{said}");
        backend.allow["env"] = json!(["AWS_*"]);
        expect(&backend.test(&["--only", "check"]), 0);
    }
}

#[test]
fn a_build_is_seen_from_another_workspace() {
    for variable in VARIABLES {
        let backend = Backend::new(&server(variable), &table("shared"));
        let (one, other) = (backend.project(), backend.project());
        let said = expect(&dcd(one.path(), &["run"]), 0);
        assert!(said.contains("shop #1"), "{said}");
        expect(&dcd(other.path(), &["run"]), 0);
        let listed = expect(&dcd(one.path(), &["history", "list"]), 0);
        assert!(listed.contains("shop #2") && listed.contains("shop #1"), "{listed}");
        let logs = dcd(other.path(), &["history", "logs", "1", "test"]);
        assert_eq!(expect(&logs, 0), "12 tests passed\n");
    }
}
