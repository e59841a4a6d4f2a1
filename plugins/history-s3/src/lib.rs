//! A history backend that keeps builds in object storage: AWS S3, and what speaks like it.
//!
//! ```text
//! <prefix>/components/<component>               its highest number, and which of its builds are in segments
//!          runs/<component>/<run id>            which number a run has, or tries to have
//!          builds/<component>/<number>          a build's record; being there gives the number
//!          events/<component>/<number>/<chunk>  its events, compressed lines of JSON
//!          segments/<component>/<number>        the records of 500 builds, for lists
//!          locks/<name>                         the queue of a named lock
//!          .dcd/conditional-writes              there to be made again, which the store has to refuse
//! ```
//!
//! Any number of writers in any processes may share it: an object is made where there is none (`If-None-Match: *`), or put in
//! place of the version that was read (`If-Match`), and in no other way. A store that does not honour these conditions is
//! found out before the first write, and refused. All times are those of the store's clock.

mod answer;
mod backoff;
mod begin;
mod chunk;
mod config;
mod document;
mod index;
mod layout;
mod list;
mod lock;
mod prune;
mod read;
mod record;
mod segment;
mod settle;
mod store;
mod write;

use std::cell::RefCell;
use std::fmt;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, HistoryBackend, log};

use config::Place;
pub use config::{Config, Style};
use document::{Change, Version};
use prune::missing;
use record::Record;
use store::Store;
use write::{Append, Open};

/// The backend.
pub struct HistoryS3 {
    store: Store,
    /// The build that this instance writes.
    open: RefCell<Option<Open>>,
    read: RefCell<read::Last>,
}

impl fmt::Debug for HistoryS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoryS3({})", self.store.shown())
    }
}

impl HistoryBackend for HistoryS3 {
    const SUMMARY: &'static str = "Builds in S3-compatible object storage";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let place = Place::new(&config, variable)?;
        let credentials = config::credentials(&config, variable)?;
        let store = Store::new(place, credentials);
        Ok(Self { store, open: RefCell::new(None), read: RefCell::default() })
    }

    fn check(&self) -> Result<(), Error> {
        self.store.check()
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        let (grant, version) = begin::begin(&self.store, &build)?;
        self.open.replace(Some(Open::new(version)));
        Ok(grant)
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        let mut open = self.take_open(&build);
        let mut append = Append::new(&self.store, lease, first_seq, &events).after(open.as_mut());
        let (outcome, version) =
            self.update(&build, open.map(|open| open.version), |record| append.decide(record))?;
        self.open.replace(Some(append.open(version)));
        Ok(outcome)
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
        let known = self.take_open(&build).map(|open| open.version);
        let end = (status, at, summary.as_str());
        let finish = |record: &mut Record| write::finish(&self.store, record, lease, final_seq, end);
        let (outcome, version) = self.update(&build, known, finish)?;
        self.open.replace(Some(Open::new(version)));
        if matches!(outcome, WriteOutcome::Stored(_))
            && build.number.is_multiple_of(settle::STEP)
            && let Err(error) = settle::settle(&self.store, &build.component)
        {
            // The build is finished all the same; the next who comes by does it.
            log::debug("builds are not put into segments", &[("why", &error.to_string())]);
        }
        Ok(outcome)
    }

    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        let mut open = self.take_open(&build);
        let known = open.as_ref().map(|open| open.version.clone());
        let renew = |record: &mut Record| write::renew(&self.store, record, lease, ttl_ms);
        let (renewed, version) = self.update(&build, known, renew)?;
        match &mut open {
            Some(open) => open.version = version,
            None => open = Some(Open::new(version)),
        }
        self.open.replace(open);
        Ok(renewed)
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        Ok(self.record(&build)?.map(|record| record.build(self.store.now())))
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        list::builds(&self.store, &filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        let record = self.record(&build)?.ok_or_else(|| missing(&build))?;
        read::events(&self.store, &mut self.read.borrow_mut(), &record, step, from_seq, limit)
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        // What this instance knows of it is no longer so.
        drop(self.take_open(&build));
        prune::output(&self.store, &build)
    }

    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        lock::acquire(&self.store, name, ticket, owner, ttl_ms)
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        lock::renew(&self.store, name, ticket, ttl_ms)
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        lock::release(&self.store, name, ticket)
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        lock::all(&self.store)
    }
}

impl HistoryS3 {
    fn record(&self, build: &BuildId) -> Result<Option<Record>, Error> {
        let key = layout::build(&build.component, build.number);
        Ok(document::read(&self.store, &key)?.map(|version| version.document))
    }

    /// What this instance knows of a build that it writes.
    fn take_open(&self, build: &BuildId) -> Option<Open> {
        self.open.take().filter(|open| open.version.document.id() == *build)
    }

    fn update<T>(
        &self,
        build: &BuildId,
        known: Option<Version<Record>>,
        decide: impl FnMut(&mut Record) -> Result<Change<T>, Error>,
    ) -> Result<(T, Version<Record>), Error> {
        let key = layout::build(&build.component, build.number);
        document::update(&self.store, &key, known, None, decide)?.ok_or_else(|| missing(build))
    }
}

dcd_plugin_sdk::export_history!(
    HistoryS3,
    asks: {
        http: "to reach the object storage",
        secrets: "for AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
        env: "for AWS_REGION, AWS_ENDPOINT_URL and the like",
    }
);

#[cfg(test)]
mod tests;
