//! What a right pipeline file means, and that no damage to it makes the reader panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use dcd::pipeline::{self, Action, Command, Pipeline, Wrong};
use serde_json::json;

const GOOD: &str = include_str!("golden/pipeline-good.jsonc");

fn read(text: &str, path: &str) -> Result<Pipeline, Wrong> {
    pipeline::parse(text, path, &mut |path| Err(format!("there is no file {path}")))
}

fn parse(text: &str) -> Pipeline {
    read(text, "ci/dcd.json").unwrap_or_else(|wrong| {
        panic!("{}", pipeline::render(&wrong.diagnostics, &wrong.sources, false, 100))
    })
}

#[test]
fn every_key_reaches_the_model() {
    let pipeline = parse(GOOD);
    assert_eq!(pipeline.name, "Release: Übung");
    assert_eq!(pipeline.component.as_deref(), Some("shop/web"));
    let env = &pipeline.scopes[0].env;
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(env, [("Z", "last"), ("A", "first"), ("EMPTY", "")], "in the file's order");

    let http = &pipeline.plugins["http"];
    assert_eq!(&GOOD[http.span.clone()], "\"http\"");
    assert_eq!(http.path.as_ref().unwrap().value, "plugins/http.wasm");
    assert!(http.sha256.as_ref().unwrap().value.starts_with("9f86"));
    let origins: Vec<_> = http.allow.http.iter().map(|grant| grant.value.as_str()).collect();
    assert_eq!(origins, ["https://*.example.com:8443", "http://localhost"]);
    let variables: Vec<_> = http.allow.env.iter().map(|grant| grant.value.as_str()).collect();
    assert_eq!(variables, ["TOKEN", "AWS_*"]);
    let paths: Vec<_> =
        http.allow.fs.iter().map(|grant| (grant.path.value.as_str(), grant.writable)).collect();
    assert_eq!(paths, [("docs", false), ("dist", true), ("/etc", false)]);
    assert_eq!(pipeline.plugins["postgres"].allow, pipeline::Allow::default());

    let history = pipeline.history.as_ref().unwrap();
    assert_eq!(history.uses.value, "postgres");
    assert_eq!(history.with.value, json!({ "url": "postgres://db/dcd" }));
}

#[test]
fn every_step_reaches_the_model() {
    let pipeline = parse(GOOD);
    let [test, lint, announce, plain] = &pipeline.steps[..] else { panic!("four steps") };
    let Action::Run(script) = &test.action else { panic!("a script") };
    assert_eq!(
        script.value,
        Command::Shell {
            shell: ["/bin/sh", "-eu", "-c"].map(str::to_owned).to_vec(),
            script: "cargo test\n\techo \"$HOME\" é".to_owned()
        }
    );
    assert_eq!(test.timeout, Some(Duration::from_mins(90)));
    assert!(!test.continue_on_error);

    let Action::Run(program) = &lint.action else { panic!("a program") };
    assert_eq!(program.value, Command::Exec(vec!["cargo".to_owned(), "clippy".to_owned(), String::new()]));
    assert!(lint.continue_on_error);
    assert_eq!(lint.workdir.as_ref().unwrap().source(), "web");
    assert_eq!(lint.env, [("B".to_owned(), pipeline::expression::Template::plain("1"))]);

    let Action::Uses { plugin, with } = &announce.action else { panic!("a plugin") };
    assert_eq!(plugin.value, "http");
    assert_eq!(with.value, json!({ "n": u64::MAX, "f": -1500.0, "a/b~c": [true, null, { "x": "$" }] }));
    for (pointer, text) in [
        ("/n", "18446744073709551615"),
        ("/a~1b~0c/1", "null"),
        ("/a~1b~0c/2/x", "\"$\""),
        ("/a~1b~0c/2/missing", "{ \"x\": \"$\" }"),
    ] {
        assert_eq!(&GOOD[with.span(pointer)], text, "{pointer}");
    }

    let Action::Uses { with, .. } = &plain.action else { panic!("a plugin") };
    assert_eq!(with.value, json!({}));
    assert_eq!(&GOOD[with.span("/url")], "\"http\"", "what is missing is shown at `uses`");
}

#[test]
fn a_pipeline_has_its_files_name() {
    let text = r#"{ "steps": [{ "name": "a", "run": "a" }] }"#;
    for (file, name) in
        [("dcd.json", "dcd"), ("ci/release.jsonc", "release"), ("", "pipeline"), (" .json", "pipeline")]
    {
        assert_eq!(read(text, file).unwrap().name, name);
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_change_nothing() {
    let windows = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    let pipeline = parse(&windows);
    assert_eq!(&windows[pipeline.steps[0].name.span.clone()], "\"test\"");
    assert_eq!(pipeline.steps.len(), 4);
}

#[test]
fn damage_is_reported_and_never_a_panic() {
    let check = |text: &str| {
        if let Err(Wrong { diagnostics, sources }) = read(text, "dcd.json") {
            assert!(!diagnostics.is_empty(), "{text}");
            assert!(diagnostics.is_sorted_by_key(|error| error.span.start), "{text}");
            let shown = pipeline::render(&diagnostics, &sources, false, 80);
            assert!(!shown.contains("Failed to read contents"), "{shown}");
        }
    };
    for (at, c) in GOOD.char_indices() {
        let (before, after) = (&GOOD[..at], &GOOD[at + c.len_utf8()..]);
        check(before);
        check(&format!("{before}{after}"));
        for instead in ["\"", "{", "]", "\\", "\n", "1", "é", "/*"] {
            check(&format!("{before}{instead}{after}"));
        }
    }
}

#[test]
fn time_grows_with_the_file_only() {
    let steps = |count: usize| {
        let steps: Vec<_> = (0..count)
            .map(|n| {
                format!(r#"{{ "name": "step {n}", "run": "make target-{n}", "env": {{ "N": "{n}" }} }}"#)
            })
            .collect();
        format!("{{ \"steps\": [\n{}\n] }}", steps.join(",\n"))
    };
    let text = steps(10_000);
    let start = Instant::now();
    assert_eq!(parse(&text).steps.len(), 10_000);
    // Seconds without optimisation on a busy machine; quadratic would be many minutes.
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());

    let wrong = text.replace("\"run\"", "\"rum\"");
    let start = Instant::now();
    let Wrong { diagnostics, sources } = read(&wrong, "dcd.json").unwrap_err();
    assert_eq!(diagnostics.len(), 10_000);
    assert!(pipeline::render(&diagnostics, &sources, false, 100).lines().count() < 300);
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
}
