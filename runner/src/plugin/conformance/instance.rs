//! One instance of the backend, and its calls as the interface has them.

use tokio::runtime::Handle;
use wasmtime::Store;

use super::bench::{holds, pause};
use crate::{
    engine::ports::backend::BackendError,
    plugin::{
        backend::HistoryPlugin,
        bindings::{
            history::{
                dcd::plugin::build_types::{Build, BuildId, Event, Status},
                exports::dcd::plugin::history::{
                    self, BuildFilter, BuildPage, EventPage, Grant, Lease, Lock, NewBuild, Page, WriteOutcome,
                },
            },
            types::Error,
        },
        guest::Guest,
    },
};

/// How often a call is tried again that the backend calls unavailable, as a runner does.
const RETRIES: u64 = 5;
/// More pages than any check fills.
const MANY_PAGES: usize = 2000;

pub(super) struct Instance {
    plugin: HistoryPlugin,
    runtime: Handle,
}

impl Instance {
    pub(super) fn new(plugin: HistoryPlugin, runtime: Handle) -> Self {
        Instance { plugin, runtime }
    }

    // By value: closures are written where they are called.
    #[allow(clippy::needless_pass_by_value)]
    fn call<T>(
        &mut self,
        what: &'static str,
        call: impl AsyncFn(&history::Guest, &mut Store<Guest>) -> wasmtime::Result<Result<T, Error>>,
    ) -> Result<T, String> {
        let mut tries = 0;
        loop {
            let error = match self.runtime.block_on(self.plugin.call(what, &call)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // One that broke is not given a second chance: it should not have.
            if !error.transient || !self.plugin.is_open() || tries == RETRIES {
                return Err(said(what, &error));
            }
            tries += 1;
            pause(100 * tries);
        }
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
        self.call("check", async |guest, store| guest.call_check(store).await)
    }

    pub(super) fn begin(&mut self, build: &NewBuild) -> Result<Grant, String> {
        self.call("begin-build", async |guest, store| guest.call_begin_build(store, build).await)
    }

    pub(super) fn append(&mut self, grant: &Grant, events: &[Event]) -> Result<WriteOutcome, String> {
        let (id, lease) = (&grant.build, grant.lease.token.as_str());
        let first = events.first().map_or(0, |event| event.seq);
        self.call("append", async |guest, store| guest.call_append(store, id, lease, first, events).await)
    }

    pub(super) fn finish(
        &mut self,
        grant: &Grant,
        end: u64,
        status: Status,
        at: u64,
    ) -> Result<WriteOutcome, String> {
        self.finish_with(grant, end, status, at, "{}")
    }

    pub(super) fn finish_with(
        &mut self,
        grant: &Grant,
        end: u64,
        status: Status,
        at: u64,
        summary: &str,
    ) -> Result<WriteOutcome, String> {
        let (id, lease) = (&grant.build, grant.lease.token.as_str());
        let summary = &summary.to_owned();
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_finish_build(store, id, lease, end, status, at, summary).await
        };
        self.call("finish-build", call)
    }

    pub(super) fn renew(&mut self, grant: &Grant, ttl_ms: u32) -> Result<Option<Lease>, String> {
        let (id, lease) = (&grant.build, grant.lease.token.as_str());
        self.call("renew-lease", async |guest, store| guest.call_renew_lease(store, id, lease, ttl_ms).await)
    }

    pub(super) fn get(&mut self, id: &BuildId) -> Result<Option<Build>, String> {
        self.call("get-build", async |guest, store| guest.call_get_build(store, id).await)
    }

    fn existing(&mut self, id: &BuildId) -> Result<Build, String> {
        let build = self.get(id)?;
        build.ok_or_else(|| format!("get-build: there is no build {} of {}", id.number, id.component))
    }

    /// The record of a build that must be there, as it is whenever it is read.
    pub(super) fn record(&mut self, id: &BuildId) -> Result<Build, String> {
        self.existing(id).map(timeless)
    }

