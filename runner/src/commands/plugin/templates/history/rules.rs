//! What may be written when, and what is read. No I/O and no clock, so that each rule can be tested natively.

use std::collections::BTreeMap;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Event, EventPage, Grant, Lease, LockHolder,
    LockOutcome, NewBuild, Page, Status, WriteOutcome,
};
use serde::{Deserialize, Serialize};

/// A component's builds, the first of which has the number 1; or the locks.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Component {
    builds: Vec<Kept>,
    locks: BTreeMap<String, Lock>,
}

/// A build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    build: Build,
    lease: Lease,
    events: Vec<Event>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Lock {
    owner: String,
    lease: Option<Lease>,
    /// Never goes down, also when nobody holds the lock.
    fence: u64,
}

/// A lease's token only has to differ from those before it.
fn lease(what: &str, fence: u64, ttl_ms: u32, now: u64) -> Lease {
    Lease {
        token: format!("{what}#{fence}"),
        fence,
        expires_at: now + u64::from(ttl_ms),
    }
}

impl Component {
    /// Gives a run its number, once, and each time a new lease.
    pub(crate) fn begin(&mut self, new: NewBuild, now: u64) -> Grant {
        let at = self
            .builds
            .iter()
            .position(|kept| kept.build.run_id == new.run_id)
            .unwrap_or(self.builds.len());
        let fence = self.builds.get(at).map_or(0, |kept| kept.lease.fence) + 1;
        let lease = lease(&new.run_id, fence, new.lease_ttl_ms, now);
        if at == self.builds.len() {
            let build = Build {
                id: BuildId {
                    component: new.component,
                    number: at as u64 + 1,
                },
                run_id: new.run_id,
                status: Status::Running,
                started_at: new.started_at,
                finished_at: None,
                lease_expires_at: 0,
                next_seq: 0,
                metadata: new.metadata,
            };
            self.builds.push(Kept {
                build,
                lease: lease.clone(),
                events: Vec::new(),
            });
        }
        let kept = &mut self.builds[at];
        kept.lease = lease.clone();
        Grant {
            build: kept.build.id.clone(),
            lease,
            next_seq: kept.tail(),
        }
    }

    pub(crate) fn build(&mut self, number: u64) -> Result<&mut Kept, Error> {
        let index = usize::try_from(number)
            .ok()
            .and_then(|number| number.checked_sub(1));
        let kept = index.and_then(|index| self.builds.get_mut(index));
        kept.ok_or_else(|| Error::not_found(format!("there is no build {number}")))
    }

    /// A lock that is free, has run out, or is the owner's already, is the owner's.
    pub(crate) fn acquire(
        &mut self,
        name: &str,
        owner: &str,
        ttl_ms: u32,
        now: u64,
    ) -> LockOutcome {
        let lock = self.locks.entry(name.to_owned()).or_default();
        match &lock.lease {
            Some(held) if held.expires_at > now && lock.owner != owner => {
                LockOutcome::Held(LockHolder {
                    owner: lock.owner.clone(),
                    expires_at: held.expires_at,
                })
            }
            _ => {
                lock.fence += 1;
                lock.owner = owner.to_owned();
                LockOutcome::Acquired(
                    lock.lease
                        .insert(lease(name, lock.fence, ttl_ms, now))
                        .clone(),
                )
            }
        }
    }

    pub(crate) fn renew_lock(
        &mut self,
        name: &str,
        token: &str,
        ttl_ms: u32,
        now: u64,
    ) -> Option<Lease> {
        let held = self
            .locks
            .get_mut(name)?
            .lease
            .as_mut()
            .filter(|held| held.token == token)?;
        held.expires_at = now + u64::from(ttl_ms);
        Some(held.clone())
    }

    pub(crate) fn release(&mut self, name: &str, token: &str) {
        if let Some(lock) = self.locks.get_mut(name) {
            lock.lease.take_if(|held| held.token == token);
        }
    }
}

