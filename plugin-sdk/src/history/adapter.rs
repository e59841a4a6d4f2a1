//! Between the trait and what wit-bindgen wants.

use core::marker::PhantomData;
use std::rc::Rc;

use super::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, HistoryBackend, Lease, Lock, NewBuild,
    Page, Status, WriteOutcome,
};
use crate::bindings::history::exports::dcd::plugin::history::Guest;
use crate::config::{self, Package};
use crate::slot::Slot;
use crate::types::{Error, PluginInfo};

/// Exports a [`HistoryBackend`]; used by [`export_history!`](crate::export_history).
#[doc(hidden)]
pub struct HistoryAdapter<T>(PhantomData<T>);

fn backend<T: Slot>() -> Result<Rc<T>, Error> {
    crate::slot::open("backend")
}

impl<T: HistoryBackend + Slot + Package> Guest for HistoryAdapter<T> {
    fn describe() -> PluginInfo {
        crate::panic::install();
        config::info::<T, T::Config>(T::SUMMARY, T::FEATURES)
    }

    fn open(json: String) -> Result<(), Error> {
        crate::panic::install();
        let opened = T::open(config::parse(&json)?)?;
        T::slot(|slot| slot.replace(Some(Rc::new(opened))));
        Ok(())
    }

    fn check() -> Result<(), Error> {
        backend::<T>()?.check()
    }

    fn begin_build(build: NewBuild) -> Result<Grant, Error> {
        backend::<T>()?.begin_build(build)
    }

    fn append(
        build: BuildId,
        lease: String,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        backend::<T>()?.append(build, &lease, first_seq, events)
    }

    fn finish_build(
        build: BuildId,
        lease: String,
        final_seq: u64,
        status: Status,
        at: u64,
        summary: String,
    ) -> Result<WriteOutcome, Error> {
        backend::<T>()?.finish_build(build, &lease, final_seq, status, at, summary)
    }

    fn renew_lease(build: BuildId, lease: String, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        backend::<T>()?.renew_lease(build, &lease, ttl_ms)
    }

    fn get_build(build: BuildId) -> Result<Option<Build>, Error> {
        backend::<T>()?.get_build(build)
    }

    fn list_builds(filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        backend::<T>()?.list_builds(filter, page)
    }

    fn read_events(
        build: BuildId,
        step: Option<String>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        backend::<T>()?.read_events(build, step.as_deref(), from_seq, limit)
    }

    fn prune_output(build: BuildId) -> Result<u64, Error> {
        backend::<T>()?.prune_output(build)
    }

    fn acquire_lock(name: String, ticket: String, owner: String, ttl_ms: u32) -> Result<Lock, Error> {
        backend::<T>()?.acquire_lock(&name, &ticket, &owner, ttl_ms)
    }

    fn renew_lock(name: String, ticket: String, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        backend::<T>()?.renew_lock(&name, &ticket, ttl_ms)
    }

    fn release_lock(name: String, ticket: String) -> Result<bool, Error> {
        backend::<T>()?.release_lock(&name, &ticket)
    }

    fn list_locks() -> Result<Vec<Lock>, Error> {
        backend::<T>()?.list_locks()
    }
}
