//! What a right pipeline file means, and that no damage to it makes the reader panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use dcd::{
    event::Outcome,
    pipeline::{self, Action, Command, GitRequirement, ParamType, Pipeline, Retry, SecretSource, Wrong},
};
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
    let strings = |grants: &[pipeline::Spanned<String>]| {
        grants.iter().map(|grant| grant.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(strings(&http.allow.tcp), ["*.example.com:443", "[::1]:5432"]);
    assert_eq!(strings(&http.allow.exec), ["helm", "/usr/bin/git"]);
    assert_eq!(strings(&http.allow.secrets), ["REGISTRY_*"]);
    let limits = &http.limits;
    assert_eq!(limits.memory.as_ref().unwrap().value, 512 << 20);
    assert_eq!(limits.call_timeout.as_ref().unwrap().value, Duration::from_secs(90));
    assert_eq!(limits.connections.as_ref().unwrap().value, 4);
    assert_eq!(limits.http_body.as_ref().unwrap().value, 1 << 30);
    assert_eq!(pipeline.plugins["postgres"].limits, pipeline::Limits::default());
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
    let step = |name: &str| pipeline.steps.iter().find(|step| step.name.value == name).unwrap();
    let [test, lint, announce, plain] = ["test", "lint", "announce", "plain"].map(step);
    let Action::Run(script) = &test.action else { panic!("a script") };
    assert_eq!(
        script.value,
        Command::Shell {
            shell: ["/bin/bash", "-euo", "pipefail", "-c"].map(str::to_owned).to_vec(),
            script: "cargo test\n\techo \"$HOME\" é".to_owned()
        }
    );
    assert_eq!(test.timeout, Some(Duration::from_mins(90)));
    assert!(!test.continue_on_error);
    assert_eq!(lint.timeout, Some(Duration::from_mins(30)), "the file's default");
    assert_eq!(test.workdir.as_ref().unwrap().source(), "src", "the file's default");
    assert!(announce.workdir.is_none(), "a plugin has none");

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
fn the_settings_of_a_file_reach_the_model() {
    let pipeline = parse(GOOD);
    assert_eq!(pipeline.timeout, Some(Duration::from_hours(2)));
    let git: Vec<_> = pipeline.require.git.iter().map(|requirement| requirement.value.clone()).collect();
    let branch = GitRequirement::Branch("release/*".to_owned());
    assert_eq!(git, [GitRequirement::Clean, GitRequirement::Pushed, branch]);
    assert!(pipeline.require.docker && pipeline.require.history);
    let lock = pipeline.lock.as_ref().unwrap();
    assert_eq!(
        (lock.name.source(), lock.wait),
        ("deploy-${{ params.target }}", Some(Duration::from_mins(10)))
    );
    let secrets: Vec<_> =
        pipeline.secrets.iter().map(|secret| (secret.name.value.as_str(), &secret.from)).collect();
    let (token, key) =
        (SecretSource::Env("DEPLOY_TOKEN".to_owned()), SecretSource::File("/run/secrets/key".to_owned()));
    assert_eq!(secrets, [("TOKEN", &token), ("KEY", &key)]);

    let params = &pipeline.scopes[0].params;
    let all: Vec<_> =
        params.iter().map(|param| (param.name.value.as_str(), param.kind, param.required)).collect();
    assert_eq!(
        all,
        [
            ("target", ParamType::String, false),
            ("count", ParamType::Integer, false),
            ("ratio", ParamType::Number, true),
            ("dry_run", ParamType::Boolean, false),
        ]
    );
    assert_eq!(
        (&params[0].choices, &params[0].default),
        (&vec![json!("staging"), json!("prod")], &Some(json!("staging")))
    );
    assert_eq!(params[0].description.as_deref(), Some("where to"));
    assert_eq!((&params[2].default, &params[3].default), (&None, &Some(json!(false))));
}

/// Each step with the names of those that it needs.
fn graph(pipeline: &Pipeline) -> Vec<String> {
    let name = |index: &usize| pipeline.steps[*index].name.value.as_str();
    let shown = pipeline.steps.iter().enumerate().map(|(index, step)| {
        assert!(step.needs.is_sorted() && step.needs.iter().all(|need| *need < index), "{step:?}");
        format!("{} <- {}", step.name.value, step.needs.iter().map(name).collect::<Vec<_>>().join(" + "))
    });
    shown.collect()
}

#[test]
fn needs_and_matrices_become_a_graph() {
    let pipeline = parse(GOOD);
    let built = "build (amd64, true, 1) + build (amd64, false, 1) + build (arm64, false) + build (riscv)";
    assert_eq!(
        graph(&pipeline),
        [
            "test <- ",
            "lint <- test",
            "announce <- lint",
            "plain <- announce",
            "build (amd64, true, 1) <- test",
            "build (amd64, false, 1) <- test",
            "build (arm64, false) <- test",
            "build (riscv) <- test",
            "push <- build (amd64, true, 1)",
            &format!("all <- lint + {built} + push"),
            "free <- ",
        ]
    );
    let build = &pipeline.steps[4];
    assert_eq!(json!(build.matrix), json!({ "arch": "amd64", "debug": true, "fast": 1 }));
    assert_eq!(json!(pipeline.steps[7].matrix), json!({ "arch": "riscv" }));
    let condition = &build.conditions[0];
    assert_eq!(condition.expression.as_ref().unwrap().value.source(), "params.target == 'prod' || failure()");
    assert_eq!((condition.within.clone(), &condition.matrix), (None, &build.matrix));
    assert_eq!(json!(build.reads), json!({ "test": [0] }));
    assert_eq!(build.env[0].1.source(), "${{ matrix.arch }}");
    let secrets: Vec<_> = build.secrets.iter().map(|name| name.value.as_str()).collect();
    assert_eq!(secrets, ["TOKEN", "KEY"]);
    let on = vec![Outcome::Timeout, Outcome::Error];
    assert_eq!(build.retry, Retry { attempts: 3, delay: Duration::from_secs(5), backoff: 2.0, on });
    let globs = |globs: &[pipeline::expression::Template]| {
        globs.iter().map(|glob| glob.source().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(globs(&build.outputs), ["dist/*.tar.gz", "{a,b}/**"]);
    assert_eq!(globs(&build.reports.junit), ["target/junit/*.xml"]);

    assert_eq!(pipeline.steps[8].retry, Retry { attempts: 2, ..Retry::default() });
    let source = |step: usize| pipeline.steps[step].conditions[0].expression.as_ref().unwrap().value.source();
    assert_eq!((source(8), source(10)), ("false", "always()"));
    assert!(pipeline.steps[0].conditions.is_empty());
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
    assert_eq!(pipeline.steps.len(), parse(GOOD).steps.len());
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
    let instead = ["\"", "{", "]", "\\", "\n", "1", "é", "/*"];
    for (at, c) in GOOD.char_indices() {
        let (before, after) = (&GOOD[..at], &GOOD[at + c.len_utf8()..]);
        check(before);
        // By turns: each is read as a whole, which takes its time.
        let instead = if at % 2 == 0 { "" } else { instead[at / 2 % instead.len()] };
        check(&format!("{before}{instead}{after}"));
    }
}

/// The pipeline of several files.
fn used() -> Pipeline {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/used");
    let mut load = |path: &str| fs::read_to_string(directory.join(path)).map_err(|error| error.to_string());
    let text = load("dcd.jsonc").unwrap();
    pipeline::parse(&text, "dcd.jsonc", &mut load).unwrap_or_else(|wrong| {
        panic!("{}", pipeline::render(&wrong.diagnostics, &wrong.sources, false, 100))
    })
}

#[test]
fn used_files_take_their_places() {
    let pipeline = used();
    let paths: Vec<_> = pipeline.sources.iter().map(|source| source.path.as_str()).collect();
    assert_eq!(paths, ["dcd.jsonc", "ci/rust.json", "ci/deploy.json", "ci/parts/verify.json"]);
    assert_eq!(
        graph(&pipeline),
        [
            "prepare <- ",
            "lint <- prepare",
            "test (amd64) <- lint",
            "test (arm64) <- lint",
            "docs <- lint",
            "deploy (eu)/push <- test (amd64)",
            "deploy (eu)/verify/smoke <- deploy (eu)/push",
            "deploy (eu)/verify/load <- deploy (eu)/push",
            "deploy (eu)/clean <- deploy (eu)/verify/smoke + deploy (eu)/verify/load",
            "deploy (us)/push <- test (amd64)",
            "deploy (us)/verify/smoke <- deploy (us)/push",
            "deploy (us)/verify/load <- deploy (us)/push",
            "deploy (us)/clean <- deploy (us)/verify/smoke + deploy (us)/verify/load",
            "announce <- docs + deploy (eu)/clean + deploy (us)/clean",
        ]
    );
    // Each place is one in its own file.
    let starts: Vec<_> = pipeline::Source::starts(&pipeline.sources).collect();
    for step in &pipeline.steps {
        let source = pipeline.scopes[step.scope].source;
        let span = step.name.span.start - starts[source]..step.name.span.end - starts[source];
        let written = pipeline.sources[source].text[span].trim_matches('"');
        assert!(step.name.value.contains(written), "{written} {}", step.name.value);
    }
}

#[test]
fn damage_to_a_used_file_is_reported_and_never_a_panic() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/used");
    let read = |path: &str| fs::read_to_string(directory.join(path)).map_err(|error| error.to_string());
    let (root, good) = (read("dcd.jsonc").unwrap(), read("ci/deploy.json").unwrap());
    for (at, c) in good.char_indices() {
        for instead in ["", "\"", "}", "x"] {
            let damaged = [&good[..at], instead, &good[at + c.len_utf8()..]].concat();
            let mut load =
                |path: &str| if path == "ci/deploy.json" { Ok(damaged.clone()) } else { read(path) };
            if let Err(Wrong { diagnostics, sources }) = pipeline::parse(&root, "dcd.jsonc", &mut load) {
                assert!(!pipeline::render(&diagnostics, &sources, false, 80).is_empty(), "{damaged}");
            }
        }
    }
}

#[test]
fn used_files_have_scopes_of_their_own() {
    let pipeline = used();
    let scopes: Vec<_> = pipeline.scopes.iter().map(|scope| (scope.source, scope.parent)).collect();
    assert_eq!(
        scopes,
        [(0, None), (1, Some(0)), (2, Some(0)), (3, Some(2)), (2, Some(0)), (3, Some(4))],
        "each after its parent"
    );
    let env: Vec<_> =
        pipeline.scopes[2].env.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(env, [("FROM", "file"), ("FROM", "use")], "who uses the file wins");
    assert_eq!(json!(pipeline.scopes[4].matrix), json!({ "region": "us" }));
    let names: Vec<_> = pipeline.secrets.iter().map(|secret| secret.name.value.as_str()).collect();
    assert_eq!(names, ["TOKEN", "KEY"]);
    let grants: Vec<_> =
        pipeline.plugins["http"].allow.env.iter().map(|grant| grant.value.as_str()).collect();
    assert_eq!(grants, ["A", "B"]);
    assert_eq!(pipeline.require.git.len(), 1);

    // Defaults are the file's own.
    let timeouts: Vec<_> =
        pipeline.steps[..5].iter().map(|step| step.timeout.map(|time| time.as_secs())).collect();
    assert_eq!(timeouts, [None, Some(60), Some(300), Some(300), None]);
    assert_eq!(pipeline.steps[2].workdir.as_ref().unwrap().source(), "rust");

    let given = [("target".to_owned(), "prod".to_owned())].into();
    let params = pipeline.bind(&given).unwrap();
    assert_eq!(json!(params[1]), json!({ "toolchain": "1.95" }));
    assert_eq!(json!(params[4]), json!({ "where": "prod-us", "count": 3 }));
    assert_eq!(json!(params[5]), json!({}));
}

#[test]
fn the_condition_of_a_use_is_about_what_is_before_it() {
    let pipeline = used();
    let [smoke, clean] = [10, 12].map(|index| &pipeline.steps[index]);
    // The use's `if`, then the implied `success()` among the file's own steps.
    let [outer, own] = &smoke.conditions[..] else { panic!("{:?}", smoke.conditions) };
    assert!(outer.expression.is_some() && own.expression.is_none());
    assert_eq!((outer.within.clone(), own.within.clone()), (Some(0..9), Some(9..13)));
    assert_eq!((outer.scope, own.scope), (0, 5));
    assert_eq!(json!(outer.matrix), json!({ "region": "us" }));
    assert_eq!(json!(outer.reads), json!({ "prepare": [0] }));
    let own = &clean.conditions[1];
    assert_eq!(
        (own.expression.as_ref().unwrap().value.source(), own.within.clone()),
        ("always()", Some(9..13))
    );
    assert_eq!(pipeline.steps[13].conditions[0].within, None);
}

#[test]
fn files_use_files_to_a_bounded_depth() {
    let load = |levels: usize| {
        move |path: &str| {
            let level: usize = path.trim_end_matches(".json").parse().unwrap();
            Ok(if level == levels {
                r#"{ "steps": [{ "name": "last", "run": "make" }] }"#.to_owned()
            } else {
                // Each twice: what a file comes to must not be read again and again.
                let next = level + 1;
                format!(
                    r#"{{ "steps": [{{ "name": "a", "uses": "{next}.json" }}, {{ "name": "b", "uses": "{next}.json" }}] }}"#
                )
            })
        }
    };
    let text = r#"{ "steps": [{ "include": "1.json" }] }"#;
    let pipeline = pipeline::parse(text, "dcd.json", &mut load(11)).unwrap();
    assert_eq!(pipeline.steps.len(), 1024);
    assert_eq!(pipeline.steps[1023].name.value, "b/b/b/b/b/b/b/b/b/b/last");
    let wrong = |levels| pipeline::parse(text, "dcd.json", &mut load(levels)).unwrap_err().diagnostics;
    assert_eq!(wrong(20)[0].message, "files use files more than 20 deep here");
    let wrong = wrong(19);
    assert_eq!((wrong.len(), wrong[0].message.as_str()), (1, "with this there are more than 100000 steps"));
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

#[test]
fn needs_and_reads_cost_no_more_than_they_are() {
    let mut state: u64 = 1;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let steps: Vec<_> = (0..10_000)
        .map(|n: usize| {
            // The file is in the reverse order of the needs.
            let needs: Vec<_> = (0..3).filter(|_| n > 0).map(|_| random(n)).collect();
            let mut needs: Vec<_> = needs.iter().map(|need| format!("s{need}")).collect();
            needs.sort();
            needs.dedup();
            let reads =
                needs.first().map_or("true".to_owned(), |need| format!("steps.{need}.outcome == 'success'"));
            json!({ "name": format!("s{n}"), "run": "make", "needs": needs, "if": reads })
        })
        .rev()
        .collect();
    let text = json!({ "steps": steps }).to_string();
    let start = Instant::now();
    let pipeline = parse(&text);
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    assert_eq!(graph(&pipeline).len(), 10_000);
    assert_eq!(pipeline.steps[0].name.value, "s0");
}
