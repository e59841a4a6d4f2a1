//! `dcd init`

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::Project;

const FILES: [&str; 3] = ["Dockerfile", "dcd", "dcd.json"];

fn read(project: &Project, file: &str) -> String {
    fs::read_to_string(project.path().join(file)).unwrap()
}

#[test]
fn a_project_of_no_known_kind_gets_a_pipeline_that_explains_itself() {
    let project = Project::new();
    let init = project.run(&["init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    insta::assert_snapshot!(init.out, @r"
    wrote Dockerfile      your image: debian:12 and dcd
    wrote dcd             runs dcd in localhost/shop-dcd:latest
    wrote dcd.json        the pipeline, begun for no project of a kind that is known

    Next:
      1. Look through dcd.json and Dockerfile
      2. Run it:   ./dcd run   (builds the image the first time)
      3. Share it: set `image` in ./dcd to a name in your registry, build and push it, and commit the files
    ");
    let mode = fs::metadata(project.path().join("dcd")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
    let run = project.run(&["run"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("This is a placeholder"), "{}", run.out);
    // No mark of a template is left.
    assert!(FILES.iter().all(|file| !read(&project, file).contains("@IMAGE@")));
    for shell in ["sh", "bash"] {
        let check =
            std::process::Command::new(shell).arg("-n").arg(project.path().join("dcd")).output().unwrap();
        assert!(check.status.success() && check.stderr.is_empty(), "{check:?}");
    }
}

#[test]
fn nothing_is_written_over() {
    let project =
        Project::new().file("dcd", "mine").file("dcd.json", "mine, too").file("Dockerfile", "FROM app");
    let init = project.run(&["init"]);
    assert_eq!(init.code, 0, "{}", init.err);
    assert!(init.out.starts_with("wrote dcd.Dockerfile"), "{}", init.out);
    assert_eq!(init.out.matches("was there already").count(), 2, "{}", init.out);
    assert_eq!(FILES.map(|file| read(&project, file)), ["FROM app", "mine", "mine, too"]);
    // What init itself has written is left, too, and is no other Dockerfile than ours.
    for project in [project, Project::new()] {
        project.run(&["init"]);
        let before = fs::read_dir(project.path()).unwrap().count();
        let again = project.run(&["init", "--base", "other"]);
        assert_eq!(again.out.matches("was there already").count(), 3, "{}", again.out);
        assert_eq!(fs::read_dir(project.path()).unwrap().count(), before);
    }
}

#[test]
fn names_are_taken_from_options_and_from_the_remote() {
    let project = Project::new().file("Cargo.toml", "").git();
    project.git_run(&["remote", "add", "origin", "git@github.com:Org/Shop.git"]);
    let dry = project.run(&["init", "--dry-run"]);
    assert!(dry.out.contains("would write dcd "), "{}", dry.out);
    assert!(!project.path().join("dcd").exists());
    project.run(&["init"]);
    assert!(
        read(&project, "dcd")
            .contains("image=${DCD_IMAGE:-ghcr.io/org/shop-dcd:latest}\ndockerfile=Dockerfile\n")
    );
    assert!(read(&project, "Dockerfile").contains("FROM rust:1\nRUN rustup component add clippy rustfmt"));
    let pipeline: Value = serde_json::from_str(&read(&project, "dcd.json")).unwrap();
    assert_eq!(pipeline["steps"][0], json!({ "name": "format", "run": "cargo fmt --all --check" }));

    let other = Project::new();
    other.run(&["init", "--image", "127.0.0.1:5000/a/b", "--base", "own:1", "--stock", "mirror/dcd:v1"]);
    assert!(read(&other, "dcd").contains("image=${DCD_IMAGE:-127.0.0.1:5000/a/b:latest}\n"));
    let dockerfile = read(&other, "Dockerfile");
    assert!(
        dockerfile.contains("ARG DCD_IMAGE=mirror/dcd:v1\n") && dockerfile.contains("FROM own:1\n"),
        "{dockerfile}"
    );

    let wrong = Project::new().run(&["init", "--image", "a b"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("--image a b is not the name of an image"), "{}", wrong.err);
}
