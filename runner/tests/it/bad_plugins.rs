//! What people are told when a plugin is not what the pipeline needs.

use std::fs;

use serde_json::json;

use crate::support::{Project, plugin_file};

/// `plugins/x.wasm` holds these bytes, and a step uses it as `fixture`.
fn with_file(bytes: &[u8]) -> Project {
    let text = r#"{
  "plugins": { "fixture": { "path": "plugins/x.wasm" } },
  "steps": [
    { "name": "a", "uses": "fixture", "with": { "do": "fail" } }
  ]
}
"#;
    Project::new().file("plugins/x.wasm", bytes).file("dcd.json", text)
}

fn told(project: &Project) -> String {
    let run = project.run(&["run"]);
    assert_eq!(run.expect(2).out, "", "nothing ran");
    assert!(!project.path().join(".dcd").exists(), "nothing is kept");
    assert_eq!(project.run(&["validate"]).expect(2).err, run.err, "it is the same without running");
    run.err
}

#[test]
fn missing() {
    let steps = json!({ "steps": [{ "name": "a", "uses": "deploy" }] });
    insta::assert_snapshot!(told(&Project::new().pipeline(steps)), @r#"
     x there is no plugin `deploy` in /dcd-plugins
      ,-[dcd.json:5:15]
    4 |       "name": "a",
    5 |       "uses": "deploy"
      :               ^^^^^^^^
    6 |     }
      `----
     help: add it to the image (`COPY deploy.wasm /dcd-plugins/`), or say where it is: "plugins":
           {"deploy": {"path": "….wasm"}}
    "#);
}

#[test]
fn misspelt() {
    let project = Project::new();
    let directory = project.outside().join("shared");
    fs::create_dir(&directory).unwrap();
    fs::copy(plugin_file("fixture"), directory.join("fixture.wasm")).unwrap();
    let project = project.env("DCD_PLUGIN_PATH", directory.to_str().unwrap());
    let project = project.file("dcd.json", "{\"steps\": [{\"name\": \"a\", \"uses\": \"fixtrue\"}]}\n");
    insta::assert_snapshot!(told(&project), @r#"
     x there is no plugin `fixtrue` in [ROOT]/shared or /dcd-plugins
      ,-[dcd.json:1:34]
    1 | {"steps": [{"name": "a", "uses": "fixtrue"}]}
      :                                  ^^^^^^^^^
    2 | 
      `----
     help: did you mean `fixture`?
    "#);
}

