//! A history backend: it keeps builds for pipelines that say `"history": { "uses": "@NAME@" }`.

mod rules;
mod store;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, LockOutcome, NewBuild,
    Page, Status, WriteOutcome,
};
use dcd_plugin_sdk::{Error, HistoryBackend};

use rules::Component;
use store::Store;

/// What is written under `with`. These comments become the documentation that users of the plugin see.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The directory: an absolute path. It must exist and be granted for reading and writing.
    pub path: String,
}

/// The plugin.
#[derive(Debug)]
pub struct @TYPE@ {
    store: Store,
}

/// Locks are kept like a component, under a name that no component has.
const LOCKS: &str = "..locks";

impl @TYPE@ {
    fn change<R>(
        &self,
        build: &BuildId,
        change: impl FnOnce(&mut rules::Kept) -> R,
    ) -> Result<R, Error> {
        self.store.change(&build.component, |component| {
            component.build(build.number).map(change)
        })?
    }
}

impl HistoryBackend for @TYPE@ {
    const SUMMARY: &'static str = "Keep builds in files of a directory";
    const FEATURES: &'static [&'static str] = &["locks"];
    type Config = Config;

    fn open(config: Config) -> Result<Self, Error> {
        if !config.path.starts_with('/') {
            return Err(Error::invalid_config("/path", "must be an absolute path"));
        }
        Ok(Self {
            store: Store::new(&config.path),
        })
    }

    fn check(&self) -> Result<(), Error> {
        self.store.check()
    }

    fn begin_build(&self, build: NewBuild) -> Result<Grant, Error> {
        self.store.change(&build.component.clone(), |component| {
            component.begin(build, store::now())
        })
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        self.change(&build, |kept| kept.append(lease, first_seq, events))
    }

    fn finish_build(
        &self,
        build: BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
    ) -> Result<WriteOutcome, Error> {
        self.change(&build, |kept| kept.finish(lease, final_seq, status, at))
    }

    fn renew_lease(
        &self,
        build: BuildId,
        lease: &str,
        ttl_ms: u32,
    ) -> Result<Option<Lease>, Error> {
        self.change(&build, |kept| kept.renew(lease, ttl_ms, store::now()))
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        let mut component = self.store.read(&build.component)?;
        Ok(component.build(build.number).ok().map(|kept| kept.record()))
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        let names = match &filter.component {
            Some(name) => vec![name.clone()],
            None => self
                .store
                .components()?
                .into_iter()
                .filter(|name| name != LOCKS)
                .collect(),
        };
        let components = names
            .iter()
            .map(|name| self.store.read(name))
            .collect::<Result<Vec<_>, _>>()?;
        rules::list(components, &filter, &page)
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        let mut component = self.store.read(&build.component)?;
        Ok(component.build(build.number)?.read(step, from_seq, limit))
    }

    fn acquire_lock(&self, name: &str, owner: &str, ttl_ms: u32) -> Result<LockOutcome, Error> {
        self.store.change(LOCKS, |locks: &mut Component| {
            locks.acquire(name, owner, ttl_ms, store::now())
        })
    }

    fn renew_lock(&self, name: &str, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        self.store.change(LOCKS, |locks| {
            locks.renew_lock(name, lease, ttl_ms, store::now())
        })
    }

    fn release_lock(&self, name: &str, lease: &str) -> Result<(), Error> {
        self.store.change(LOCKS, |locks| locks.release(name, lease))
    }
}

// A plugin can touch what it asks for here and is granted by the team; nothing else.
dcd_plugin_sdk::export_history!(@TYPE@, asks: { fs: "to keep builds in the directory" });
