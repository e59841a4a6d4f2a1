//! What a history backend is to the engine: `wit/history.wit` in Rust.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, Outcome, UnixMs},
    facts::{Fact, Facts},
};

/// A build to begin.
#[derive(Clone, Debug)]
pub struct NewBuild {
    /// What is built.
    pub component: String,
    /// The build's id. The same id always gets the same number.
    pub id: String,
    /// When it started.
    pub started_at: UnixMs,
    /// How long the lease holds without being renewed, in milliseconds.
    pub lease_ms: u32,
    /// For lists: what can be said of the build without its events.
    pub metadata: Metadata,
}

/// What a backend keeps beside a build's events, so that lists need not read those.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The pipeline's name.
    pub pipeline: String,
    /// HEAD's commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether the work tree differed from the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    /// The image's repository digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Who asked for the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Metadata {
    /// What the facts say.
    pub fn new(pipeline: &str, facts: &Facts) -> Self {
        let git = facts.git.known();
        let known = |fact: Option<&Fact<String>>| fact.and_then(Fact::known).cloned();
        Metadata {
            pipeline: pipeline.to_owned(),
            commit: known(git.map(|git| &git.commit)),
            branch: known(git.map(|git| &git.branch)),
            dirty: git.and_then(|git| git.dirty.known()).copied(),
            image_digest: known(facts.image.known().map(|image| &image.digest)),
            user: facts.user.known().map(|user| user.name.clone()),
        }
    }
}

/// The right to write a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The build's number.
    pub number: u64,
    /// Proves the right.
    pub lease: String,
    /// The first event that the backend lacks.
    pub next_seq: u64,
}

/// What became of written events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All are stored, now or earlier; this is the next.
    Stored(u64),
    /// Events are missing before them, from this one on.
    Gap(u64),
    /// Somebody else writes this build.
    Fenced,
}

/// A build as a backend lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its number.
    pub number: u64,
    /// What was built.
    pub component: String,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// When it started.
    pub started_at: UnixMs,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// In the past, while there is no outcome: the runner is lost.
    pub lease_expires_at: UnixMs,
    /// What was said of it when it began.
    pub metadata: Metadata,
}

/// Why a backend did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    /// What happened.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// It may go well another time.
    pub transient: bool,
}

/// Keeps builds centrally. Every call may be repeated.
pub trait Backend: Send {
    /// Its plugin's name.
    fn name(&self) -> &str;

    /// Gives the build its number, and the right to write it.
    fn begin(&mut self, build: &NewBuild) -> impl Future<Output = Result<Grant, BackendError>> + Send;

    /// Stores events, contiguous from the first one's number.
    fn append(
        &mut self,
        component: &str,
        grant: &Grant,
        events: Vec<Event>,
    ) -> impl Future<Output = Result<Written, BackendError>> + Send;

    /// Ends the build: `end` is the number of its events.
    fn finish(
        &mut self,
        component: &str,
        grant: &Grant,
        end: u64,
        outcome: Outcome,
        at: UnixMs,
    ) -> impl Future<Output = Result<Written, BackendError>> + Send;

    /// Keeps the lease for so many milliseconds more. `false`: it is lost.
    fn renew(
        &mut self,
        component: &str,
        grant: &Grant,
        lease_ms: u32,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send;

    /// The newest builds.
    fn list(
        &mut self,
        component: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Listed>, BackendError>> + Send;

    /// One build's events from `from` on, of one step or all, and where to go on; `None` at the end.
    fn read(
        &mut self,
        component: &str,
        number: u64,
        step: Option<&str>,
        from: u64,
    ) -> impl Future<Output = Result<(Vec<Event>, Option<u64>), BackendError>> + Send;
}