#[test]
fn missing_at_its_path() {
    let project = with_file(b"");
    fs::remove_file(project.path().join("plugins/x.wasm")).unwrap();
    insta::assert_snapshot!(told(&project), @r#"
     x there is no file [ROOT]/shop/plugins/x.wasm
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: check the path; a relative one starts at the workspace
    "#);
}

#[test]
fn a_text() {
    insta::assert_snapshot!(told(&with_file(b"#!/bin/sh\necho hello\n")), @r#"
     x [ROOT]/shop/plugins/x.wasm is not a plugin: it is not a WebAssembly component
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that
           comes out
    "#);
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!(told(&with_file(b"")), @r#"
     x [ROOT]/shop/plugins/x.wasm is not a plugin: it is not a WebAssembly component
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that
           comes out
    "#);
}

#[test]
fn a_directory() {
    let project = with_file(b"");
    fs::remove_file(project.path().join("plugins/x.wasm")).unwrap();
    fs::create_dir(project.path().join("plugins/x.wasm")).unwrap();
    insta::assert_snapshot!(told(&project), @r#"
     x [ROOT]/shop/plugins/x.wasm is a directory
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: name the plugin's .wasm file in it
    "#);
}

#[test]
fn a_core_module() {
    insta::assert_snapshot!(told(&with_file(b"\0asm\x01\0\0\0")), @r#"
     x [ROOT]/shop/plugins/x.wasm is not a plugin: it is a core WebAssembly module, not a
     | component
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that
           comes out
    "#);
}

#[test]
fn a_component_without_a_manifest() {
    insta::assert_snapshot!(told(&with_file(b"\0asm\x0d\0\x01\0")), @r#"
     x [ROOT]/shop/plugins/x.wasm is a component, but not a dcd plugin: it has no
     | `dcd:manifest` section
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: export it with `export_step!` or `export_history!` of the dcd-plugin-sdk crate
    "#);
}

#[test]
fn cut_short() {
    let bytes = fs::read(plugin_file("fixture")).unwrap();
    insta::assert_snapshot!(told(&with_file(&bytes[..bytes.len() / 2])), @r#"
     x [ROOT]/shop/plugins/x.wasm is not a plugin: its bytes are damaged (unexpected end-of-
     | file (at offset [OFFSET]))
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: build it for `wasm32-wasip2` with the dcd-plugin-sdk crate, and name the .wasm file that
           comes out
    "#);
}

/// The fixture with some bytes of its manifest, which is text, replaced by as many others.
fn patched(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(plugin_file("fixture")).unwrap();
    let places: Vec<_> =
        bytes.windows(from.len()).enumerate().filter(|(_, at)| *at == from.as_bytes()).collect();
    assert!(!places.is_empty(), "the fixture has no {from}");
    let places: Vec<_> = places.into_iter().map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn built_for_another_api_version() {
    let bytes = patched("\"api\":\"dcd:plugin@0.1.0\"", "\"api\":\"dcd:plugin@0.9.0\"");
    insta::assert_snapshot!(told(&with_file(&bytes)), @r#"
     x plugin fixture ([ROOT]/shop/plugins/x.wasm) was built for the plugin API
     | dcd:plugin@0.9.0; this dcd [VERSION] speaks dcd:plugin@0.1.*
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: rebuild it with dcd-plugin-sdk 0.1, or use a dcd that speaks its API
    "#);
}

#[test]
fn with_a_manifest_that_is_no_json() {
    insta::assert_snapshot!(told(&with_file(&patched("{\"api\":\"dcd:", "[\"api\":\"dcd:"))), @r#"
     x [ROOT]/shop/plugins/x.wasm has a manifest that cannot be read: expected `,` or `]` at
     | line 1 column 7
      ,-[dcd.json:2:37]
    1 | {
    2 |   "plugins": { "fixture": { "path": "plugins/x.wasm" } },
      :                                     ^^^^^^^^^^^^^^^^
    3 |   "steps": [
      `----
     help: rebuild it with the dcd-plugin-sdk crate of this dcd's version
    "#);
}

#[test]
fn of_another_name() {
    let project = with_file(&fs::read(plugin_file("http")).unwrap());
    insta::assert_snapshot!(told(&project), @r#"
     x [ROOT]/shop/plugins/x.wasm is the plugin `http`, not `fixture`
      ,-[dcd.json:4:28]
    3 |   "steps": [
    4 |     { "name": "a", "uses": "fixture", "with": { "do": "fail" } }
      :                            ^^^^^^^^^
    5 |   ]
      `----
     help: use it by its own name: `http`
    "#);
}

#[test]
fn not_the_file_that_is_pinned() {
    let project = Project::new().plugin("fixture");
    let text = format!(
        "{{\n  \"plugins\": {{\n    \"fixture\": {{\n      \"path\": \"fixture.wasm\",\n      \"sha256\": \"{}\"\n    }}\n  }},\n  \"steps\": [{{ \"name\": \"a\", \"uses\": \"fixture\" }}]\n}}\n",
        "0123456789abcdef".repeat(4)
    );
    insta::assert_snapshot!(told(&project.file("dcd.json", text)), @r#"
     x [ROOT]/shop/fixture.wasm is not the file that `sha256` pins: it has the digest
     | [SHA]
      ,-[dcd.json:5:17]
    4 |       "path": "fixture.wasm",
    5 |       "sha256": "[SHA]"
      :                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    6 |     }
      `----
     help: if the new file is meant, write its digest here; if not, find out who changed it
    "#);
}

#[test]
fn a_backend_as_a_step_and_a_step_as_a_backend() {
    let project = Project::new().plugin("fixture").plugin("fixture-history");
    let text = r#"{
  "plugins": { "fixture": { "path": "fixture.wasm" }, "fixture-history": { "path": "fixture-history.wasm" } },
  "history": { "uses": "fixture" },
  "steps": [{ "name": "a", "uses": "fixture-history" }]
}
"#;
    insta::assert_snapshot!(told(&project.file("dcd.json", text)), @r#"
      x plugin fixture is a step-type, and `history` needs a history-backend
       ,-[dcd.json:3:24]
     2 |   "plugins": { "fixture": { "path": "fixture.wasm" }, "fixture-history": { "path": "fixtu...
     3 |   "history": { "uses": "fixture" },
       :                        ^^^^^^^^^
     4 |   "steps": [{ "name": "a", "uses": "fixture-history" }]
       `----
      help: `dcd plugin list` shows which plugins there are, and what each is for

      x plugin fixture-history is a history-backend, and a step's `uses` needs a step-type
       ,-[dcd.json:4:36]
     3 |   "history": { "uses": "fixture" },
     4 |   "steps": [{ "name": "a", "uses": "fixture-history" }]
       :                                    ^^^^^^^^^^^^^^^^^
     5 | }
       `----
      help: `dcd plugin list` shows which plugins there are, and what each is for

    2 errors in dcd.json
    "#);
}

#[test]
fn configs_of_variants_that_fail_the_schema() {
    let text = r#"{
  "plugins": { "fixture": { "path": "fixture.wasm" } },
  "steps": [
    { "name": "unknown", "uses": "fixture", "with": { "do": "read_file", "pathh": "x" } },
    { "name": "variant", "uses": "fixture", "with": { "do": "recurs" } },
    { "name": "no variant", "uses": "fixture" }
  ]
}
"#;
    insta::assert_snapshot!(told(&Project::new().plugin("fixture").file("dcd.json", text)), @r#"
      x `pathh` is not a setting of plugin fixture
       ,-[dcd.json:4:74]
     3 |   "steps": [
     4 | ...   { "name": "unknown", "uses": "fixture", "with": { "do": "read_file", "pathh": "x" } },
       :                                                                            ^^^^^^^
     5 |     { "name": "variant", "uses": "fixture", "with": { "do": "recurs" } },
       `----
      help: did you mean `path`?

      x `do` of plugin fixture is "recurs", which it cannot be
       ,-[dcd.json:5:61]
     4 |     { "name": "unknown", "uses": "fixture", "with": { "do": "read_file", "pathh": "x" } }...
     5 |     { "name": "variant", "uses": "fixture", "with": { "do": "recurs" } },
       :                                                             ^^^^^^^^
     6 |     { "name": "no variant", "uses": "fixture" }
       `----
      help: did you mean `recurse`?

      x `do` is missing in the settings of plugin fixture
       ,-[dcd.json:6:37]
     5 |     { "name": "variant", "uses": "fixture", "with": { "do": "recurs" } },
     6 |     { "name": "no variant", "uses": "fixture" }
       :                                     ^^^^^^^^^
     7 |   ]
       `----
      help: it is one of `trap`, `panic`, `loop`, `flood`, `allocate`, `exit`, `sleep`, `read_file`,
            `write_file`, `get`, `post`, `connect`, `resolve`, `listen`, `datagram`, `env`, `env_all`,
            `secret`, `command`, `wait_for_stop`, `long_output`, `use`, `garbage_output`, `echo`,
            `fail`, `stderr`, `recurse`, `recurse_deep`, `log`

    3 errors in dcd.json
    "#);
}

#[test]
fn configs_that_fail_the_schema() {
    let text = r#"{
  "plugins": { "http": { "path": "http.wasm" }, "fixture-history": { "path": "fixture-history.wasm" } },
  "history": { "uses": "fixture-history", "with": { "fail": "opne", "kin": "trap" } },
  "steps": [
    { "name": "type", "uses": "http", "with": { "url": 7, "headers": { "accept": true } } },
    { "name": "missing", "uses": "http", "with": { "retries": -1 } },
    { "name": "form", "uses": "http", "with": { "url": "http://a", "expect_status": "3x" } }
  ]
}
"#;
    let project = Project::new().plugin("http").plugin("fixture-history");
    insta::assert_snapshot!(told(&project.file("dcd.json", text)), @r#"
      x `fail` of plugin fixture-history is "opne", which it cannot be
       ,-[dcd.json:3:61]
     2 |   "plugins": { "http": { "path": "http.wasm" }, "fixture-history": { "path": "fixture-his...
     3 |   "history": { "uses": "fixture-history", "with": { "fail": "opne", "kin": "trap" } },
       :                                                             ^^^^^^
     4 |   "steps": [
       `----
      help: did you mean `open`?

      x `kin` is not a setting of plugin fixture-history
       ,-[dcd.json:3:69]
     2 |   "plugins": { "http": { "path": "http.wasm" }, "fixture-history": { "path": "fixture-his...
     3 |   "history": { "uses": "fixture-history", "with": { "fail": "opne", "kin": "trap" } },
       :                                                                     ^^^^^
     4 |   "steps": [
       `----
      help: did you mean `kind`?

      x `url` of plugin http must be a string, and is a number
       ,-[dcd.json:5:56]
     4 |   "steps": [
     5 | ... { "name": "type", "uses": "http", "with": { "url": 7, "headers": { "accept": true } } },
       :                                                        ^
     6 |     { "name": "missing", "uses": "http", "with": { "retries": -1 } },
       `----
      help: `url`: Where to send it: an `http` or `https` URL. Its origin must be granted

      x `headers.accept` of plugin http must be a string or an object, and is `true`
       ,-[dcd.json:5:82]
     4 |   "steps": [
     5 | ... { "name": "type", "uses": "http", "with": { "url": 7, "headers": { "accept": true } } },
       :                                                                                  ^^^^
     6 |     { "name": "missing", "uses": "http", "with": { "retries": -1 } },
       `----
      help: `headers`: Headers to send: each a text, or a secret by its name: `{ "secret": "TOKEN",
            "prefix": "Bearer " }`. Their values are never printed

      x `url` is missing in the settings of plugin http
       ,-[dcd.json:6:50]
     5 |     { "name": "type", "uses": "http", "with": { "url": 7, "headers": { "accept": true } }...
     6 |     { "name": "missing", "uses": "http", "with": { "retries": -1 } },
       :                                                  ^^^^^^^^^^^^^^^^^
     7 |     { "name": "form", "uses": "http", "with": { "url": "http://a", "expect_status": "3x" ...
       `----
      help: it takes `auth`, `backoff`, `body`, `expect_status`, `file`, `form`, `headers`, `json`,
            `method`, `outputs`, `redirects`, `retries`, `retry_delay`, `save_to`, `timeout`, `url`

      x `retries` of plugin http must be at least 0, and is -1
       ,-[dcd.json:6:63]
     5 |     { "name": "type", "uses": "http", "with": { "url": 7, "headers": { "accept": true } }...
     6 |     { "name": "missing", "uses": "http", "with": { "retries": -1 } },
       :                                                               ^^
     7 |     { "name": "form", "uses": "http", "with": { "url": "http://a", "expect_status": "3x" ...
       `----
      help: `retries`: How often to try again after 408, 429, 502, 503, 504, or no answer at all.
            Default: 0

      x `expect_status` of plugin http must be a text of the form `^[1-5]xx$`, and is "3x"
       ,-[dcd.json:7:85]
     6 |     { "name": "missing", "uses": "http", "with": { "retries": -1 } },
     7 | ... { "name": "form", "uses": "http", "with": { "url": "http://a", "expect_status": "3x" } }
       :                                                                                     ^^^^
     8 |   ]
       `----
      help: `expect_status`: Which statuses are a success: one such as 204, a class such as "2xx", or
            a list of these. Default: "2xx"

    7 errors in dcd.json
    "#);
}

#[test]
fn configs_that_the_plugin_itself_refuses() {
    let text = r#"{
  "plugins": { "http": { "path": "http.wasm" } },
  "steps": [
    {
      "name": "a", "uses": "http",
      "with": { "url": "example.com", "body": "a", "json": 1, "retry_delay": "5", "headers": { "Host": "x" } }
    }
  ]
}
"#;
    insta::assert_snapshot!(told(&Project::new().plugin("http").file("dcd.json", text)), @r#"
      x `url` of plugin http: the URL must start with http:// or https://
       ,-[dcd.json:6:24]
     5 |       "name": "a", "uses": "http",
     6 |       "with": { "url": "example.com", "body": "a", "json": 1, "retry_delay": "5", "header...
       :                        ^^^^^^^^^^^^^
     7 |     }
       `----

      x `json` of plugin http: a request has one body: give one of `body`, `json`, `form` and `file`
       ,-[dcd.json:6:60]
     5 |       "name": "a", "uses": "http",
     6 | ...: "example.com", "body": "a", "json": 1, "retry_delay": "5", "headers": { "Host": "x" } }
       :                                          ^
     7 |     }
       `----

      x `retry_delay` of plugin http: "5" is not a duration: write it like "2s", "[TOOK]" or "1m30s"
       ,-[dcd.json:6:78]
     5 |       "name": "a", "uses": "http",
     6 | ...: "example.com", "body": "a", "json": 1, "retry_delay": "5", "headers": { "Host": "x" } }
       :                                                            ^^^
     7 |     }
       `----

      x `headers.Host` of plugin http: the header `Host` is set by the client and cannot be given
       ,-[dcd.json:6:104]
     5 |       "name": "a", "uses": "http",
     6 | ...: "example.com", "body": "a", "json": 1, "retry_delay": "5", "headers": { "Host": "x" } }
       :                                                                                      ^^^
     7 |     }
       `----

    4 errors in dcd.json
    "#);
}

#[test]
fn a_grant_of_what_is_not_there() {
    let project = Project::new().granted("fixture", &json!({ "fs": [{ "path": "dist", "access": "rw" }] }));
    let with = json!({ "do": "read_file", "path": "dist/x" });
    let steps = json!({ "steps": [{ "name": "a", "uses": "fixture", "with": with }] });
    let run = project.pipeline(steps).run(&["run"]);
    insta::assert_snapshot!(run.expect(3).out, @r#"
    shop #1  [ID]
      image   unknown: There is no Docker socket at [ROOT]/no.sock: run the container with -v [ROOT]/no.sock:[ROOT]/no.sock.
      commit  none: There is no git repository at or above [ROOT]/shop.
    > a
      the directory [ROOT]/shop/dist, which plugin fixture is granted, cannot be opened: No such file or directory (os error 2)
      help: create it, or mount it into the container at this path
    !! a  error, [TOOK]
    shop #1: error in [TOOK]: a
    See it again: dcd history show 1; its output: dcd history logs 1
    "#);
}
