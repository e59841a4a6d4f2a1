//! What kind of project a directory holds, and the pipeline and image that such a project begins with.

use std::{fs, path::Path};

use serde_json::Value;

/// How long a step may take that compiles or tests.
const LONG: &str = "30m";

/// What to begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// For people: `a Rust project (Cargo.toml)`.
    pub(super) what: String,
    /// The image with the project's tools.
    pub(super) base: String,
    /// Lines for the Dockerfile that add to that image.
    pub(super) tools: &'static str,
    /// The steps, in their order.
    pub(super) steps: Vec<FirstStep>,
}

/// A step of a first pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstStep {
    name: String,
    run: String,
    timeout: Option<&'static str>,
}

impl FirstStep {
    fn short(name: &str, run: impl Into<String>) -> Self {
        FirstStep { name: name.to_owned(), run: run.into(), timeout: None }
    }

    fn long(name: &str, run: impl Into<String>) -> Self {
        FirstStep { timeout: Some(LONG), ..Self::short(name, run) }
    }
}

/// Looks at the directory; the first file that tells counts.
pub(super) fn of(directory: &Path) -> Project {
    let has = |file: &str| directory.join(file).exists();
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    if has("Cargo.toml") {
        rust(has("Cargo.lock"))
    } else if has("package.json") {
        node(&read("package.json"), has("package-lock.json"), has("yarn.lock"), has("pnpm-lock.yaml"))
    } else if has("go.mod") {
        go()
    } else if has("pyproject.toml") || has("requirements.txt") {
        python(&read("pyproject.toml"), &read("requirements.txt"), has("requirements.txt"), has("tests"))
    } else if has("pom.xml") {
        maven(has("mvnw"))
    } else if has("build.gradle") || has("build.gradle.kts") {
        gradle(has("gradlew"))
    } else if has("Makefile") {
        make(&read("Makefile"))
    } else {
        placeholder()
    }
}

fn project(what: &str, base: &str, steps: Vec<FirstStep>) -> Project {
    Project { what: what.to_owned(), base: base.to_owned(), tools: "", steps }
}

fn rust(has_lock: bool) -> Project {
    let locked = if has_lock { " --locked" } else { "" };
    let steps = vec![
        FirstStep::short("format", "cargo fmt --all --check"),
        FirstStep::long("lint", format!("cargo clippy --workspace --all-targets{locked} -- -D warnings")),
        FirstStep::long("test", format!("cargo test --workspace{locked}")),
        FirstStep::long("build", format!("cargo build --workspace --release{locked}")),
    ];
    // Whoever runs the steps may let rustup add what rust-toolchain.toml asks for, as in the image itself.
    let tools = "RUN rustup component add clippy rustfmt && chmod -R a+w \"$RUSTUP_HOME\"";
    Project { tools, ..project("a Rust project (Cargo.toml)", "rust:1", steps) }
}

fn node(package: &str, npm_lock: bool, yarn: bool, pnpm: bool) -> Project {
    let package: Value = serde_json::from_str(package).unwrap_or_default();
    let (install, run) = match () {
        () if pnpm => ("corepack pnpm install --frozen-lockfile", "corepack pnpm run"),
        () if yarn => ("corepack yarn install --immutable", "corepack yarn run"),
        () if npm_lock => ("npm ci", "npm run"),
        () => ("npm install", "npm run"),
    };
    let mut steps = vec![FirstStep::long("install", install)];
    for script in ["lint", "test", "build"] {
        // What `npm init` writes is no test.
        let command = package["scripts"][script].as_str().filter(|text| !text.contains("no test specified"));
        if command.is_some() {
            steps.push(FirstStep::long(script, format!("{run} {script}")));
        }
    }
    project("a Node project (package.json)", "node:24", steps)
}

fn go() -> Project {
    let steps = vec![
        FirstStep::short("format", "test -z \"$(gofmt -l . | tee /dev/stderr)\""),
        FirstStep::long("lint", "go vet ./..."),
        FirstStep::long("test", "go test ./..."),
        FirstStep::long("build", "go build ./..."),
    ];
    project("a Go project (go.mod)", "golang:1", steps)
}

fn python(pyproject: &str, requirements: &str, has_requirements: bool, has_tests: bool) -> Project {
    // Not in the workspace, where yours may be.
    let venv = "python -m venv /tmp/venv\n/tmp/venv/bin/pip install --quiet";
    let what = if has_requirements { "-r requirements.txt" } else { "." };
    let pytest = has_tests || pyproject.contains("pytest") || requirements.contains("pytest");
    let (more, test) = if pytest {
        (" pytest", "/tmp/venv/bin/python -m pytest")
    } else {
        ("", "/tmp/venv/bin/python -m compileall -q .")
    };
    let steps = vec![
        FirstStep::long("install", format!("{venv} {what}{more}")),
        FirstStep::long(if pytest { "test" } else { "compile" }, test),
    ];
    let file = if pyproject.is_empty() { "requirements.txt" } else { "pyproject.toml" };
    project(&format!("a Python project ({file})"), "python:3", steps)
}

fn maven(wrapper: bool) -> Project {
    let (base, command) =
        if wrapper { ("eclipse-temurin:21", "./mvnw") } else { ("maven:3-eclipse-temurin-21", "mvn") };
    let steps = vec![FirstStep::long("verify", format!("{command} -B -ntp verify"))];
    project("a Maven project (pom.xml)", base, steps)
}

