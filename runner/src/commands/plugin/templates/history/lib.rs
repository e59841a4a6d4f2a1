//! A history backend: it keeps builds for pipelines that say `"history": { "uses": "@NAME@" }`.

mod rules;
mod store;

use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, NewBuild, Page,
    Payload, Status, WriteOutcome, prune,
};
use dcd_plugin_sdk::{Error, HistoryBackend, serde_json};

use rules::{Component, Kept, Locks};
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
const LOCKS: &str = "@locks";
/// The most that a page of events carries.
const PAGE_BYTES: usize = 4 << 20;

impl @TYPE@ {
    fn change<R>(
        &self,
        build: &BuildId,
        mut change: impl FnMut(&mut Kept, u64) -> R,
    ) -> Result<R, Error> {
        self.store
            .change(&build.component, |component: &mut Component, now| {
                component.build(build.number).map(|kept| change(kept, now))
            })?
    }

    fn kept(&self, build: &BuildId) -> Result<Kept, Error> {
        let mut component: Component = self.store.read(&build.component)?;
        component.build(build.number).cloned()
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
        self.store
            .change(&build.component, |component: &mut Component, now| {
                component.begin(&build, now)
            })
    }

    fn append(
        &self,
        build: BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        let (kept, next) = (self.kept(&build)?, first_seq + events.len() as u64);
        if let Some(outcome) = kept.refuses(lease, first_seq, next) {
            return Ok(outcome);
        }
        let from = kept.tail();
        let new: Vec<_> = events
            .into_iter()
            .filter(|event| event.seq >= from)
            .collect();
        // The events first: what the build says is stored, is.
        let file = self.store.write_events(&build.component, &new)?;
        self.change(&build, |kept, _| kept.append(lease, from, next, &file))
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
        self.change(&build, |kept, _| {
            kept.finish(lease, final_seq, status, at, &summary)
        })
    }

    fn renew_lease(
        &self,
        build: BuildId,
        lease: &str,
        ttl_ms: u32,
    ) -> Result<Option<Lease>, Error> {
        self.change(&build, |kept, now| kept.renew(lease, ttl_ms, now))
    }

    fn get_build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        let mut component: Component = self.store.read(&build.component)?;
        match component.build(build.number) {
            Ok(kept) => Ok(Some(kept.record(self.store.now()?))),
            Err(_) => Ok(None),
        }
    }

    fn list_builds(&self, filter: BuildFilter, page: Page) -> Result<BuildPage, Error> {
        let names = match &filter.component {
            Some(name) => vec![name.clone()],
            None => self.store.names()?,
        };
        let components = names
            .iter()
            .filter(|name| *name != LOCKS)
            .map(|name| self.store.read(name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(rules::list(&components, &filter, &page, self.store.now()?))
    }

    fn read_events(
        &self,
        build: BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        let kept = self.kept(&build)?;
        let (mut items, mut bytes, mut next) = (Vec::new(), 0, from_seq);
        for batch in kept.batches.iter().filter(|batch| batch.next > from_seq) {
            let lines = self.store.read_events(&build.component, &batch.file)?;
            for (seq, line) in (batch.from..batch.next).zip(lines) {
                if seq < from_seq {
                    continue;
                }
                if items.len() >= limit.max(1) as usize || bytes >= PAGE_BYTES {
                    return Ok(EventPage {
                        items,
                        next_seq: Some(next),
                    });
                }
                let event: Event = serde_json::from_str(&line)?;
                next = seq + 1;
                if step.is_none() || step == event.step.as_deref() {
                    bytes += match &event.payload {
                        Payload::Json(json) => json.len(),
                        Payload::Bytes(bytes) => bytes.len(),
                    };
                    items.push(event);
                }
            }
        }
        let next_seq = (!kept.is_finished()).then_some(next);
        Ok(EventPage { items, next_seq })
    }

    fn prune_output(&self, build: BuildId) -> Result<u64, Error> {
        let before = self.kept(&build)?;
        if !before.is_over(self.store.now()?) {
            return Err(Error::other(format!("build {} is running", build.number)));
        }
        let (mut after, mut dropped) = (before.clone(), 0);
        after.build.pruned = true;
        for batch in &mut after.batches {
            let lines = self.store.read_events(&build.component, &batch.file)?;
            let mut events = lines
                .iter()
                .map(|line| serde_json::from_str(line))
                .collect::<Result<Vec<Event>, _>>()?;
            let of_batch: u64 = events.iter_mut().map(prune).sum();
            if of_batch > 0 {
                batch.file = self.store.write_events(&build.component, &events)?;
                dropped += of_batch;
            }
        }
        let is_changed = self.change(&build, |kept, _| {
            let is_same = kept.batches == before.batches;
            if is_same {
                kept.build.pruned = true;
                kept.batches.clone_from(&after.batches);
            }
            is_same
        })?;
        if !is_changed {
            return Err(Error::unavailable("somebody else changed the build"));
        }
        for (old, new) in before.batches.iter().zip(&after.batches) {
            if old.file != new.file {
                self.store.remove_events(&build.component, &old.file);
            }
        }
        Ok(dropped)
    }

    fn acquire_lock(
        &self,
        name: &str,
        ticket: &str,
        owner: &str,
        ttl_ms: u32,
    ) -> Result<Lock, Error> {
        self.store.change(LOCKS, |locks: &mut Locks, now| {
            let queue = locks.entry(name.to_owned()).or_default();
            queue.acquire(ticket, owner, ttl_ms, now);
            queue.lock(name, now)
        })
    }

    fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Result<Option<Lock>, Error> {
        self.store.change(LOCKS, |locks: &mut Locks, now| {
            let queue = locks.get_mut(name)?;
            queue
                .renew(ticket, ttl_ms, now)
                .then(|| queue.lock(name, now))
        })
    }

    fn release_lock(&self, name: &str, ticket: &str) -> Result<bool, Error> {
        let mut was_there = false;
        self.store.change(LOCKS, |locks: &mut Locks, now| {
            let queue = locks.get_mut(name);
            was_there |= queue.is_some_and(|queue| queue.release(ticket, now));
        })?;
        Ok(was_there)
    }

    fn list_locks(&self) -> Result<Vec<Lock>, Error> {
        let locks: Locks = self.store.read(LOCKS)?;
        let now = self.store.now()?;
        let all = locks.iter().map(|(name, queue)| queue.lock(name, now));
        Ok(all.filter(|lock| !lock.queue.is_empty()).collect())
    }
}

// A plugin can touch what it asks for here and is granted by the team; nothing else.
dcd_plugin_sdk::export_history!(@TYPE@, asks: { fs: "to keep builds in the directory" });
