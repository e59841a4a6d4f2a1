//! Builds in memory, for as long as the plugin lives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, Lock, LockQueue, NewBuild, Page,
    Status, WriteOutcome, prune,
};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    builds: RefCell<Vec<Kept>>,
    locks: RefCell<BTreeMap<String, LockQueue>>,
}

#[derive(Debug)]
struct Kept {
    build: Build,
    fence: u64,
    events: Vec<Event>,
}

impl Kept {
    fn tail(&self) -> u64 {
        self.events.len() as u64
    }

    fn lease(&self) -> Lease {
        let token = format!("{}-{}", self.build.run_id, self.fence);
        Lease { token, fence: self.fence, expires_at: self.build.lease_expires_at }
    }

    fn record(&self) -> Build {
        Build { next_seq: self.tail(), as_of: now(), ..self.build.clone() }
    }
}

impl Memory {
    pub(crate) fn begin(&self, new: NewBuild) -> Grant {
        let mut all = self.builds.borrow_mut();
        let is_known =
            |kept: &Kept| kept.build.id.component == new.component && kept.build.run_id == new.run_id;
        let index = all.iter().position(is_known).unwrap_or_else(|| {
            let before = all.iter().filter(|kept| kept.build.id.component == new.component).count();
            let build = Build {
                id: BuildId { component: new.component, number: before as u64 + 1 },
                run_id: new.run_id,
                status: Status::Running,
                started_at: new.started_at,
                finished_at: None,
                lease_expires_at: 0,
                as_of: 0,
                next_seq: 0,
                metadata: new.metadata,
                summary: None,
                pruned: false,
            };
            all.push(Kept { build, fence: 0, events: Vec::new() });
            all.len() - 1
        });
        let kept = &mut all[index];
        kept.fence += 1;
        kept.build.lease_expires_at = expiry(new.lease_ttl_ms);
        Grant { build: kept.build.id.clone(), lease: kept.lease(), next_seq: kept.tail() }
    }

    pub(crate) fn append(
        &self,
        build: &BuildId,
        lease: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> Result<WriteOutcome, Error> {
        self.with(build, |kept| {
            let tail = kept.tail();
            if kept.lease().token != lease {
                return WriteOutcome::Fenced;
            }
            if first_seq > tail {
                return WriteOutcome::Gap(tail);
            }
            kept.events.extend(events.into_iter().filter(|event| event.seq >= tail));
            kept.build.pruned &= kept.tail() == tail;
            WriteOutcome::Stored(kept.tail())
        })
    }

    pub(crate) fn finish(
        &self,
        build: &BuildId,
        lease: &str,
        final_seq: u64,
        (status, at, summary): (Status, u64, String),
    ) -> Result<WriteOutcome, Error> {
        self.with(build, |kept| {
            if kept.lease().token != lease {
                return WriteOutcome::Fenced;
            }
            if final_seq != kept.tail() {
                return WriteOutcome::Gap(kept.tail());
            }
            kept.build.status = status;
            kept.build.finished_at = Some(at);
            kept.build.summary = Some(summary);
            WriteOutcome::Stored(final_seq)
        })
    }

    pub(crate) fn renew(&self, build: &BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
        self.with(build, |kept| {
            if kept.lease().token != lease {
                return None;
            }
            kept.build.lease_expires_at = expiry(ttl_ms);
            Some(kept.lease())
        })
    }

    pub(crate) fn get(&self, build: &BuildId) -> Option<Build> {
        self.with(build, |kept| kept.record()).ok()
    }

    pub(crate) fn list(&self, filter: &BuildFilter, page: &Page) -> Result<BuildPage, Error> {
        let end = match &page.cursor {
            None => usize::MAX,
            Some(cursor) => {
                cursor.parse().map_err(|_| Error::other("the cursor is not one of this backend's"))?
            }
        };
        let all = self.builds.borrow();
        // The order in which builds began; the cursor is where the next page ends.
        let mut newest_first =
            all.iter().enumerate().take(end).rev().filter(|(_, kept)| filter.fits(&kept.build));
        let items =
            newest_first.by_ref().take(page.limit.max(1) as usize).map(|(_, kept)| kept.record()).collect();
        let next = newest_first.next().map(|(index, _)| (index + 1).to_string());
        Ok(BuildPage { items, next })
    }

    pub(crate) fn read(
        &self,
        build: &BuildId,
        step: Option<&str>,
        from_seq: u64,
        limit: u32,
    ) -> Result<EventPage, Error> {
        self.with(build, |kept| {
            let is_wanted = |event: &&Event| {
                event.seq >= from_seq && step.is_none_or(|step| event.step.as_deref() == Some(step))
            };
            let mut wanted = kept.events.iter().filter(is_wanted);
            let items = wanted.by_ref().take(limit.max(1) as usize).cloned().collect();
            let is_finished = kept.build.status != Status::Running;
            let next_seq = wanted.next().map(|event| event.seq).or((!is_finished).then_some(kept.tail()));
            EventPage { items, next_seq }
        })
    }

    pub(crate) fn prune(&self, build: &BuildId) -> Result<u64, Error> {
        self.with(build, |kept| {
            if kept.build.status == Status::Running && kept.build.lease_expires_at > now() {
                return Err(Error::other(format!("build {} is running", build.number)));
            }
            kept.build.pruned = true;
            Ok(kept.events.iter_mut().map(prune).sum())
        })?
    }

    pub(crate) fn acquire(&self, name: &str, ticket: &str, owner: &str, ttl_ms: u32) -> Lock {
        let mut locks = self.locks.borrow_mut();
        let queue = locks.entry(name.to_owned()).or_default();
        queue.acquire(ticket, owner, ttl_ms, now());
        queue.lock(name, now())
    }

    pub(crate) fn renew_lock(&self, name: &str, ticket: &str, ttl_ms: u32) -> Option<Lock> {
        let mut locks = self.locks.borrow_mut();
        let queue = locks.get_mut(name)?;
        queue.renew(ticket, ttl_ms, now()).then(|| queue.lock(name, now()))
    }

    pub(crate) fn release(&self, name: &str, ticket: &str) -> bool {
        self.locks.borrow_mut().get_mut(name).is_some_and(|queue| queue.release(ticket, now()))
    }

    pub(crate) fn locks(&self) -> Vec<Lock> {
        let locks = self.locks.borrow();
        let all = locks.iter().map(|(name, queue)| queue.lock(name, now()));
        all.filter(|lock| !lock.queue.is_empty()).collect()
    }

    fn with<R>(&self, build: &BuildId, act: impl FnOnce(&mut Kept) -> R) -> Result<R, Error> {
        let mut all = self.builds.borrow_mut();
        let kept = all.iter_mut().find(|kept| kept.build.id == *build);
        kept.map(act).ok_or_else(|| Error::not_found(format!("there is no build {}", build.number)))
    }
}

fn expiry(ttl_ms: u32) -> u64 {
    now().saturating_add(ttl_ms.into())
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