    /// What the clock shows that judges this build's lease.
    pub(super) fn now(&mut self, id: &BuildId) -> Result<u64, String> {
        Ok(self.existing(id)?.as_of)
    }

    /// Whether the build's lease ran out, as one who reads it has to think.
    pub(super) fn is_lost(&mut self, id: &BuildId) -> Result<bool, String> {
        let build = self.existing(id)?;
        Ok(build.lease_expires_at < build.as_of)
    }

    pub(super) fn list(&mut self, filter: &BuildFilter, page: &Page) -> Result<BuildPage, String> {
        self.call("list-builds", async |guest, store| guest.call_list_builds(store, filter, page).await)
    }

    /// All pages from a cursor on. No page may be longer than `limit`.
    pub(super) fn list_from(
        &mut self,
        filter: &BuildFilter,
        limit: u32,
        mut cursor: Option<String>,
    ) -> Result<Vec<Build>, String> {
        let mut all = Vec::new();
        for _ in 0..MANY_PAGES {
            let page = self.list(filter, &Page { limit, cursor })?;
            let length = page.items.len();
            holds(length <= limit as usize, || {
                format!("list-builds: a page of {length} builds, where {limit} were asked for")
            })?;
            all.extend(page.items);
            let Some(next) = page.next else { return Ok(all) };
            cursor = Some(next);
        }
        Err("list-builds: the pages do not end".to_owned())
    }

    pub(super) fn read(
        &mut self,
        id: &BuildId,
        step: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<EventPage, String> {
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_read_events(store, id, step, from, limit).await
        };
        self.call("read-events", call)
    }

    /// All events, page by page. No page may be longer than `limit`. The second value is where a running build goes on.
    pub(super) fn read_all(
        &mut self,
        id: &BuildId,
        step: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Event>, Option<u64>), String> {
        let (mut all, mut from) = (Vec::new(), 0);
        for _ in 0..MANY_PAGES {
            let page = self.read(id, step, from, limit)?;
            let length = page.items.len();
            holds(length <= limit as usize, || {
                format!("read-events: a page of {length} events, where {limit} were asked for")
            })?;
            all.extend(page.items);
            match page.next_seq {
                None => return Ok((all, None)),
                Some(next) if length == 0 && next <= from => return Ok((all, Some(next))),
                Some(next) => {
                    holds(next >= from, || format!("read-events: from {from} on, it leads back to {next}"))?;
                    from = next;
                }
            }
        }
        Err("read-events: the pages do not end".to_owned())
    }

    pub(super) fn prune(&mut self, id: &BuildId) -> Result<u64, String> {
        self.call("prune-output", async |guest, store| guest.call_prune_output(store, id).await)
    }

    pub(super) fn acquire(
        &mut self,
        name: &str,
        ticket: &str,
        owner: &str,
        ttl_ms: u32,
    ) -> Result<Lock, String> {
        let call = async |guest: &history::Guest, store: &mut Store<Guest>| {
            guest.call_acquire_lock(store, name, ticket, owner, ttl_ms).await
        };
        self.call("acquire-lock", call)
    }

    pub(super) fn renew_lock(
        &mut self,
        name: &str,
        ticket: &str,
        ttl_ms: u32,
    ) -> Result<Option<Lock>, String> {
        self.call("renew-lock", async |guest, store| guest.call_renew_lock(store, name, ticket, ttl_ms).await)
    }

    pub(super) fn release(&mut self, name: &str, ticket: &str) -> Result<bool, String> {
        self.call("release-lock", async |guest, store| guest.call_release_lock(store, name, ticket).await)
    }

    pub(super) fn locks(&mut self) -> Result<Vec<Lock>, String> {
        self.call("list-locks", async |guest, store| guest.call_list_locks(store).await)
    }
}

/// Without the time at which it was read.
pub(super) fn timeless(build: Build) -> Build {
    Build { as_of: 0, ..build }
}

fn said(what: &str, error: &BackendError) -> String {
    match &error.help {
        Some(help) => format!("{what}: {} ({help})", error.message),
        None => format!("{what}: {}", error.message),
    }
}
