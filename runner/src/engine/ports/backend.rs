//! What a history backend is to the engine: `wit/history.wit` in Rust.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::{
    brief::Brief,
    event::{Outcome, Record, UnixMs},
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
    /// It has no outcome, and its lease has run out: the runner is lost.
    pub lost: bool,
    /// The first event that the backend lacks.
    pub next_seq: u64,
    /// What was said of it when it began.
    pub metadata: Metadata,
    /// What was said of it when it ended.
    pub brief: Option<Brief>,
    /// What its steps printed was dropped.
    pub pruned: bool,
}

/// Which builds are listed: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What was built.
    pub component: Option<String>,
    /// How it ended; empty = any. A lost build counts as one that runs.
    pub outcomes: Vec<Option<Outcome>>,
    /// Only builds that started later.
    pub started_after: Option<UnixMs>,
    /// Only builds that started earlier.
    pub started_before: Option<UnixMs>,
    /// Only builds whose [`Metadata`] has these texts at these keys.
    pub metadata: Vec<(&'static str, String)>,
}

/// A part of a list, and where the next one begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Newest first.
    pub builds: Vec<Listed>,
    /// `None` at the end.
    pub next: Option<String>,
}

/// A part of a build's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// In their order.
    pub records: Vec<Record>,
    /// Where to read on; `None` when the build is finished and read.
    pub next: Option<u64>,
}

/// A lock that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// In the order in which they asked. Who is first holds the lock.
    pub queue: Vec<LockPlace>,
    /// What the clock showed that gave the times in `queue`.
    pub as_of: UnixMs,
}

/// A place in the queue for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockPlace {
    /// Whose it is: unique.
    pub ticket: String,
    /// Who asks, for people.
    pub owner: String,
    /// When it came.
    pub since: UnixMs,
    /// Since when it holds the lock.
    pub held_since: Option<UnixMs>,
    /// When it drops out, unless it is renewed.
    pub expires_at: UnixMs,
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
    /// The backend does not have this operation.
    pub unsupported: bool,
}

/// What a backend answers.
pub type Answer<T> = Result<T, BackendError>;

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How many events it has.
    pub events: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: UnixMs,
    /// For lists and statistics.
    pub brief: Brief,
}

/// Keeps builds centrally. Every call may be repeated.
pub trait Backend: Send {
    /// Its plugin's name.
    fn name(&self) -> &str;

    /// Whether builds can be kept and read there.
    fn check(&mut self) -> impl Future<Output = Answer<()>> + Send;

    /// Gives the build its number, and the right to write it.
    fn begin(&mut self, build: &NewBuild) -> impl Future<Output = Answer<Grant>> + Send;

    /// Stores records, contiguous from the first one's number.
    fn append(
        &mut self,
        component: &str,
        grant: &Grant,
        records: Vec<Record>,
    ) -> impl Future<Output = Answer<Written>> + Send;

    /// Ends the build.
    fn finish(
        &mut self,
        component: &str,
        grant: &Grant,
        end: &End,
    ) -> impl Future<Output = Answer<Written>> + Send;

    /// Keeps the lease for so many milliseconds more. `false`: it is lost.
    fn renew(
        &mut self,
        component: &str,
        grant: &Grant,
        lease_ms: u32,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// One build's record.
    fn get(&mut self, component: &str, number: u64) -> impl Future<Output = Answer<Option<Listed>>> + Send;

    /// Builds, newest first: at most `limit`, from where an earlier page ended.
    fn list(
        &mut self,
        filter: &Filter,
        limit: usize,
        cursor: Option<String>,
    ) -> impl Future<Output = Answer<ListPage>> + Send;

    /// One build's records from `from` on, of one step or all.
    fn read(
        &mut self,
        component: &str,
        number: u64,
        step: Option<&str>,
        from: u64,
    ) -> impl Future<Output = Answer<RecordPage>> + Send;

    /// Drops what the steps of a build printed. Answers how many bytes.
    fn prune(&mut self, component: &str, number: u64) -> impl Future<Output = Answer<u64>> + Send;
}

/// Keeps locks centrally. Every call may be repeated.
pub trait Locks: Send {
    /// Takes a place in the queue, or keeps and renews the one that the ticket has.
    fn acquire(
        &mut self,
        name: &str,
        ticket: &str,
        owner: &str,
        ttl_ms: u32,
    ) -> impl Future<Output = Answer<Lock>> + Send;

    /// Renews a place. `None`: the ticket has none any more.
    fn renew_lock(
        &mut self,
        name: &str,
        ticket: &str,
        ttl_ms: u32,
    ) -> impl Future<Output = Answer<Option<Lock>>> + Send;

    /// Leaves the queue. Whether the ticket was in it.
    fn release(&mut self, name: &str, ticket: &str) -> impl Future<Output = Answer<bool>> + Send;

    /// All locks that are held, by name.
    fn locks(&mut self) -> impl Future<Output = Answer<Vec<Lock>>> + Send;
}
