//! history-s3 against servers that `scripts/servers/s3` starts: `eval "$(scripts/servers/s3)"` before.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{Backend, installed_file},
    support::installed,
};

/// What no server does that lets two writers make the same object: s3s-fs.
const RACES: [&str; 3] = ["numbers-instances", "numbers-race", "lock-race"];

/// A variable that the script prints.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: eval \"$(scripts/servers/s3)\" first"))
}

/// How `dcd plugin test` opens the backend.
struct Opened {
    with: Value,
    origin: String,
    secrets: Value,
    variables: Vec<(&'static str, String)>,
}

impl Opened {
    /// With the right credentials, below a prefix of its own.
    fn at(endpoint: &str) -> Self {
        let from = |name: &str| json!({ "env": name });
        Self {
            with: json!({ "endpoint": endpoint, "bucket": variable("DCD_TEST_S3_BUCKET"), "prefix": "tests" }),
            origin: endpoint.to_owned(),
            secrets: json!({
                "AWS_ACCESS_KEY_ID": from("DCD_TEST_S3_KEY"),
                "AWS_SECRET_ACCESS_KEY": from("DCD_TEST_S3_SECRET"),
            }),
            variables: Vec::new(),
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.with[key] = value.into();
        self
    }

    fn secret(mut self, name: &str, variable: &'static str, value: &str) -> Self {
        self.secrets[name] = json!({ "env": variable });
        self.variables.push((variable, value.to_owned()));
        self
    }

    /// The exit code, and all that it printed.
    fn test(self, args: &[&str]) -> (Option<i32>, String) {
        let dir = TempDir::new().unwrap();
        let secrets: Vec<_> = self.secrets.as_object().unwrap().keys().collect();
        let config = json!({
            "with": self.with,
            "allow": { "http": [self.origin], "secrets": secrets },
            "secrets": self.secrets,
        });
        std::fs::write(dir.path().join("backend.json"), config.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dcd"))
            .args(["plugin", "test", &installed_file("history-s3")])
            .env("DCD_PLUGIN_PATH", installed("history-s3"))
            .args(["--config", "backend.json"])
            .args(args)
            .current_dir(dir.path())
            .envs(self.variables)
            .env("HOME", dir.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// Fails unless all went well.
fn passes((code, text): (Option<i32>, String)) {
    assert!(code == Some(0), "exit code {code:?}\n{text}");
    assert!(!text.contains("FAIL"), "{text}");
}

/// Fails unless `check` failed with these words.
fn fails(opened: Opened, words: &[&str]) {
    let (code, text) = opened.test(&["--only", "check"]);
    assert!(code != Some(0), "it passed\n{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn moto_keeps_the_contract() {
    backend(&variable("DCD_TEST_S3_MOTO"), "contract").keeps_the_contract();
}

/// Below a prefix of its own, as the other backends are tested.
fn backend(endpoint: &str, prefix: &str) -> Backend {
    let prefix = format!("{prefix}-{}", std::process::id());
    let with = json!({ "endpoint": endpoint, "bucket": variable("DCD_TEST_S3_BUCKET"), "prefix": prefix });
    let (key, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    Backend {
        secrets: json!({ key: { "env": "KEY" }, secret: { "env": "SECRET" } }),
        env: vec![
            ("KEY".into(), variable("DCD_TEST_S3_KEY")),
            ("SECRET".into(), variable("DCD_TEST_S3_SECRET")),
        ],
        ..Backend::new("history-s3", with, json!({ "http": [endpoint], "secrets": [key, secret] }))
    }
}

#[test]
fn is_shared_by_two_machines() {
    backend(&variable("DCD_TEST_S3_MOTO"), "machines").is_shared_by_two_machines("shop");
}

/// But for what races: of several writers that make an object at once, s3s-fs tells more than one that it was first.
#[test]
fn s3s_checks_signatures_and_keeps_the_contract() {
    let (document, _) = backend(&variable("DCD_TEST_S3_S3S"), "contract").test(&[]);
    let tests = document["tests"].as_array().unwrap();
    let may_fail = |test: &Value| RACES.iter().any(|race| test["name"] == *race);
    let bad: Vec<_> = tests.iter().filter(|test| test["outcome"] != "passed" && !may_fail(test)).collect();
    assert!(bad.is_empty() && tests.len() > 40, "{} tests: {bad:#?}", tests.len());
}

#[test]
fn garage_is_refused_as_it_overwrites() {
    let garage = garage();
    is_refused(|| Opened::at(&garage).with("region", "garage"));
}

/// Where it answers. It is not among the servers that are there before: it compiles for minutes, and whoever began with that
/// is waited for.
fn garage() -> String {
    variable("DCD_TEST_S3_BUCKET");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/servers/s3");
    let output = Command::new(script).arg("garage").env("SERVERS_WAIT", "120").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let origin = text.lines().find_map(|line| line.strip_prefix("export DCD_TEST_S3_GARAGE="));
    origin.expect("the script says where").to_owned()
}

/// Each time, and not only the first.
fn is_refused(opened: impl Fn() -> Opened) {
    let words = ["does not honour conditional writes", "no build is kept in it"];
    fails(opened(), &words);
    for _ in 0..2 {
        let (code, text) = opened().test(&["--only", "numbers-from-1"]);
        assert!(code == Some(1) && text.contains(words[0]), "{text}");
    }
}

#[test]
fn a_wrong_secret_is_named() {
    let opened = Opened::at(&variable("DCD_TEST_S3_S3S"));
    fails(
        opened.secret("AWS_SECRET_ACCESS_KEY", "WRONG", "not-the-secret"),
        &["does not accept the signature", "AWS_SECRET_ACCESS_KEY"],
    );
    let opened = Opened::at(&variable("DCD_TEST_S3_S3S"));
    fails(opened.secret("AWS_ACCESS_KEY_ID", "WRONG", "NOKEY"), &["AWS_ACCESS_KEY_ID"]);
}

#[test]
fn a_missing_bucket_is_named_with_the_command_that_makes_it() {
    // s3s-fs would make it.
    let opened = Opened::at(&variable("DCD_TEST_S3_MOTO")).with("bucket", "no-such-bucket");
    fails(opened, &["there is no bucket no-such-bucket", "aws s3api create-bucket --bucket no-such-bucket"]);
}

#[test]
fn a_session_token_is_sent_and_signed() {
    let opened = || Opened::at(&variable("DCD_TEST_S3_S3S")).with("session_token", true);
    passes(opened().secret("AWS_SESSION_TOKEN", "TOKEN", "a-token").test(&["--only", "check"]));
    // Without the secret it says which one is missing. That is found when it is opened.
    let (code, text) = opened().test(&["--only", "check"]);
    assert!(code != Some(0) && text.contains("AWS_SESSION_TOKEN"), "{text}");
}

/// No name below that of the server can be looked up here; but the server takes requests as a proxy does, with the whole
/// URL.
#[test]
fn a_bucket_is_addressed_by_host_name() {
    let (domain, bucket) = (variable("DCD_TEST_S3_DOMAIN"), variable("DCD_TEST_S3_BUCKET"));
    let mut opened = Opened::at(&format!("http://{domain}")).with("style", "virtual-host");
    opened.origin = format!("http://{bucket}.{domain}");
    opened.variables.push(("HTTP_PROXY", variable("DCD_TEST_S3_S3S")));
    passes(opened.test(&["--only", "check", "--only", "append-contiguous"]));
}
