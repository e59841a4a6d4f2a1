//! Builds in memory, for as long as the plugin lives.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, NewBuild, Page, Status,
    WriteOutcome,
};

#[derive(Debug, Default)]
pub(crate) struct Memory(RefCell<Vec<Kept>>);

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
        Build { next_seq: self.tail(), ..self.build.clone() }
    }
}

impl Memory {
    pub(crate) fn begin(&self, new: NewBuild) -> Grant {
        let mut all = self.0.borrow_mut();
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
                next_seq: 0,
                metadata: new.metadata,
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
            WriteOutcome::Stored(kept.tail())
        })
    }

    pub(crate) fn finish(
        &self,
        build: &BuildId,
        lease: &str,
        final_seq: u64,
        status: Status,
        at: u64,
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
        let all = self.0.borrow();
        let lets_through = |build: &Build| {
            filter.component.as_ref().is_none_or(|component| build.id.component == *component)
                && (filter.statuses.is_empty() || filter.statuses.contains(&build.status))
                && filter.started_after.is_none_or(|after| build.started_at > after)
                && filter.started_before.is_none_or(|before| build.started_at < before)
        };
        // The order in which builds began; the cursor is where the next page ends.
        let mut newest_first =
            all.iter().enumerate().take(end).rev().filter(|(_, kept)| lets_through(&kept.build));
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

    fn with<R>(&self, build: &BuildId, act: impl FnOnce(&mut Kept) -> R) -> Result<R, Error> {
        let mut all = self.0.borrow_mut();
        let kept = all.iter_mut().find(|kept| kept.build.id == *build);
        kept.map(act).ok_or_else(|| Error::not_found(format!("there is no build {}", build.number)))
    }
}

fn expiry(ttl_ms: u32) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(ttl_ms.into())
}
