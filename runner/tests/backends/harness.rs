//! What the tests of every backend do with it.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{Project, installed};

/// A backend, and how it is opened, in a test and in a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    /// The plugin's name.
    pub(crate) plugin: &'static str,
    /// Its config.
    pub(crate) with: Value,
    /// What it is granted.
    pub(crate) allow: Value,
    /// As in a pipeline: where the values of secrets are.
    pub(crate) secrets: Value,
    /// Variables of the runner's environment.
    pub(crate) env: Vec<(String, String)>,
}

/// Where a server is, as `scripts/servers/SCRIPT` says it in this variable.
#[allow(dead_code, reason = "the backend without a server needs it not")]
pub(crate) fn server(variable: &str, script: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run eval \"$(scripts/servers/{script})\" first, or scripts/test")
    })
}

impl Backend {
    /// With neither secrets nor variables.
    pub(crate) fn new(plugin: &'static str, with: Value, allow: Value) -> Self {
        Backend { plugin, with, allow, secrets: json!({}), env: Vec::new() }
    }

    fn in_environment(&self, project: Project) -> Project {
        let project = project.env("DCD_PLUGIN_PATH", installed(self.plugin).to_str().unwrap());
        self.env.iter().fold(project, |project, (name, value)| project.env(name, value))
    }

    /// `dcd plugin test --json`, with these arguments more: the document and the exit code. Says on stderr how long each
    /// test took.
    pub(crate) fn test(&self, args: &[&str]) -> (Value, i32) {
        let config = json!({ "with": self.with, "allow": self.allow, "secrets": self.secrets });
        let project = self.in_environment(Project::new().file("backend.json", config.to_string()));
        let file = installed_file(self.plugin);
        let args = [&["plugin", "test", &file, "--config", "backend.json", "--json"], args].concat();
        let (stdout, code) = output(project.dcd(&args));
        let document: Value = serde_json::from_str(&stdout).unwrap();
        for test in document["tests"].as_array().unwrap() {
            eprintln!("{:>8} ms  {}  {}", test["duration_ms"], test["outcome"], test["name"]);
        }
        (document, code)
    }

    /// Fails unless all that is expected of a backend holds, and nothing was skipped.
    #[track_caller]
    pub(crate) fn keeps_the_contract(&self) {
        let (document, code) = self.test(&[]);
        let tests = document["tests"].as_array().unwrap();
        let bad: Vec<_> = tests.iter().filter(|test| test["outcome"] != "passed").collect();
        assert!(code == 0 && bad.is_empty(), "{}: {bad:#?}", self.plugin);
        assert!(tests.len() > 40, "only {} tests", tests.len());
    }

    /// A workspace of a machine, whose builds are kept there. It is a repository, with all its files committed.
    pub(crate) fn project(&self, component: &str, steps: &Value) -> Project {
        let history = json!({ "uses": self.plugin, "with": self.with });
        let plugins = json!({ self.plugin: { "allow": self.allow } });
        let pipeline = json!({
            "component": component, "secrets": self.secrets, "history": history, "plugins": plugins, "steps": steps
        });
        self.in_environment(Project::new()).pipeline(pipeline).git()
    }

    /// A clone of it on another machine: with a home of its own, and nothing of the builds.
    pub(crate) fn clone_of(&self, project: &Project) -> Project {
        let clone = self.in_environment(Project::new());
        clone.git_run(&["clone", "--quiet", &project.path().display().to_string(), "."]);
        clone
    }

    /// Builds of two machines: each sees the other's as its own, and they share their numbers.
    pub(crate) fn is_shared_by_two_machines(&self, component: &str) {
        let steps = json!([
            { "name": "bytes", "run": "printf 'one\\377\\000\\033[1m\\n'" },
            { "name": "lines", "run": "seq 3000" },
            { "name": "fails", "run": "echo $DCD_BUILD_NUMBER; exit 3" },
        ]);
        let first = self.project(component, &steps);
        let second = self.clone_of(&first);
        assert_eq!(first.run(&["run"]).expect(1).err, "", "the first machine's build");
        let list = first.json(&["history", "list", "--json"]);
        same_but_for_times(list, second.json(&["history", "list", "--json"]));
        same_but_for_times(first.show("1"), second.show("1"));
        assert_eq!(second.logs(&["1", "bytes"]), b"one\xff\0\x1b[1m\n");
        assert_eq!(second.logs(&["1"]), first.logs(&["1"]));
        assert_eq!(second.run(&["history", "list", "--local"]).expect(0).out.matches(component).count(), 0);

        // At the same time.
        let runs: Vec<_> = (0..2).flat_map(|_| [first.spawn(&["run"]), second.spawn(&["run"])]).collect();
        for run in runs {
            assert_eq!(run.finish().expect(1).err, "");
        }
        for machine in [&first, &second] {
            let list = machine.json(&["history", "list", "--json"]);
            let mut numbers: Vec<_> =
                list.as_array().unwrap().iter().map(|build| build["number"].as_u64().unwrap()).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [1, 2, 3, 4, 5]);
            for number in 1..=5 {
                let number = number.to_string();
                assert_eq!(machine.logs(&[&number, "fails"]), format!("{number}\n").as_bytes());
            }
        }
        // What one leaves to the backend alone is still there.
        fs::remove_dir_all(first.path().join(".dcd")).unwrap();
        assert_eq!(first.logs(&["1"]), second.logs(&["1"]));
    }
}

/// The plugin's file there, which `dcd plugin test` takes.
pub(crate) fn installed_file(plugin: &str) -> String {
    installed(plugin).join(format!("{plugin}.wasm")).display().to_string()
}

/// A command's standard output and exit code.
fn output(mut command: Command) -> (String, i32) {
    let output = command.output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap_or(-1))
}

/// Two machines' documents about the same builds. Durations are by a clock that the other has not, and the end is there when
/// it was told.
#[track_caller]
fn same_but_for_times(here: Value, there: Value) {
    assert_eq!(without_times(here), without_times(there));
}

fn without_times(mut document: Value) -> Value {
    let builds = match &mut document {
        Value::Array(builds) => builds.as_mut_slice(),
        build => std::slice::from_mut(build),
    };
    for build in builds {
        for key in ["duration_ms", "finished_at"] {
            build.as_object_mut().unwrap().remove(key);
        }
    }
    document
}
