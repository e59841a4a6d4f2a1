#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use super::fake::FakeEngine;
use super::*;
use crate::facts::Verification;

const OWN: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
const OTHER: &str = "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd";
const OVERLAY: &str = "1 0 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/data/own/diff,workdir=/w\n";
const VFS: &str = "1 0 254:0 / / rw - ext4 /dev/vda rw\n";

fn evidence(cgroup: &str, mountinfo: &str) -> Evidence {
    Evidence::of(cgroup, mountinfo, "host", true, vec![])
}

fn container(id: &str, upper: &str) -> (String, String) {
    let body = format!(
        r#"{{"Id":"{id}","Name":"/name","Image":"sha256:img","Config":{{"Hostname":"h","Image":"demo"}},
            "GraphDriver":{{"Name":"overlay2","Data":{upper}}},"Mounts":null}}"#
    );
    (format!("/containers/{id}/json"), body)
}

async fn ask(version: &'static str, answers: &[(String, String)], evidence: &Evidence) -> DockerFacts {
    let answers: Vec<(&str, &str)> =
        answers.iter().map(|(path, body)| (path.as_str(), body.as_str())).collect();
    let engine = FakeEngine::start(version, &answers);
    collect_from(&engine.endpoint(), evidence, Duration::from_secs(2)).await
}

fn list(ids: &[&str]) -> (String, String) {
    let entries: Vec<String> = ids.iter().map(|id| format!(r#"{{"Id":"{id}","State":"created"}}"#)).collect();
    ("/containers/json".to_owned(), format!("[{}]", entries.join(",")))
}

fn reason<T: std::fmt::Debug>(fact: &Fact<T>) -> &str {
    match fact {
        Fact::Absent(reason) => reason,
        other => panic!("expected a reason: {other:?}"),
    }
}

fn known<T: std::fmt::Debug>(fact: &Fact<T>) -> &T {
    match fact {
        Fact::Known(value) => value,
        other => panic!("expected a value: {other:?}"),
    }
}

#[tokio::test]
async fn each_engine_is_spoken_to_in_its_own_version() {
    for (version, spoken) in [("1.41", "1.41"), ("1.44", "1.44"), ("1.53", "1.53")] {
        let facts = ask(version, &[], &evidence("", VFS)).await;
        let docker = known(&facts.docker);
        assert_eq!((docker.api_version.as_str(), docker.version.as_str()), (spoken, "1.2.3"));
    }
}

#[tokio::test]
async fn nulls_of_the_containerd_store_are_taken() {
    let image = r#"{"Id":"sha256:img","RepoTags":null,"RepoDigests":null,"Created":null,"Config":null,
                    "Architecture":"arm64","Variant":"v8","Os":"linux","GraphDriver":null}"#;
    let answers =
        [container(OWN, "null"), list(&[OWN]), ("/images/sha256:img/json".to_owned(), image.to_owned())];
    let facts = ask("1.44", &answers, &evidence(&format!("0::/docker/{OWN}"), OVERLAY)).await;
    let container = known(&facts.container);
    assert_eq!((container.id.as_str(), container.name.as_str()), (OWN, "name"));
    // No upper directory to compare, and no place for a file.
    assert_eq!(container.verified_by, Verification::Unverified);
    let image = known(&facts.image);
    assert_eq!(image.platform, "linux/arm64/v8");
    assert!(reason(&image.digest).starts_with("The image was not pushed"));
    assert!(reason(&image.created).contains("does not say"));
}

#[tokio::test]
async fn a_candidate_that_is_refuted_is_not_taken() {
    let other = container(OTHER, r#"{"UpperDir":"/data/other/diff"}"#);
    let files = format!("{OVERLAY}2 1 254:0 /containers/{OTHER}/hosts /etc/hosts rw - ext4 /dev/vda rw\n");
    // --network container:OTHER in a private cgroup namespace: the only candidate is the wrong one.
    let own = container(OWN, r#"{"UpperDir":"/data/own/diff"}"#);
    let facts = ask("1.41", &[other.clone(), own, list(&[OTHER, OWN])], &evidence("0::/", &files)).await;
    assert_eq!(known(&facts.container).id, OWN);
    // On another engine's socket: there is no right one.
    let facts = ask("1.41", &[other, list(&[OTHER])], &evidence("0::/", &files)).await;
    assert!(reason(&facts.container).contains("does not know this container"), "{facts:?}");
}

#[tokio::test]
async fn outside_of_a_container() {
    let nothing = Evidence::of("0::/user.slice", VFS, "build-host", false, vec![]);
    let facts = ask("1.41", &[], &nothing).await;
    assert!(facts.docker.known().is_some());
    assert!(reason(&facts.container).starts_with("The runner is not running in a container"));
    assert_eq!(reason(&facts.image), reason(&facts.container));
}

#[tokio::test]
async fn what_the_engine_says_is_passed_on() {
    let facts = ask("1.41", &[("/containers/json".to_owned(), "{".to_owned())], &evidence("", VFS)).await;
    assert!(reason(&facts.container).contains("GET /containers/json"), "{facts:?}");
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let start = Instant::now();
    let facts = collect_from(&Endpoint::Unix(path), &evidence("", VFS), Duration::from_millis(100)).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(reason(&facts.docker).contains("did not answer within 0.1 s"), "{facts:?}");
}

#[tokio::test]
async fn sockets_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let ask = async |path: std::path::PathBuf| {
        let facts = collect_from(&Endpoint::Unix(path), &evidence("", VFS), Duration::from_secs(1)).await;
        assert_eq!(reason(&facts.docker), reason(&facts.image));
        reason(&facts.container).to_owned()
    };
    assert!(ask(dir.path().join("absent")).await.starts_with("There is no Docker socket at "));
    assert!(ask(dir.path().to_owned()).await.contains("is a directory, not a socket"));
    let dead = dir.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(ask(dead).await.starts_with("Nothing answers at the Docker socket "));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(ask(file).await.contains("is not a socket"));
    // Answers, but not as an engine does.
    let facts =
        collect_from(&Endpoint::Tcp("127.0.0.1:1".to_owned()), &evidence("", VFS), Duration::from_secs(1))
            .await;
    assert!(reason(&facts.docker).starts_with("Nothing listens at tcp://127.0.0.1:1"));
}
