//! `dcd plugin install`, and what a run makes of what it left.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Output, Project, plugin_file};

/// A project with a plugin directory of its own, outside the workspace.
struct Image {
    project: Project,
}

impl Image {
    fn new() -> Self {
        let project = Project::new();
        let directory = project.outside().join("plugins");
        fs::create_dir(&directory).unwrap();
        let project = project.env("DCD_PLUGIN_PATH", directory.to_str().unwrap());
        Image { project }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.outside().join("plugins").join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.project.outside().join("plugins")).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// Changes a JSON file.
    fn edit(&self, name: &str, key: &str, value: Value) {
        let mut json = self.json(name);
        json[key] = value;
        fs::write(self.file(name), json.to_string()).unwrap();
    }

    fn install(&self, args: &[&str]) -> Output {
        let directory = self.project.outside().join("plugins");
        self.project.run(&[&["plugin", "install", "--dir", directory.to_str().unwrap()], args].concat())
    }

    /// Installs a plugin that the tests have, for nothing but itself.
    fn with(self, plugin: &str, args: &[&str]) -> Self {
        let file = plugin_file(plugin);
        self.install(&[&[file.to_str().unwrap()], args].concat()).expect(0);
        self
    }

    /// Runs a step of the fixture, with this block of the pipeline about it.
    fn step(&self, block: &Value, with: &Value) -> Output {
        let steps = json!([{ "name": "a", "uses": "fixture", "with": with }]);
        let pipeline = json!({ "plugins": { "fixture": block }, "steps": steps });
        self.project.write("dcd.json", format!("{pipeline:#}\n"));
        self.project.run(&["run"])
    }

    fn echo(&self) -> Output {
        self.step(&json!({}), &json!({ "do": "echo", "text": "hello" }))
    }
}

/// A plugin of the tests with some text in it replaced, as a file in the workspace.
fn patched(image: &Image, plugin: &str, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(plugin_file(plugin)).unwrap();
    let places: Vec<_> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "{plugin} has no {from}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    image.project.write("x.wasm", bytes);
}

#[test]
fn an_installed_plugin_is_loaded_as_it_is() {
    let image = Image::new();
    let file = plugin_file("fixture");
    let output = image.install(&[file.to_str().unwrap(), "--allow", "env=A", "--json"]);
    let said: Value = serde_json::from_slice(&output.expect(0).stdout).unwrap();
    assert_eq!(said[0]["name"], "fixture");
    assert_eq!(said[0]["lacking"], json!(["http", "tcp", "fs", "exec", "secrets"]));
    assert_eq!(image.files(), ["fixture.cwasm", "fixture.cwasm.json", "fixture.json", "fixture.wasm"]);
    let sidecar = image.json("fixture.cwasm.json");
    assert_eq!(sidecar["source_sha256"], said[0]["sha256"]);
    assert_eq!(sidecar["dcd"], env!("CARGO_PKG_VERSION"));
    assert_eq!(sidecar["target"], said[0]["target"]);
    assert_eq!(sidecar["manifest"]["api"], "dcd:plugin@0.1.0");
    assert!(sidecar["config_schema"].is_object() && sidecar["imports"].is_array());
    assert_eq!(image.json("fixture.json"), json!({ "sha256": said[0]["sha256"], "allow": { "env": ["A"] } }));
    let run = image.echo();
    assert!(run.expect(0).out.contains("hello"));
    assert_eq!(run.err, "", "nothing was compiled");
    let listed = image.project.json(&["plugin", "list", "--json"]);
    assert_eq!((&listed[0]["name"], &listed[0]["installed"]), (&json!("fixture"), &json!("fresh")));
}

