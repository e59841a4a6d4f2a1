//! What a build records about where it ran, and with what.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};

/// Something that is known, is absent for a reason, or was not asked for.
///
/// In JSON a known value is the value itself; the other two are `{"absent": "the reason"}` and
/// `{"not_asked": true}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// The value.
    Known(T),
    /// Why there is none: a sentence for people.
    Absent(String),
    /// Nobody looked.
    #[default]
    NotAsked,
}

impl<T> Fact<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Absent(_) | Fact::NotAsked => None,
        }
    }

    /// Absent, for this reason.
    pub fn absent(reason: impl Into<String>) -> Self {
        Fact::Absent(reason.into())
    }
}

impl<T: Serialize> Serialize for Fact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Fact::Known(value) => value.serialize(serializer),
            Fact::Absent(reason) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("absent", reason)?;
                map.end()
            }
            Fact::NotAsked => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("not_asked", &true)?;
                map.end()
            }
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Some(object) = value.as_object().filter(|object| object.len() == 1) {
            if let Some(reason) = object.get("absent").and_then(|v| v.as_str()) {
                return Ok(Fact::Absent(reason.to_owned()));
            }
            if object.contains_key("not_asked") {
                return Ok(Fact::NotAsked);
            }
        }
        T::deserialize(value).map(Fact::Known).map_err(serde::de::Error::custom)
    }
}

/// All that is collected before the first step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The commit, and what the work tree adds to it.
    pub git: Fact<Git>,
    /// The engine that the container runs under.
    pub docker: Fact<Docker>,
    /// The container that the runner is in.
    pub container: Fact<Container>,
    /// The image of that container.
    pub image: Fact<Image>,
    /// Who asked for the build.
    pub user: Fact<User>,
    /// The machine.
    pub host: Fact<Host>,
    /// The runner's version.
    pub dcd_version: String,
    /// The pipeline file.
    pub definition: Fact<Definition>,
    /// The plugins that the pipeline uses.
    pub plugins: Vec<Plugin>,
    /// The values of the pipeline's params.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The names of the secrets that its steps got, and never their values.
    pub secrets: Vec<String>,
}

/// The state of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// HEAD's commit, in hex.
    pub commit: Fact<String>,
    /// That commit's tree, in hex.
    pub tree: Fact<String>,
    /// Absent when HEAD is detached.
    pub branch: Fact<String>,
    /// The URL that the branch is fetched from, without credentials.
    pub remote: Fact<String>,
    /// The remote-tracking branch, as `origin/main`.
    pub upstream: Fact<String>,
    /// Commits that the upstream lacks.
    pub ahead: Fact<u64>,
    /// Commits that only the upstream has.
    pub behind: Fact<u64>,
    /// Whether the work tree or the index differs from the commit (files that git ignores do not count).
    pub dirty: Fact<bool>,
    /// SHA-256 over what differs; absent when nothing does. The format stands in `docs/facts.md`.
    pub diff_sha256: Fact<String>,
    /// The root of the work tree.
    pub root: String,
}

/// The Docker engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docker {
    /// Where it was asked: `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// The engine's version.
    pub version: String,
    /// The API version that was spoken.
    pub api_version: String,
}

/// The container that the runner is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// As the container has it.
    pub hostname: String,
    /// What is mounted in it.
    pub mounts: Vec<Mount>,
    /// How it was proved that this is the runner's own container.
    pub verified_by: Verification,
}

/// How a candidate was proved to be one's own container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// The engine's overlay upper directory is that of our root mount.
    UpperDir,
    /// A file with a random name that we made in our root is there for the engine.
    RandomFile,
    /// Nothing could prove it: the candidate is only likely.
    Unverified,
}

/// One mount of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `bind`, `volume`, ...
    pub kind: String,
    /// The path on the engine's host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// Whether it may be written to.
    pub writable: bool,
}

/// The image of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The image's id as the engine gives it, `sha256:...`.
    pub id: String,
    /// What the container was started with; its tag may have moved since.
    pub reference: String,
    /// The repository digest that matches the reference, `repo@sha256:...`; absent when it was never pushed.
    pub digest: Fact<String>,
    /// Every repository digest.
    pub repo_digests: Vec<String>,
    /// Every tag.
    pub tags: Vec<String>,
    /// When the image was built, RFC 3339.
    pub created: Fact<String>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// As `linux/amd64`.
    pub platform: String,
}

/// Who asked for the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name or mail address.
    pub name: String,
    /// Where that was read: `DCD_USER`, `git user.email` or `account`.
    pub source: String,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// As the runner sees it: the container's, in a container.
    pub name: String,
    /// The distribution, as `Debian GNU/Linux 12 (bookworm)`.
    pub os: Fact<String>,
    /// The kernel and its release, as `Linux 6.18.44`.
    pub kernel: String,
    /// As `x86_64`.
    pub architecture: String,
    /// The processor's name.
    pub cpu: Fact<String>,
    /// Processors that the runner may use.
    pub cpus: u64,
    /// Memory in all, in bytes.
    pub memory_bytes: Fact<u64>,
}

/// The pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Relative to the workspace, where it is inside.
    pub path: String,
    /// Of the file's bytes, in lower-case hex.
    pub sha256: String,
    /// The file's text.
    pub text: String,
    /// The files that it uses, directly or through others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<IncludedFile>,
}

/// A file that the pipeline file uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncludedFile {
    /// Relative to the workspace.
    pub path: String,
    /// Of the file's bytes, in lower-case hex.
    pub sha256: String,
    /// The file's text.
    pub text: String,
}

/// A plugin that the pipeline uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The manifest's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// `step-type` or `history-backend`.
    pub kind: String,
    /// The plugin API that it was built for, as `dcd:plugin@0.1.0`.
    pub api: String,
    /// The file that was loaded.
    pub path: String,
    /// Of that file, in lower-case hex.
    pub sha256: String,
    /// What it was granted, kind by kind (`http`, `fs`, ...).
    pub grants: BTreeMap<String, Vec<String>>,
    /// Those of them that the image grants it; the others are the pipeline's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_grants: BTreeMap<String, Vec<String>>,
}
