//! The engine, the container that the runner is in, and the image of that container.
//!
//! Which container is one's own is written nowhere in it for certain: with `--network container:OTHER`
//! even the files that the engine mounts are another's. So there are candidates (`candidates`), and
//! the engine is asked for proof (`identity`). Nothing here is an error: what is not known is absent,
//! with a sentence for people.

mod candidates;
mod client;
mod endpoint;
mod identity;
mod image;

#[cfg(test)]
mod fake;

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, MountPoint};

use crate::facts::{Container, Docker, Fact, Image, Mount};
use client::Engine;
use endpoint::Endpoint;
use identity::{Evidence, Own};

/// A build does not wait longer than this for an engine that does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerFacts {
    /// The engine.
    pub docker: Fact<Docker>,
    /// The container that the runner is in.
    pub container: Fact<Container>,
    /// The image of that container.
    pub image: Fact<Image>,
}

impl DockerFacts {
    fn absent(reason: &str) -> Self {
        Self { docker: Fact::absent(reason), container: Fact::absent(reason), image: Fact::absent(reason) }
    }
}

/// Asks the engine that `DOCKER_HOST` names, else the one behind `/var/run/docker.sock`.
///
/// Takes three seconds at most. Needs a Tokio runtime with IO and time; one thread is enough.
pub async fn collect() -> DockerFacts {
    let host = std::env::var("DOCKER_HOST").ok();
    let tls = std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
    match Endpoint::parse(host.as_deref(), tls) {
        Ok(endpoint) => collect_from(&endpoint, &Evidence::read(), PATIENCE).await,
        Err(reason) => DockerFacts::absent(&reason),
    }
}

async fn collect_from(endpoint: &Endpoint, evidence: &Evidence, patience: Duration) -> DockerFacts {
    // What was found out before time ran out is kept.
    let mut facts = DockerFacts::absent(&format!(
        "The engine at {endpoint} did not answer within {} s: see whether `docker version` does on its host.",
        patience.as_secs_f32()
    ));
    let _ = tokio::time::timeout(patience, fill(&mut facts, endpoint, evidence)).await;
    facts
}

async fn fill(facts: &mut DockerFacts, endpoint: &Endpoint, evidence: &Evidence) {
    let engine = match Engine::connect(endpoint).await {
        Ok(engine) => engine,
        Err(reason) => {
            *facts = DockerFacts::absent(&reason);
            return;
        }
    };
    let DockerFacts { docker, container, image } = facts;
    *docker = engine.describe().await;
    fill_container(container, image, &engine, evidence).await;
}

async fn fill_container(
    container: &mut Fact<Container>,
    image: &mut Fact<Image>,
    engine: &Engine,
    evidence: &Evidence,
) {
    let Own { container: inspected, verified_by } = match identity::find(engine, evidence).await {
        Ok(own) => own,
        Err(reason) => {
            *container = Fact::Absent(reason.clone());
            *image = Fact::Absent(reason);
            return;
        }
    };
    let reference = inspected.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default();
    let image_id = inspected.image.clone();
    *container = Fact::Known(describe(inspected, verified_by));
    *image = image::find(engine, image_id, reference).await;
}

fn describe(container: ContainerInspectResponse, verified_by: crate::facts::Verification) -> Container {
    let config = container.config.unwrap_or_default();
    Container {
        id: container.id.unwrap_or_default(),
        name: container.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        hostname: config.hostname.unwrap_or_default(),
        mounts: container.mounts.unwrap_or_default().into_iter().map(mount).collect(),
        verified_by,
    }
}

fn mount(point: MountPoint) -> Mount {
    Mount {
        kind: point.typ.unwrap_or_default(),
        source: point.source.unwrap_or_default(),
        destination: point.destination.unwrap_or_default(),
        writable: point.rw.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests;
