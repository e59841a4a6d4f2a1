//! A history backend that keeps builds in PostgreSQL, in tables that are made for reading with SQL.
//!
//! Every write is one statement, or one transaction that is sent as a whole, under the lock of the row that it is about:
//! that of a component for numbers, that of a build for its events. Times of leases and locks are the server's.

mod builds;
mod check;
mod events;
mod failure;
mod list;
mod locks;
mod moment;
mod schema;
mod session;
mod settings;
mod text;
mod tls;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, HistoryBackend, secrets};

use session::Session;
use settings::{Surroundings, Target};

pub use settings::{Config, SslMode};

/// The backend.
pub struct HistoryPostgres {
    session: Session,
}

impl HistoryBackend for HistoryPostgres {
    const SUMMARY: &'static str = "Builds in PostgreSQL, in tables for SQL";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        let around = Surroundings {
            variable: &|name| std::env::var(name).ok(),
            secret: &secrets::get,
            file: &|path| std::fs::read_to_string(path),
        };
        let session = Session::new(Target::new(config, &around)?)?;
        schema::migrate(&session)?;
        Ok(Self { session })
    }

    fn check(&self) -> Result<(), Error> {
        check::check(&self.session)
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        builds::begin(&self.session, &build)
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        events::append(&self.session, &build, lease, first_seq, &events)
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
        builds::finish(&self.session, &build, lease, final_seq, status, at, &summary)
    }

    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        builds::renew(&self.session, &build, lease, ttl_ms)
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        builds::get(&self.session, &build)
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        list::list(&self.session, &filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        events::read(&self.session, &build, step, from_seq, limit)
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        events::prune(&self.session, &build)
    }

    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        locks::acquire(&self.session, name, ticket, owner, ttl_ms)
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        locks::renew(&self.session, name, ticket, ttl_ms)
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        locks::release(&self.session, name, ticket)
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        locks::list(&self.session)
    }
}

dcd_plugin_sdk::export_history!(HistoryPostgres, asks: {
    tcp: "to reach the server",
    secrets: "for the password",
    env: "for the variables that psql knows, such as PGHOST",
    fs: "to read the certificates that `sslrootcert` names"
});
