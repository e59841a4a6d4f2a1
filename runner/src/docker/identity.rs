//! Which of the engine's containers this is, with proof.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{ContainerArchiveInfoOptionsBuilder, ListContainersOptionsBuilder};

use super::candidates;
use super::client::Engine;
use crate::facts::Verification;

/// What a process sees of the container that it is in.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Ids, the most likely first; the last may be a short one.
    candidates: Vec<String>,
    /// The upper directory of our root, as the engine's host has it.
    upper: Option<String>,
    /// Whether an engine has left a sign that this is a container.
    signs: bool,
    /// Whether the root is an overlay, which it may be outside of containers too.
    overlay: bool,
    /// Where files may be made for the engine to find.
    places: Vec<PathBuf>,
}

impl Evidence {
    /// Of this process. `/proc/self`, as with `--pid host` process 1 is the host's.
    pub(super) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists());
        let places = ["/", "/tmp", "/var/tmp"].map(PathBuf::from).to_vec();
        Self::of(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), &host_name, marked, places)
    }

    /// From the texts; `marked` is whether an engine has left its mark in the root directory.
    pub(super) fn of(
        cgroup: &str,
        mountinfo: &str,
        host_name: &str,
        marked: bool,
        places: Vec<PathBuf>,
    ) -> Self {
        let mut all = candidates::from_cgroup(cgroup);
        all.extend(candidates::from_mountinfo(mountinfo));
        let signs = marked || !all.is_empty();
        // `uname -n`, never $HOSTNAME, which `-e` sets to anything.
        all.extend(candidates::from_hostname(host_name));
        let mut distinct: Vec<String> = Vec::new();
        for id in all {
            if !distinct.iter().any(|known| known.starts_with(&id)) {
                distinct.push(id);
            }
        }
        Self {
            candidates: distinct,
            upper: candidates::upper_directory(mountinfo),
            signs,
            overlay: candidates::root_type(mountinfo) == Some("overlay"),
            places,
        }
    }
}

const OUTSIDE: &str =
    "The runner is not running in a container: start it with `docker run` of the team's image.";

/// Our own container, as the engine describes it.
pub(super) struct Own {
    /// The description.
    pub container: ContainerInspectResponse,
    /// How that was proved.
    pub verified_by: Verification,
}

/// Finds our own container. The error is a sentence for people.
pub(super) async fn find(engine: &Engine, evidence: &Evidence) -> Result<Own, String> {
    // What the engine knows of the candidates, as far as none of them was proved to be us.
    let mut known = Vec::new();
    for id in &evidence.candidates {
        let Some(container) = inspect(engine, id).await? else { continue };
        if has_upper(&container, evidence) {
            return Ok(Own { container, verified_by: Verification::UpperDir });
        }
        known.push(container);
    }
    if !evidence.signs && !evidence.overlay && known.is_empty() {
        return Err(OUTSIDE.to_owned());
    }
    if evidence.upper.is_some() {
        known.retain(|container| upper_of(container).is_none());
    }
    let mut file = RandomFile::make(if evidence.signs { &evidence.places } else { &[] });
    for container in &known {
        if has_file(engine, &mut file, container.id.as_deref().unwrap_or_default()).await {
            return Ok(Own { container: container.clone(), verified_by: Verification::RandomFile });
        }
    }
    if let Some(own) = among_others(engine, evidence, &known, &mut file).await? {
        return Ok(own);
    }
    if file.is_some() {
        // Each of them was asked for the file, and has it not.
        known.clear();
    }
    match known.into_iter().next() {
        Some(container) => Ok(Own { container, verified_by: Verification::Unverified }),
        None if !evidence.signs => Err(OUTSIDE.to_owned()),
        None => Err(format!(
            "The engine at {} does not know this container: mount the socket of the engine that runs it, \
             if this is another engine's.",
            engine.endpoint
        )),
    }
}

/// Tries every container that is no candidate.
async fn among_others(
    engine: &Engine,
    evidence: &Evidence,
    known: &[ContainerInspectResponse],
    file: &mut Option<RandomFile>,
) -> Result<Option<Own>, String> {
    for id in others(engine, known).await? {
        if evidence.upper.is_some() {
            let Some(container) = inspect(engine, &id).await? else { continue };
            if has_upper(&container, evidence) {
                return Ok(Some(Own { container, verified_by: Verification::UpperDir }));
            }
            if upper_of(&container).is_some() {
                continue;
            }
        }
        if has_file(engine, file, &id).await
            && let Some(container) = inspect(engine, &id).await?
        {
            return Ok(Some(Own { container, verified_by: Verification::RandomFile }));
        }
    }
    Ok(None)
}

/// `None` when the engine has no such container.
async fn inspect(engine: &Engine, id: &str) -> Result<Option<ContainerInspectResponse>, String> {
    match engine.api.inspect_container(id, None).await {
        Ok(container) => Ok(Some(container)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(engine.explain("GET /containers/ID/json", &error)),
    }
}

fn upper_of(container: &ContainerInspectResponse) -> Option<&String> {
    container.graph_driver.as_ref()?.data.get("UpperDir").filter(|directory| !directory.is_empty())
}

fn has_upper(container: &ContainerInspectResponse, evidence: &Evidence) -> bool {
    evidence.upper.as_ref().is_some_and(|ours| upper_of(container) == Some(ours))
}

/// All other containers. Also those that do not run: a process that asks as soon as it starts finds
/// its own container listed as "created", and in the list of running ones not at all.
async fn others(engine: &Engine, known: &[ContainerInspectResponse]) -> Result<Vec<String>, String> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let list = engine.api.list_containers(Some(options)).await;
    let list = list.map_err(|error| engine.explain("GET /containers/json", &error))?;
    let ids = list.into_iter().filter_map(|container| container.id);
    Ok(ids.filter(|id| known.iter().all(|container| container.id.as_ref() != Some(id))).collect())
}

/// Whether the container has the file that nobody else has.
async fn has_file(engine: &Engine, file: &mut Option<RandomFile>, id: &str) -> bool {
    let Some(RandomFile(path)) = file else { return false };
    let options = ContainerArchiveInfoOptionsBuilder::default().path(&path.to_string_lossy()).build();
    match engine.api.get_container_archive_info(id, Some(options)).await {
        Ok(_) => true,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => false,
        Err(_) => {
            // A proxy may let nothing but GET pass: then a file proves nothing, and refutes nothing.
            *file = None;
            false
        }
    }
}

/// Removed when dropped, also when time runs out while the engine is asked.
struct RandomFile(PathBuf);

impl RandomFile {
    fn make(places: &[PathBuf]) -> Option<Self> {
        // A volume is the host's, and others may have it mounted too; a tmpfs the engine cannot see.
        let root = fs::metadata("/").ok()?.dev();
        let on_root = places.iter().filter(|place| fs::metadata(place).is_ok_and(|meta| meta.dev() == root));
        let name = format!(".dcd-identity-{:032x}", random()?);
        on_root.map(|place| place.join(&name)).find_map(|path| {
            fs::OpenOptions::new().write(true).create_new(true).open(&path).ok().map(|_| Self(path))
        })
    }
}

impl Drop for RandomFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn random() -> Option<u128> {
    let mut bytes = [0; 16];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
    (length == bytes.len()).then(|| u128::from_ne_bytes(bytes))
}