fn gradle(wrapper: bool) -> Project {
    let (base, command) =
        if wrapper { ("eclipse-temurin:21", "./gradlew") } else { ("gradle:8-jdk21", "gradle") };
    let steps = vec![FirstStep::long("build", format!("{command} --no-daemon build"))];
    project("a Gradle project (build.gradle)", base, steps)
}

fn make(makefile: &str) -> Project {
    // `name: …`, and neither a recipe nor `name := value`.
    let targets = makefile.lines().filter_map(|line| {
        let (names, rest) = line.split_once(':')?;
        (!line.starts_with(['\t', '#', '.']) && !rest.starts_with('=')).then_some(names)
    });
    let targets: Vec<_> = targets.flat_map(str::split_whitespace).collect();
    let target = |name: &&&str| targets.contains(*name);
    let mut steps: Vec<_> =
        ["lint"].iter().filter(target).map(|name| FirstStep::long(name, format!("make {name}"))).collect();
    steps.push(FirstStep::long("build", "make"));
    steps.extend(
        ["test", "check"].iter().find(target).map(|name| FirstStep::long("test", format!("make {name}"))),
    );
    let tools = "RUN apt-get update \\\n && apt-get install -y --no-install-recommends make gcc g++ libc6-dev git ca-certificates \\\n && rm -rf /var/lib/apt/lists/*";
    Project { tools, ..project("a project with make (Makefile)", "debian:12", steps) }
}

fn placeholder() -> Project {
    let script = "echo 'This is a placeholder: put the command that tests your project here, in dcd.json.'\n\
                  echo \"It would run as build $DCD_BUILD_NUMBER of $DCD_COMPONENT, in $DCD_WORKSPACE.\"";
    project("no project of a kind that is known", "debian:12", vec![FirstStep::short("hello", script)])
}

/// The pipeline file: a step a line.
pub(super) fn pipeline(project: &Project) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let step = |step: &FirstStep| {
        let timeout =
            step.timeout.map_or_else(String::new, |timeout| format!(", \"timeout\": {}", quoted(timeout)));
        format!("    {{ \"name\": {}, \"run\": {}{timeout} }}", quoted(&step.name), quoted(&step.run))
    };
    let steps: Vec<_> = project.steps.iter().map(step).collect();
    format!("{{\n  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn steps(files: &[(&str, &str)]) -> (String, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let project = of(directory.path());
        // What is proposed is a pipeline, whatever it is for.
        crate::pipeline::parse(&pipeline(&project), "dcd.json", &mut |_| Err(String::new())).unwrap();
        (project.base, project.steps.into_iter().map(|step| step.run).collect())
    }

    #[test]
    fn rust_is_locked_when_there_is_a_lock() {
        let (base, runs) = steps(&[("Cargo.toml", ""), ("Cargo.lock", ""), ("Makefile", "")]);
        assert_eq!(base, "rust:1");
        assert_eq!(runs[2], "cargo test --workspace --locked");
        assert_eq!(steps(&[("Cargo.toml", "")]).1[2], "cargo test --workspace");
    }

    #[test]
    fn node_has_the_scripts_that_are_there() {
        let package = r#"{"scripts": {"test": "node --test", "build": "tsc", "start": "node ."}}"#;
        let (base, runs) = steps(&[("package.json", package), ("package-lock.json", "{}")]);
        assert_eq!(base, "node:24");
        assert_eq!(runs, ["npm ci", "npm run test", "npm run build"]);
        let package = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
        assert_eq!(steps(&[("package.json", package)]).1, ["npm install"]);
        assert_eq!(
            steps(&[("package.json", "not JSON"), ("pnpm-lock.yaml", "")]).1,
            ["corepack pnpm install --frozen-lockfile"]
        );
    }

    #[test]
    fn make_has_the_targets_that_are_there() {
        let makefile = "CC := cc\nall lint: app\n.PHONY: test\napp: app.c\n\tcc x:y\ncheck: app\n\t./check\n";
        let (_, runs) = steps(&[("Makefile", makefile)]);
        assert_eq!(runs, ["make lint", "make", "make check"]);
        assert_eq!(steps(&[("Makefile", "x = a:b\n")]).1, ["make"]);
    }

    #[test]
    fn each_kind_has_a_base_of_its_own() {
        let base = |file| steps(&[(file, "")]).0;
        assert_eq!(
            ["go.mod", "requirements.txt", "pyproject.toml", "pom.xml", "build.gradle.kts"].map(base),
            ["golang:1", "python:3", "python:3", "maven:3-eclipse-temurin-21", "gradle:8-jdk21"]
        );
        assert_eq!(steps(&[("pom.xml", ""), ("mvnw", "")]).1, ["./mvnw -B -ntp verify"]);
        assert!(steps(&[]).1[0].contains("This is a placeholder"));
    }

    #[test]
    fn python_is_tested_with_pytest_where_that_is_used() {
        let (_, runs) = steps(&[("requirements.txt", "pytest==8\n")]);
        assert!(runs[0].ends_with("-r requirements.txt pytest"), "{runs:?}");
        assert_eq!(runs[1], "/tmp/venv/bin/python -m pytest");
        assert!(steps(&[("pyproject.toml", "[project]")]).1[1].contains("compileall"));
    }
}
