//! A history backend that keeps builds in a directory, such as a drive that a team shares.
//!
//! It shows how small a backend can be, and what is kept is meant to be read by people:
//!
//! ```text
//! <path>/<component>/numbers/7                 made first: gives number 7 to a run, once and for all
//!                    runs/<run id>             which number a run has
//!                    7/build.json              the build's record
//!                    7/lease.json              who may write
//!                    7/events/<a>-<b>.jsonl    the events from sequence number a up to, not including, b
//! <path>/.locks/<name>/<version>.json          who waits for a lock
//! ```
//!
//! A component's name is written with `%XX` for everything but letters, digits, `-`, `_` and inner dots.
//!
//! Any number of writers in any processes may share the directory, as long as its file system has hard links
//! and atomic renames (local ones and NFS do). Files appear complete or not at all: each is written under
//! another name, synced, then linked or renamed. To remove old builds, delete their directories but keep
//! `numbers`, or numbers will be given again.
//!
//! Times that several runners have to agree on are the file system's: see [`clock`].
//!
//! One run is begun by one runner at a time; that a runner repeats `begin-build`, also after a crash, is
//! expected.

mod begin;
mod clock;
mod events;
mod files;
mod layout;
mod lease;
mod list;
mod locks;
mod record;

use std::path::PathBuf;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, Fault, Help, HistoryBackend};
use schemars::JsonSchema;
use serde::Deserialize;

use events::Events;
use layout::BuildDir;

/// Where builds are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory: an absolute path. It must exist and be granted for reading and writing.
    pub path: String,
}

/// The backend.
#[derive(Debug)]
pub struct HistoryDir {
    root: PathBuf,
}

impl HistoryBackend for HistoryDir {
    const SUMMARY: &'static str = "Builds in a directory, such as a shared drive";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        if !config.path.starts_with('/') {
            let message = format!("{:?} is not an absolute path", config.path);
            return Err(
                Error::invalid_config("/path", message).help("write the whole path, beginning with `/`")
            );
        }
        let root = PathBuf::from(&config.path);
        match std::fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => Ok(Self { root }),
            Ok(_) => Err(Error::invalid_config("/path", format!("{} is not a directory", config.path))),
            Err(error) => Err(not_granted(&config.path, &error)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        files::probe(&self.root).context(format!("{} cannot be written to", self.root.display()))
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        begin::begin(&self.root, &build)
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        let dir = self.existing(&build)?;
        if !lease::is_held(&dir, lease)? {
            return Ok(WriteOutcome::Fenced);
        }
        let stored = Events::open(&dir)?;
        if first_seq > stored.tail() {
            return Ok(WriteOutcome::Gap(stored.tail()));
        }
        let known = usize::try_from(stored.tail() - first_seq).unwrap_or(usize::MAX);
        let new = events.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Ok(WriteOutcome::Stored(stored.tail()));
        }
        if record::read(&dir)?.is_some_and(|record| record.is_finished()) {
            return Err(Error::other(format!("build {} is finished and takes no more events", build.number)));
        }
        stored.append(new).map(WriteOutcome::Stored)
    }

    fn finish_build(
        &self,
        build: BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
        summary: String,
    ) -> Result<WriteOutcome, Error> {
        let dir = self.existing(&build)?;
        if !lease::is_held(&dir, lease)? {
            return Ok(WriteOutcome::Fenced);
        }
        let tail = Events::open(&dir)?.tail();
        if final_seq != tail {
            return Ok(WriteOutcome::Gap(tail));
        }
        record::finish(&dir, status, at, &summary)?;
        Ok(WriteOutcome::Stored(tail))
    }

    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        lease::renew(&self.existing(&build)?, lease, ttl_ms)
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        record::build(&BuildDir::new(&self.root, &build.component, build.number), clock::now(&self.root)?)
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        list::list(&self.root, &filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        let dir = self.existing(&build)?;
        // Before the events: one that is finished by now gets no more of them.
        let is_finished = record::read(&dir)?.is_some_and(|record| record.is_finished());
        Events::open(&dir)?.read(step, from_seq, limit, is_finished)
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        let dir = self.existing(&build)?;
        let now = clock::now(&self.root)?;
        let is_alive = |build: Build| build.status == Status::Running && build.lease_expires_at > now;
        if record::build(&dir, now)?.is_some_and(is_alive) {
            return Err(Error::other(format!(
                "build {} is running: its output is still needed",
                build.number
            )));
        }
        let events = Events::open(&dir)?;
        let dropped = events.prune()?;
        record::mark_pruned(&dir, events.tail())?;
        Ok(dropped)
    }

    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        locks::acquire(&self.root, name, ticket, owner, ttl_ms)
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        locks::renew(&self.root, name, ticket, ttl_ms)
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        locks::release(&self.root, name, ticket)
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        locks::list(&self.root)
    }
}

impl HistoryDir {
    fn existing(&self, build: &BuildId) -> Result<BuildDir, Error> {
        let dir = BuildDir::new(&self.root, &build.component, build.number);
        if record::read(&dir)?.is_none() {
            return Err(Error::not_found(format!(
                "there is no build {} of {}",
                build.number, build.component
            )));
        }
        Ok(dir)
    }
}

/// The runner shows a plugin only what it is granted, so the two cases look alike from here.
fn not_granted(path: &str, error: &std::io::Error) -> Error {
    let grant = format!(
        "create the directory, and grant it in the plugin's entry of the pipeline's `plugins` block: \
         \"allow\": {{\"fs\": [{{\"path\": \"{path}\", \"access\": \"rw\"}}]}}"
    );
    let message = format!("the directory {path} does not exist or is not granted to this plugin ({error})");
    let fault = Fault::new(message).code("history-dir/no-directory").help(grant);
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Error::Denied(fault),
        _ => Error::NotFound(fault),
    }
}

dcd_plugin_sdk::export_history!(HistoryDir, asks: { fs: "to keep builds in the directory" });

#[cfg(test)]
mod tests;
