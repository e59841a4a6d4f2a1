//! Collecting a build's facts, git and Docker at the same time.

use std::{path::Path, thread::JoinHandle};

use crate::{
    commands::load::Loaded,
    docker::{self, DockerFacts},
    facts::{Fact, Facts, Git, Plugin},
    git, host,
};

/// Facts on their way.
pub(super) struct Collecting {
    git: Option<JoinHandle<(Fact<Git>, Option<String>)>>,
    docker: Option<JoinHandle<DockerFacts>>,
}

/// Begins. What follows until [`Collecting::finish`] happens meanwhile.
pub(super) fn start(workspace: &Path) -> Collecting {
    let directory = workspace.to_owned();
    let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
    Collecting {
        git: spawn("git").spawn(move || git::collect_with_email(&directory)).ok(),
        docker: spawn("docker").spawn(docker_facts).ok(),
    }
}

impl Collecting {
    /// Everything.
    pub(super) fn finish(self, loaded: &Loaded, plugins: Vec<Plugin>) -> Facts {
        let no_thread = "the thread that looks for it could not run";
        let docker = self.docker.and_then(|thread| thread.join().ok());
        let docker = docker.unwrap_or_else(|| DockerFacts {
            docker: Fact::absent(no_thread),
            container: Fact::absent(no_thread),
            image: Fact::absent(no_thread),
        });
        let git = self.git.and_then(|thread| thread.join().ok());
        let (git, email) = git.unwrap_or_else(|| (Fact::absent(no_thread), None));
        Facts {
            user: host::user(email),
            host: host::host(),
            git,
            docker: docker.docker,
            container: docker.container,
            image: docker.image,
            dcd_version: env!("CARGO_PKG_VERSION").to_owned(),
            definition: Fact::Known(loaded.definition.clone()),
            plugins,
            ..Facts::default()
        }
    }
}

/// The engine, our container and its image.
pub(super) fn docker_facts() -> DockerFacts {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(docker::collect()),
        Err(error) => {
            let reason = format!("the engine could not be asked: {error}");
            DockerFacts {
                docker: Fact::absent(reason.clone()),
                container: Fact::absent(reason.clone()),
                image: Fact::absent(reason),
            }
        }
    }
}