impl Kept {
    /// The first sequence number that is not stored.
    fn tail(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn record(&self) -> Build {
        Build {
            next_seq: self.tail(),
            lease_expires_at: self.lease.expires_at,
            ..self.build.clone()
        }
    }

    /// A lease that ran out holds until somebody takes the build over.
    fn is_held(&self, token: &str) -> bool {
        self.lease.token == token
    }

    pub(crate) fn append(
        &mut self,
        token: &str,
        first_seq: u64,
        events: Vec<Event>,
    ) -> WriteOutcome {
        let tail = self.tail();
        if !self.is_held(token) {
            return WriteOutcome::Fenced;
        }
        if first_seq > tail {
            return WriteOutcome::Gap(tail);
        }
        self.events
            .extend(events.into_iter().filter(|event| event.seq >= tail));
        WriteOutcome::Stored(self.tail())
    }

    pub(crate) fn finish(
        &mut self,
        token: &str,
        final_seq: u64,
        status: Status,
        at: u64,
    ) -> WriteOutcome {
        if !self.is_held(token) {
            return WriteOutcome::Fenced;
        }
        if final_seq != self.tail() {
            return WriteOutcome::Gap(self.tail());
        }
        self.build.status = status;
        self.build.finished_at = Some(at);
        WriteOutcome::Stored(final_seq)
    }

    pub(crate) fn renew(&mut self, token: &str, ttl_ms: u32, now: u64) -> Option<Lease> {
        if !self.is_held(token) {
            return None;
        }
        self.lease.expires_at = now + u64::from(ttl_ms);
        Some(self.lease.clone())
    }

    pub(crate) fn read(&self, step: Option<&str>, from_seq: u64, limit: u32) -> EventPage {
        let is_wanted = |event: &&Event| {
            event.seq >= from_seq && step.is_none_or(|step| event.step.as_deref() == Some(step))
        };
        let mut wanted = self.events.iter().filter(is_wanted);
        let items = wanted
            .by_ref()
            .take(limit.max(1) as usize)
            .cloned()
            .collect();
        let is_finished = self.build.status != Status::Running;
        let next_seq = wanted
            .next()
            .map(|event| event.seq)
            .or((!is_finished).then_some(self.tail()));
        EventPage { items, next_seq }
    }
}

/// Newest first. The cursor is what is after the last build of a page, so builds that begin meanwhile change nothing.
pub(crate) fn list(
    components: Vec<Component>,
    filter: &BuildFilter,
    page: &Page,
) -> Result<BuildPage, Error> {
    let position = |build: &Build| {
        format!(
            "{:020}/{:020}/{}",
            build.started_at, build.id.number, build.id.component
        )
    };
    let lets_through = |build: &Build| {
        (filter.statuses.is_empty() || filter.statuses.contains(&build.status))
            && filter
                .started_after
                .is_none_or(|after| build.started_at > after)
            && filter
                .started_before
                .is_none_or(|before| build.started_at < before)
            && page
                .cursor
                .as_ref()
                .is_none_or(|cursor| position(build) < *cursor)
    };
    let kept = components.iter().flat_map(|component| &component.builds);
    let mut builds: Vec<_> = kept.map(Kept::record).filter(lets_through).collect();
    builds.sort_by_key(|build| std::cmp::Reverse(position(build)));
    let limit = page.limit.max(1) as usize;
    let has_more = builds.len() > limit;
    builds.truncate(limit);
    let next = builds.last().map(position).filter(|_| has_more);
    Ok(BuildPage {
        items: builds,
        next,
    })
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::history::Payload;

    use super::*;

    fn run(id: &str) -> NewBuild {
        let metadata = "{}".to_owned();
        NewBuild {
            component: "shop".into(),
            run_id: id.into(),
            started_at: 1,
            lease_ttl_ms: 1000,
            metadata,
        }
    }

    fn events(range: std::ops::Range<u64>) -> Vec<Event> {
        let event = |seq| Event {
            seq,
            at: 1,
            kind: "k".into(),
            step: None,
            payload: Payload::Json("{}".into()),
        };
        range.map(event).collect()
    }

    #[test]
    fn a_run_keeps_its_number() {
        let mut shop = Component::default();
        let numbers: Vec<_> = ["a", "b", "a", "c"]
            .map(|id| shop.begin(run(id), 0).build.number)
            .into();
        assert_eq!(numbers, [1, 2, 1, 3]);
    }

    #[test]
    fn events_are_stored_once_and_without_a_gap() {
        let mut shop = Component::default();
        let token = shop.begin(run("a"), 0).lease.token;
        let kept = shop.build(1).unwrap();
        for (range, expected) in [
            (0..3, WriteOutcome::Stored(3)),
            (0..3, WriteOutcome::Stored(3)),
            (2..5, WriteOutcome::Stored(5)),
            (6..7, WriteOutcome::Gap(5)),
        ] {
            assert_eq!(
                kept.append(&token, range.start, events(range.clone())),
                expected,
                "{range:?}"
            );
        }
        assert_eq!(kept.read(None, 1, 100).items, events(1..5));
        assert_eq!(
            kept.finish(&token, 4, Status::Success, 9),
            WriteOutcome::Gap(5)
        );
        assert_eq!(
            kept.finish(&token, 5, Status::Success, 9),
            WriteOutcome::Stored(5)
        );
    }

    #[test]
    fn who_takes_a_build_over_fences_the_other() {
        let mut shop = Component::default();
        let (old, new) = (shop.begin(run("a"), 0).lease, shop.begin(run("a"), 0).lease);
        assert!(new.fence > old.fence);
        let kept = shop.build(1).unwrap();
        assert_eq!(
            kept.append(&old.token, 0, events(0..1)),
            WriteOutcome::Fenced
        );
        assert_eq!(
            kept.append(&new.token, 0, events(0..1)),
            WriteOutcome::Stored(1)
        );
    }

    #[test]
    fn a_lock_is_one_owners_until_it_runs_out() {
        let mut locks = Component::default();
        let is_acquired = |outcome| matches!(outcome, LockOutcome::Acquired(_));
        assert!(is_acquired(locks.acquire("prod", "a", 100, 0)));
        assert!(!is_acquired(locks.acquire("prod", "b", 100, 99)));
        assert!(is_acquired(locks.acquire("prod", "b", 100, 100)));
    }
}
