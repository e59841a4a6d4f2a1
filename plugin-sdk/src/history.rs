//! History backends: places that keep builds centrally.
//!
//! The data of a build, such as [`Event`] and [`Build`], can be written and read with [`serde`], for backends that
//! keep it as text. Names of fields and cases are those of Rust, and stay.

mod adapter;
mod filter;
mod prune;
mod queue;

pub use adapter::HistoryAdapter;
pub use prune::prune;
pub use queue::LockQueue;

pub use crate::bindings::history::dcd::plugin::build_types::{Build, BuildId, Event, Payload, Status};
pub use crate::bindings::history::exports::dcd::plugin::history::{
    BuildFilter, BuildPage, EventPage, Grant, Lease, Lock, LockPlace, NewBuild, Page, WriteOutcome,
};

use crate::config::Config;
use crate::types::Error;

/// A place that keeps builds.
///
/// Every call may be repeated: the runner does so whenever an answer was lost, also with an instance of the
/// plugin made anew. Expected outcomes are values ([`WriteOutcome`]); errors are for what went wrong, and
/// [`Error::Unavailable`] is the only one that is tried again.
///
/// Methods take `&self`; an instance is used by one call at a time, so a [`std::cell::RefCell`] is enough for
/// state.
pub trait HistoryBackend: Sized + 'static {
    /// One line that says where builds are kept.
    const SUMMARY: &'static str;

    /// Names of the optional operations that are implemented, such as `locks`.
    const FEATURES: &'static [&'static str] = &[];

    /// The backend's settings.
    type Config: Config;

    /// Called once, before everything below. A wrong configuration is reported here. Called again when it
    /// failed.
    fn open(config: Self::Config) -> Result<Self, Error>;

    /// Says whether builds can be kept and read there, in a few round trips that leave nothing behind: for
    /// `dcd doctor`.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Allocates the component's next number and creates the build, atomically.
    ///
    /// Numbers start at 1 and are unique and without gaps per component, under any number of writers. The
    /// same [`NewBuild::run_id`] always gets the same number, and each time a new lease with a higher fence.
    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error>;

    /// Stores events, contiguous from `first_seq`. Skips what is already stored and keeps the rest.
    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error>;

    /// Ends a build. [`WriteOutcome::Gap`] unless `final_seq` is the tail, so a finished build is never
    /// truncated. `summary` is JSON that lists and statistics need, and is kept verbatim: it comes back as
    /// [`Build::summary`].
    fn finish_build(
        &self,
        build: BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
        summary: String,
    ) -> Result<WriteOutcome, Error>;

    /// Prolongs a lease. None when it is lost.
    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error>;

    /// One build's record; None when there is no such build.
    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error>;

    /// Builds, newest first. [`BuildFilter::fits`] says which.
    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error>;

    /// A build's events from `from_seq` on; only those of `step` when it is given.
    ///
    /// [`EventPage::next_seq`] is None once the build is finished and fully read.
    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error>;

    /// Drops what the steps of a finished or lost build printed, and keeps all else: [`prune`] does it to an event.
    /// Answers how many bytes of output were dropped, which is 0 when it is repeated.
    fn prune_output(&self, build: BuildId) -> Result<u64, Error>;

    /// Takes a place in the queue for a named lock that spans builds, such as `deploy/prod`; or keeps and renews
    /// the one that the ticket has. The lock is the caller's when the ticket is first in the answer.
    ///
    /// Locks are optional, all four methods or none; put `locks` into [`FEATURES`](Self::FEATURES) when they are
    /// implemented. Places whose time is over are not in the queue any more, by a clock that all callers share.
    /// [`LockQueue`] has the rules, for a backend that keeps a queue as one value.
    fn acquire_lock(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Result<Lock, Error> {
        let _ = (name, ticket, owner, ttl_ms);
        Err(Error::Unsupported("locks".into()))
    }

    /// Renews a place in the queue. None when the ticket is not in it any more.
    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        let _ = (name, ticket, ttl_ms);
        Err(Error::Unsupported("locks".into()))
    }

    /// Leaves the queue, so that the next one holds the lock. Whether the ticket was in it; that it was not is fine.
    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        let _ = (name, ticket);
        Err(Error::Unsupported("locks".into()))
    }

    /// The locks that are held, by name.
    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        Err(Error::Unsupported("locks".into()))
    }
}