#[test]
fn a_plain_copy_works_and_says_what_would_be_faster() {
    let image = Image::new();
    fs::copy(plugin_file("fixture"), image.file("fixture.wasm")).unwrap();
    let run = image.echo();
    assert!(run.expect(0).out.contains("hello"));
    insta::assert_snapshot!(run.err, @r#"hint: to compile fixture took [TOOK] of this start; `RUN ["/dcd", "plugin", "install", "--all"]` in the image's Dockerfile does it once"#);
    insta::assert_snapshot!(image.project.run(&["plugin", "list"]).expect(0).out, @"fixture [VERSION]  step-type  [ROOT]/plugins/fixture.wasm  not installed");
}

#[test]
fn what_is_stale_is_compiled_and_the_reason_said() {
    let image = Image::new().with("fixture", &[]);
    let why = |image: &Image| {
        let run = image.echo();
        assert!(run.expect(0).out.contains("hello"));
        let said = run.err.split_once("[TOOK]: ").unwrap_or_else(|| panic!("{}", run.err)).1.to_owned();
        let listed = image.project.json(&["plugin", "list", "--json"]);
        assert_eq!(listed[0]["installed"], "stale");
        image.install(&["--all"]).expect(0);
        said
    };
    image.edit("fixture.cwasm.json", "dcd", json!("0.0.9"));
    insta::assert_snapshot!(why(&image), @"it was compiled by dcd 0.0.9, and this is [VERSION]; `dcd plugin install --dir [ROOT]/plugins [ROOT]/plugins/fixture.wasm` mends that");
    image.install(&["--all", "--target", "arm64"]).expect(0);
    assert!(why(&image).starts_with("it was compiled for aarch64-unknown-linux-musl, and this dcd is for "));
    fs::remove_file(image.file("fixture.cwasm")).unwrap();
    assert!(why(&image).starts_with("fixture.cwasm cannot be read: "));
    fs::write(image.file("fixture.cwasm.json"), "{").unwrap();
    assert!(why(&image).starts_with("fixture.cwasm.json cannot be read: "));
    fs::remove_file(image.file("fixture.cwasm.json")).unwrap();
    assert!(why(&image).starts_with("fixture.cwasm.json cannot be read: "));
    fs::remove_file(image.file("fixture.json")).unwrap();
    image.edit("fixture.cwasm.json", "source_blake3", json!("0".repeat(64)));
    assert!(why(&image).starts_with("fixture.wasm is not the file that it was compiled from; "));
}

#[test]
fn what_was_tampered_with_is_not_loaded() {
    let image = Image::new().with("fixture", &[]);
    let mut code = fs::read(image.file("fixture.cwasm")).unwrap();
    let last = code.len() - 1;
    code[last] ^= 1;
    fs::write(image.file("fixture.cwasm"), code).unwrap();
    let run = image.echo();
    assert_eq!(run.expect(2).out, "", "nothing ran");
    assert!(run.err.contains("is not the file that was installed: it has the digest"), "{}", run.err);
    assert!(run.err.contains("find out who changed it; `dcd plugin install"), "{}", run.err);
    image.install(&["--all"]).expect(0);
    assert_eq!(image.echo().expect(0).err, "");
}

#[test]
fn a_pin_is_of_the_file_itself() {
    let image = Image::new().with("fixture", &[]);
    let with = json!({ "do": "echo", "text": "hello" });
    let pinned = |sha256: &Value| image.step(&json!({ "sha256": sha256 }), &with);
    let own = image.json("fixture.cwasm.json")["source_sha256"].clone();
    assert!(pinned(&own).expect(0).out.contains("hello"));
    let said = json!("0".repeat(64));
    image.edit("fixture.cwasm.json", "source_sha256", said.clone());
    fs::remove_file(image.file("fixture.json")).unwrap();
    let run = pinned(&said);
    assert_eq!(run.expect(2).out, "", "nothing ran");
    assert!(run.err.contains("is not the file that `sha256` pins: it has the digest"), "{}", run.err);
}

#[test]
fn nothing_compiled_is_taken_from_the_workspace() {
    let image = Image::new();
    let project = image.project.env("DCD_PLUGIN_PATH", "plugins");
    let file = plugin_file("fixture");
    project
        .run(&["plugin", "install", "--dir", "plugins", file.to_str().unwrap(), "--allow", "fs=."])
        .expect(0);
    project.write("plugins/fixture.cwasm", "native code");
    let image = Image { project };
    let path = image.project.path().join("dcd.json");
    let run = image.step(&json!({}), &json!({ "do": "read_file", "path": path }));
    assert!(run.expect(3).out.contains("is granted none"), "nor are grants: {}", run.out);
    assert_eq!(run.err, "");
}

#[test]
fn another_api_is_refused() {
    let image = Image::new();
    patched(&image, "fixture", "\"api\":\"dcd:plugin@0.1.0\"", "\"api\":\"dcd:plugin@0.9.0\"");
    insta::assert_snapshot!(image.install(&["x.wasm"]).expect(2).err, @r"
    error: plugin fixture ([ROOT]/shop/x.wasm) was built for the plugin API dcd:plugin@0.9.0; this dcd [VERSION] speaks dcd:plugin@0.1.*
    help: rebuild it with dcd-plugin-sdk 0.1, or use a dcd that speaks its API
    ");
    assert!(image.files().is_empty());
}

#[test]
fn an_import_that_no_grant_covers_is_refused() {
    let image = Image::new();
    patched(&image, "http", "\"kind\":\"http\"", "\"kind\":\"gone\"");
    insta::assert_snapshot!(image.install(&["x.wasm"]).expect(2).err, @r"
    error: plugin http imports wasi:http/outgoing-handler@0.2.12, but does not ask for `http` in its manifest: no grant can allow it
    help: its author has to declare what it needs, or to leave the import out
    ");
    assert!(image.files().is_empty());
}

#[test]
fn an_import_that_dcd_does_not_have_is_refused() {
    let image = Image::new();
    patched(&image, "fixture-history", "wasi:cli/exit@0.2.12", "wasi:cli/quit@0.2.12");
    let refused = image.install(&["x.wasm"]);
    assert!(
        refused.expect(2).err.contains("plugin fixture-history imports what dcd does not have"),
        "{}",
        refused.err
    );
    assert!(image.files().is_empty());
}

#[test]
fn an_architecture_that_dcd_does_not_compile_for_is_refused() {
    let image = Image::new();
    let file = plugin_file("fixture-history");
    insta::assert_snapshot!(image.install(&[file.to_str().unwrap(), "--target", "riscv64"]).expect(2).err, @r"
    error: cannot compile for riscv64
    help: dcd compiles for x86_64-unknown-linux-musl, aarch64-unknown-linux-musl, x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu; `amd64` and `arm64` stand for the first two
    ");
}

#[test]
fn what_is_locked_has_something_of_what_it_asks_for() {
    let image = Image::new();
    let file = plugin_file("http");
    let file = file.to_str().unwrap();
    let refused = image.install(&[file, "--locked"]);
    assert!(refused.expect(2).err.contains("--locked --allow http=https://HOST"), "{}", refused.err);
    assert!(image.files().is_empty());
    image.install(&[file, "--locked", "--allow", "http=https://a.example"]).expect(0);
    assert_eq!(image.json("http.json")["locked"], true);
    let pipeline = |origin: &str| {
        format!(
            "{{\n  \"plugins\": {{ \"http\": {{ \"allow\": {{ \"http\": [\"{origin}\"] }} }} }},\n  \"steps\": [{{ \"name\": \"a\", \"uses\": \"http\", \"with\": {{ \"url\": \"https://a.example\" }} }}]\n}}\n"
        )
    };
    image.project.write("dcd.json", pipeline("https://a.example"));
    image.project.run(&["validate"]).expect(0);
    image.project.write("dcd.json", pipeline("https://b.example"));
    insta::assert_snapshot!(image.project.run(&["run"]).expect(2).err, @r#"
     x the image does not grant the plugin `http` https://b.example, and its file [ROOT]/
     | plugins/http.json is locked: no pipeline adds to it
      ,-[dcd.json:2:46]
    1 | {
    2 |   "plugins": { "http": { "allow": { "http": ["https://b.example"] } } },
      :                                              ^^^^^^^^^^^^^^^^^^^
    3 |   "steps": [{ "name": "a", "uses": "http", "with": { "url": "https://a.example" } }]
      `----
     help: remove it here, or have it added to the image's file
    "#);
}

#[test]
fn the_image_and_the_pipeline_grant_together() {
    let image = Image::new().with("fixture", &["--allow", "fs=a", "--allow", "env=A_*"]);
    image.project.write("a/x", "from a\n");
    image.project.write("b/x", "from b\n");
    let read = |path: &str| json!({ "do": "read_file", "path": image.project.path().join(path) });
    let run = image.step(&json!({}), &read("a/x"));
    assert!(run.expect(0).out.contains("from a"), "{}", run.out);
    image.step(&json!({}), &read("b/x")).expect(3);
    let run = image.step(&json!({ "allow": { "fs": ["b"] } }), &read("b/x"));
    assert!(run.expect(0).out.contains("from b"), "{}", run.out);
    let plugin = image.project.show("latest")["facts"]["plugins"][0].clone();
    let directory = |name: &str| format!("{} (ro)", image.project.path().join(name).display());
    assert_eq!(plugin["grants"]["fs"], json!([directory("a"), directory("b")]));
    assert_eq!(plugin["image_grants"], json!({ "env": ["A_*"], "fs": [directory("a")] }));
    let page = image.project.run(&["plugin", "inspect", "fixture"]);
    assert!(page.expect(0).out.contains("shop/a (ro) (by the image), [ROOT]/shop/b (ro)"), "{}", page.out);
}

#[test]
fn a_limit_of_the_image_is_the_most_that_there_is() {
    let image = Image::new().with("fixture", &[]);
    image.edit("fixture.json", "limits", json!({ "memory": "64MiB" }));
    let echo = json!({ "do": "echo", "text": "hello" });
    image.step(&json!({ "limits": { "memory": "32MiB" } }), &echo).expect(0);
    let run = image.step(&json!({ "limits": { "memory": "128MiB" } }), &echo);
    assert!(run.expect(2).err.contains("`memory` is more than the image lets the plugin use"), "{}", run.err);
}

#[test]
fn grants_are_kept_and_belong_to_one_file() {
    let image = Image::new().with("fixture", &["--allow", "env=A"]);
    let file = plugin_file("fixture");
    let file = file.to_str().unwrap();
    image.install(&[file, "--allow", "fs=a:rw", "--allow", "env=A"]).expect(0);
    let allow = json!({ "env": ["A"], "fs": [{ "path": "a", "access": "rw" }] });
    assert_eq!(image.json("fixture.json")["allow"], allow);
    let directory = image.project.outside().join("plugins");
    let directory = directory.to_str().unwrap();
    image.project.run(&["plugin", "allow", "--dir", directory, "fixture", "exec=helm"]).expect(0);
    assert_eq!(image.json("fixture.json")["allow"]["exec"], json!(["helm"]));
    let wrong = image.project.run(&["plugin", "allow", "--dir", directory, "fixture", "http=a.example"]);
    insta::assert_snapshot!(wrong.expect(2).err, @r#"
    error: `http=a.example` cannot be granted: the `http` grant has no scheme
    help: write "https://a.example"
    "#);

    image.project.write("a/x", "");
    image.edit("fixture.json", "sha256", json!("0".repeat(64)));
    let run = image.echo();
    assert!(run.expect(2).err.contains("fixture.json is for a plugin with the digest"), "{}", run.err);
    let refused = image.install(&[file]);
    assert!(refused.expect(2).err.contains("install --update"), "{}", refused.err);
    image.install(&[file, "--update"]).expect(0);
    image.echo().expect(0);
    assert_eq!(image.json("fixture.json")["allow"]["env"], json!(["A"]));
}

#[test]
fn all_of_a_directory() {
    let image = Image::new();
    assert!(image.install(&["--all"]).expect(2).err.contains("there is no .wasm file in"));
    for plugin in ["http", "fixture-history"] {
        let name = plugin_file(plugin).file_name().unwrap().to_str().unwrap().to_owned();
        fs::copy(plugin_file(plugin), image.file(&name)).unwrap();
    }
    let ambiguous = image.install(&["--all", "--allow", "http=https://a.example"]);
    insta::assert_snapshot!(ambiguous.expect(2).err, @r"
    error: --allow http=https://a.example does not say which of the plugins it is for
    help: write --allow PLUGIN:http=https://a.example; the plugins are fixture-history, http
    ");
    image.install(&["--all", "--allow", "http:http=https://a.example"]).expect(0);
    assert!(image.files().contains(&"fixture_history.cwasm".to_owned()), "{:?}", image.files());
    assert_eq!(image.json("http.json")["allow"], json!({ "http": ["https://a.example"] }));
    fs::write(image.file("broken.wasm"), "x").unwrap();
    assert!(image.install(&["--all"]).expect(2).err.contains("broken.wasm is not a plugin"));
}

#[test]
fn without_a_plugin_nothing_of_it_is_started() {
    let threads = "cat /proc/$PPID/task/*/comm";
    let project = Project::new().scripts(&[threads]);
    let out = project.run(&["run"]).expect(0).out.clone();
    assert!(out.contains("dcd") && !out.contains("plugin"), "{out}");
    let image = Image::new().with("fixture", &[]);
    let steps = json!([{ "name": "a", "run": threads }, { "name": "b", "uses": "fixture", "with": { "do": "echo", "text": "" } }]);
    image.project.write("dcd.json", json!({ "steps": steps }).to_string());
    let out = image.project.run(&["run"]).expect(0).out.clone();
    assert!(out.contains("plugin-clock"), "so the test sees it where it is: {out}");
}
