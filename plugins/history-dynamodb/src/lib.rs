//! A history backend that keeps builds in a `DynamoDB` table.
//!
//! One table, with the keys `pk` and `sk`, both strings, and no index:
//!
//! ```text
//! pk                        sk                                 what
//! build#<component>         <number>                           a build's record: it gives the number to a run
//! run#<component>           <run id>                           after which number that run's build is to be looked for
//! start                     <started at>#<component>#<run id>  which number the build has: lists of all components
//! chunk#<component>#<n>     <first event>#<fence>              the head of a run of events, with them if they are few
//! data#<component>#<n>      <first event>#<id>#<part>          the events of a chunk, deflated
//! lock                      <name>                             the queue for a lock
//! ```
//!
//! There are no transactions, which cost twice as much and of which local servers know nothing: each step is one
//! conditional write that leaves the table right, whatever becomes of the next. Any number of writers may share it.
//!
//! Which time it is says the service: see [`clock`].

mod begin;
mod chunk;
mod fault;
mod item;
mod keys;
mod list;
mod locks;
mod pack;
mod probe;
mod prune;
mod queue;
mod read;
mod record;
mod request;
mod settings;
mod table;
mod write;

use std::cell::RefCell;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, HistoryBackend};

pub use settings::Config;
use settings::Settings;
use table::Table;
use write::Tail;

/// The backend.
#[derive(Debug)]
pub struct HistoryDynamodb {
    table: Table,
    /// Of the build that was written last.
    tail: RefCell<Option<Tail>>,
}

impl HistoryBackend for HistoryDynamodb {
    const SUMMARY: &'static str = "Builds in a DynamoDB table";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        let settings = Settings::new(config, settings::granted)?;
        let credentials = settings::credentials(settings::granted)?;
        Ok(Self { table: Table::new(settings, credentials), tail: RefCell::new(None) })
    }

    fn check(&self) -> Result<(), Error> {
        self.table.probe()
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        let grant = begin::begin(&self.table, &build)?;
        self.tail.replace(Some(Tail {
            build: grant.build.clone(),
            token: grant.lease.token.clone(),
            fence: grant.lease.fence,
            next: grant.next_seq,
        }));
        Ok(grant)
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        write::append(&self.table, &self.tail, &build, lease, first_seq, &events)
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
        write::finish(&self.table, &build, lease, final_seq, status, at, &summary)
    }

    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        write::renew(&self.table, &build, lease, ttl_ms)
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        Ok(record::find(&self.table, &build)?.map(|record| record.build))
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        list::list(&self.table, &filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        read::read(&self.table, &build, step, from_seq, limit)
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        prune::prune(&self.table, &build)
    }

    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        locks::acquire(&self.table, name, ticket, owner, ttl_ms)
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        locks::renew(&self.table, name, ticket, ttl_ms)
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        locks::release(&self.table, name, ticket)
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        locks::list(&self.table)
    }
}

dcd_plugin_sdk::export_history!(HistoryDynamodb, asks: {
    http: "to reach DynamoDB",
    secrets: "to sign requests with AWS credentials",
    env: "to read AWS_REGION and the like where the configuration does not say it",
});
