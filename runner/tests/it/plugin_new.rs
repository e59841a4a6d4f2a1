//! `dcd plugin new`: projects that build and pass their tests as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Output, Project};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Makes a project, tests and builds it; the component.
fn build(project: &Project, kind: &str, name: &str) -> PathBuf {
    let sdk = root().join("plugin-sdk").display().to_string();
    project.run(&["plugin", "new", kind, name, "--sdk", &sdk]).expect(0);
    let directory = project.path().join(name);
    // The versions that the plugins of this repository are built with: so nothing new is downloaded.
    fs::copy(root().join("plugins/Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let target = root().join("target/plugin-new");
    for command in [&["test"][..], &["wasm"]] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(command).current_dir(&directory);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_"))
        {
            if name != "CARGO_HOME" {
                cargo.env_remove(name);
            }
        }
        // The toolchain that runs these tests, whatever the project's file names.
        let toolchain = std::env::var_os("RUSTUP_TOOLCHAIN").unwrap_or_default();
        cargo
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTUP_TOOLCHAIN", toolchain)
            .env("RUSTFLAGS", "-D warnings");
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "cargo {command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    target.join(format!("wasm32-wasip2/release/{}.wasm", name.replace('-', "_")))
}

/// Runs dcd in the project's directory.
fn dcd(project: &Project, directory: &str, args: &str) -> Output {
    project.shell(&format!("cd {directory} && \"$DCD_BIN\" {args}"))
}

#[test]
fn a_step_type_builds_and_passes_its_tests_as_it_is() {
    let project = Project::new();
    let component = build(&project, "step", "count-lines");
    let output = dcd(&project, "count-lines", &format!("plugin test {}", component.display()));
    output.expect(0);
    assert!(output.out.ends_with("\ncount-lines [VERSION]: 4 passed\n"), "{}", output.out);
    // The pipeline that comes with it names the component where `cargo wasm` leaves it.
    let place = project.path().join("count-lines/target/wasm32-wasip2/release");
    fs::create_dir_all(&place).unwrap();
    fs::copy(&component, place.join("count_lines.wasm")).unwrap();
    let output = dcd(&project, "count-lines", "run");
    output.expect(0);
    assert!(output.out.contains("lines\n"), "{}", output.out);
}

#[test]
fn a_history_backend_builds_and_keeps_the_whole_contract_as_it_is() {
    let project = Project::new();
    let component = build(&project, "history", "keep_files");
    let mut test = project.dcd(&["plugin", "test", &component.display().to_string()]);
    // It takes longer than other commands may.
    let output = test.current_dir(project.path().join("keep_files")).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.ends_with(": 47 passed\n"), "{printed}");
}

#[test]
fn a_project_is_told_of_and_what_to_do_next() {
    let project = Project::new();
    let output = project.run(&["plugin", "new", "step", "deploy-helm", "--dir", "plugins/helm"]);
    output.expect(0);
    insta::assert_snapshot!(output.out, @r"
    A step type, deploy-helm, in plugins/helm:
    wrote Cargo.toml           the package, and how small it is built
    wrote .cargo/config.toml   the alias `cargo wasm`
    wrote rust-toolchain.toml  the target, for rustup
    wrote .gitignore           what git leaves out
    wrote Dockerfile           an image with the plugin
    wrote .dockerignore        what the image needs not
    wrote src/lib.rs           the plugin, and its native tests
    wrote tests/cases.json     cases for the component
    wrote dcd.json             a pipeline to try it with
    wrote README.md            what is where

    Next:
      1. cd plugins/helm && cargo test
      2. cargo wasm
      3. dcd plugin test target/wasm32-wasip2/release/deploy_helm.wasm
    ");
    let manifest = fs::read_to_string(project.path().join("plugins/helm/Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"deploy-helm\"") && manifest.contains("dcd-plugin-sdk = \"0.1\""));
    let entries = walkdir::WalkDir::new(project.path().join("plugins/helm")).into_iter();
    let left: Vec<_> = entries
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .filter(|text| {
            ["@NAME@", "@TYPE@", "@FILE@", "@SDK@", "@RUST@", "@STOCK@"]
                .iter()
                .any(|mark| text.contains(mark))
        })
        .collect();
    assert_eq!(left, [] as [String; 0]);
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let project = Project::new().file("greet/notes.txt", "mine");
    let output = project.run(&["plugin", "new", "step", "greet"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r"
    error: greet is there already, and is not empty
    help: choose another name, or another directory with --dir
    ");
    assert_eq!(fs::read_dir(project.path().join("greet")).unwrap().count(), 1);
    let output = project.run(&["plugin", "new", "step", "Greet"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r#"
    error: a plugin cannot be called `Greet`: it has the character `G`
    help: use lower-case letters, digits, - and _, as in "deploy-helm"
    "#);
    let output = project.run(&["plugin", "new", "step", "shell", "--sdk", "/no/such"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r#"
    error: a plugin cannot be called `shell`: the word means something else to Rust, Cargo or dcd
    help: use lower-case letters, digits, - and _, as in "deploy-helm"
    "#);
    let output = project.run(&["plugin", "new", "step", "ok", "--sdk", "/no/such"]);
    output.expect(2);
    insta::assert_snapshot!(output.err, @r"
    error: --sdk /no/such: No such file or directory (os error 2)
    help: name the directory of the crate dcd-plugin-sdk
    ");
    assert!(!project.path().join("ok").exists());
}
