//! What a build would record: the repository, the engine, the container and the image.

use std::path::Path;

use super::{Check, State};
use crate::{
    commands::collect,
    docker::DockerFacts,
    facts::{Fact, Verification},
    git,
};

pub(super) fn git(workspace: &Path) -> Check {
    let git = match git::collect(workspace) {
        Fact::Known(git) => git,
        Fact::Absent(reason) => {
            return Check::warning("git", reason)
                .help("without a repository, a build does not record what it was of");
        }
        Fact::NotAsked => return Check::warning("git", "it was not looked for"),
    };
    let branch = git.branch.known().map_or_else(|| "no branch".to_owned(), Clone::clone);
    match &git.commit {
        Fact::Known(commit) => {
            let dirty = match git.dirty.known() {
                Some(true) => ", with changes that are not committed",
                Some(false) => "",
                None => ", and whether there are changes cannot be told",
            };
            Check::ok("git", format!("{} on {branch}{dirty}", commit.get(..12).unwrap_or(commit)))
        }
        Fact::Absent(reason) => {
            Check::warning("git", reason.clone()).help("commit, so that builds can say what they were of")
        }
        Fact::NotAsked => Check::ok("git", branch),
    }
}

/// The engine, our container and our image. Without them builds run, unless the pipeline requires them.
pub(super) fn docker(required: bool) -> Vec<Check> {
    let DockerFacts { docker, container, image } = collect::docker_facts();
    let bad = if required { State::Problem } else { State::Warning };
    let absent = |name, reason: &str| Check::new(name, bad, reason);
    let mut checks = Vec::new();
    let engine_reason = match &docker {
        Fact::Known(engine) => {
            let text =
                format!("engine {} at {}, API {}", engine.version, engine.endpoint, engine.api_version);
            checks.push(Check::ok("docker", text));
            None
        }
        Fact::Absent(reason) => {
            checks.push(absent("docker", reason));
            Some(reason.clone())
        }
        Fact::NotAsked => None,
    };
    let container_reason = match &container {
        Fact::Known(container) => {
            let id = container.id.get(..12).unwrap_or(&container.id);
            let check = match container.verified_by {
                Verification::UpperDir => {
                    Check::ok("container", format!("{id}, known by its root file system"))
                }
                Verification::RandomFile => {
                    Check::ok("container", format!("{id}, known by a file that was made in it"))
                }
                Verification::Unverified => {
                    Check::warning("container", format!("{id} is likely, but could not be proved")).help(
                        "let dcd write to /tmp in the container, or ask for more than GET of the engine",
                    )
                }
            };
            checks.push(check);
            None
        }
        Fact::Absent(reason) => Some(reason.clone()),
        Fact::NotAsked => None,
    };
    // The same reason is said once.
    if let Some(reason) = container_reason.filter(|reason| engine_reason.as_ref() != Some(reason)) {
        checks.push(absent("container", &reason));
    }
    if let Fact::Known(image) = &image {
        checks.push(match &image.digest {
            Fact::Known(digest) => Check::ok("image", digest.clone()),
            Fact::Absent(reason) => Check::warning("image", format!("{}: {reason}", image.reference)),
            Fact::NotAsked => Check::ok("image", image.reference.clone()),
        });
    }
    checks
}
