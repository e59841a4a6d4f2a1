//! History backends: places that keep builds centrally.
//!
//! The data of a build, such as [`Event`] and [`Build`], can be written and read with [`serde`], for backends that
//! keep it as text. Names of fields and cases are those of Rust, and stay.

mod adapter;

pub use adapter::HistoryAdapter;

pub use crate::bindings::history::dcd::plugin::build_types::{Build, BuildId, Event, Payload, Status};
pub use crate::bindings::history::exports::dcd::plugin::history::{
    BuildFilter, BuildPage, EventPage, Grant, Lease, LockHolder, LockOutcome, NewBuild, Page, WriteOutcome,
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

    /// One cheap round trip that says whether the place can be used. No command of dcd 0.1 calls it.
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
    /// truncated.
    fn finish_build(
        &self,
        build: BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
    ) -> Result<WriteOutcome, Error>;

    /// Prolongs a lease. None when it is lost.
    fn renew_lease(&self, build: BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error>;

    /// One build's record; None when there is no such build.
    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error>;

    /// Builds, newest first.
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

    /// Takes a named mutex that spans builds, such as `deploy/prod`. Optional; put `locks` into
    /// [`FEATURES`](Self::FEATURES) when it is implemented.
    fn acquire_lock(&self, name: &str, owner: &str, ttl_ms: u32) -> Result<LockOutcome, Error> {
        let _ = (name, owner, ttl_ms);
        Err(Error::Unsupported("locks".into()))
    }

    /// Prolongs a lock. None when it is lost.
    fn renew_lock(&self, name: &str, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        let _ = (name, lease, ttl_ms);
        Err(Error::Unsupported("locks".into()))
    }

    /// Gives a lock back. Giving back a lock that is lost is fine.
    fn release_lock(&self, name: &str, lease: &str) -> Result<(), Error> {
        let _ = (name, lease);
        Err(Error::Unsupported("locks".into()))
    }
}
