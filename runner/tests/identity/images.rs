//! The states that an image can be in.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{IMAGE, Run, docker, output, ready, skip, start, unique};

const REGISTRY: &str = "127.0.0.1:5000";

/// Names of images, taken away when the test ends.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    /// Builds an image that is like no other, under a name.
    fn build(&mut self, name: &str) -> String {
        let label = unique("build");
        let mut build = Command::new("docker")
            .args(["build", "-q", "-t", name, "-"])
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("FROM {IMAGE}\nLABEL dcd.test={label}\n");
        build.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = build.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.0.push(name.to_owned());
        output(&["image", "inspect", "-f", "{{.Id}}", name])
    }

    fn push_as(&mut self, from: &str, name: &str) {
        if from != name {
            output(&["tag", from, name]);
            self.0.push(name.to_owned());
        }
        output(&["push", "-q", name]);
    }

    fn forget(&mut self, name: &str) {
        output(&["rmi", name]);
        self.0.retain(|known| known != name);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            docker(&["rmi", name]);
        }
    }
}

fn registry() -> bool {
    if !ready() {
        return false;
    }
    if std::net::TcpStream::connect(REGISTRY).is_err() {
        return skip(&format!("no registry answers at {REGISTRY} (scripts/docker/docker-up starts one)"));
    }
    true
}

fn digests(image: &str) -> Vec<String> {
    serde_json::from_str(&output(&["image", "inspect", "-f", "{{json .RepoDigests}}", image])).unwrap()
}

fn image_facts(reference: &str) -> Value {
    Run::new().image(reference).expect("upper_dir").facts["image"].clone()
}

#[test]
fn built_here() {
    if !ready() {
        return;
    }
    let mut names = Names::default();
    let name = format!("{}:1", unique("local"));
    names.build(&name);
    let facts = image_facts(&name);
    assert!(facts["digest"]["absent"].as_str().unwrap().starts_with("The image was not pushed"), "{facts}");
    assert_eq!(facts["repo_digests"], serde_json::json!([]));
    assert_eq!(facts["tags"], serde_json::json!([name]));
    assert_eq!(facts["platform"], output(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", &name]));
    assert_eq!(
        facts["created"],
        output(&["image", "inspect", "-f", "{{json .Created}}", &name]).trim_matches('"')
    );
    assert!(facts["labels"]["dcd.test"].is_string(), "{facts}");
}

#[test]
fn pushed_to_two_repositories() {
    if !registry() {
        return;
    }
    let mut names = Names::default();
    let (demo, other) = (format!("{REGISTRY}/{}", unique("demo")), format!("{REGISTRY}/{}", unique("other")));
    let local = unique("local");
    let id = names.build(&local);
    names.push_as(&local, &format!("{demo}:latest"));
    let own = |repository: &str| {
        digests(&id).into_iter().find(|entry| entry.starts_with(&format!("{repository}@")))
    };
    assert_eq!(image_facts(&format!("{demo}:latest"))["digest"], own(&demo).unwrap());
    names.push_as(&local, &format!("{other}:1"));
    assert_eq!(image_facts(&format!("{demo}:latest"))["digest"], own(&demo).unwrap());
    let facts = image_facts(&format!("{other}:1"));
    assert_eq!(facts["digest"], own(&other).unwrap());
    assert_eq!(facts["repo_digests"].as_array().unwrap().len(), 2);
    // By id, long and short, and by a name that was not pushed.
    let mut both = digests(&id);
    both.sort();
    for typed in [id.as_str(), &id["sha256:".len()..][..12]] {
        assert_eq!(image_facts(typed)["digest"], both[0], "{typed}");
    }
    let facts = image_facts(&local);
    assert!(facts["digest"]["absent"].as_str().unwrap().contains("was not pushed as"), "{facts}");
    names.0.extend(both);
}

#[test]
fn a_tag_that_has_moved() {
    if !registry() {
        return;
    }
    let mut names = Names::default();
    let demo = format!("{REGISTRY}/{}", unique("demo"));
    let latest = format!("{demo}:latest");
    let old = names.build(&latest);
    names.push_as(&latest, &latest);
    let digest = digests(&old).remove(0);
    let container = Run::new().image(&latest).create();
    let new = names.build(&latest);
    assert_ne!(old, new);
    let report = start(container);
    report.assert_own("upper_dir");
    let facts = &report.facts["image"];
    assert_eq!(facts["id"], old);
    assert_eq!(facts["tags"], serde_json::json!([]));
    assert_eq!(facts["digest"], digest);
    let facts = image_facts(&latest);
    assert_eq!(facts["id"], new);
    assert!(facts["digest"]["absent"].is_string(), "{facts}");
    names.0.push(digest);
}

#[test]
fn pulled_and_started_by_digest() {
    if !registry() {
        return;
    }
    let mut names = Names::default();
    let demo = format!("{REGISTRY}/{}", unique("demo"));
    let latest = format!("{demo}:latest");
    let id = names.build(&latest);
    names.push_as(&latest, &latest);
    let digest = digests(&id).remove(0);
    let tagged = digest.replacen('@', ":latest@", 1);
    assert_eq!(image_facts(&tagged)["digest"], digest);
    names.forget(&latest);
    docker(&["rmi", &digest]);
    output(&["pull", "-q", &digest]);
    names.0.push(digest.clone());
    let facts = image_facts(&digest);
    assert_eq!((&facts["digest"], &facts["reference"]), (&digest.clone().into(), &digest.clone().into()));
    assert_eq!(facts["tags"], serde_json::json!([]));
    // The name goes while a container has the image; what it was started with is still true.
    let container = Run::new().image(&digest).create();
    output(&["tag", &id, &unique("kept")]);
    output(&["rmi", &digest]);
    let report = start(container);
    assert_eq!(report.facts["image"]["digest"], digest);
    let kept = report.facts["image"]["tags"][0].as_str().unwrap().to_owned();
    names.0.push(kept);
}
