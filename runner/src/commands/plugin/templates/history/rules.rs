//! What may be written when, and what is read. No I/O and no clock, so that each rule can be tested natively.

use std::collections::BTreeMap;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{
    Build, BuildFilter, BuildId, BuildPage, Grant, Lease, LockQueue, NewBuild, Page, Status,
    WriteOutcome,
};
use serde::{Deserialize, Serialize};

/// All locks, by name.
pub(crate) type Locks = BTreeMap<String, LockQueue>;

/// A component's builds, the first of which has the number 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Component {
    builds: Vec<Kept>,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) build: Build,
    lease: Lease,
    pub(crate) batches: Vec<Batch>,
}

/// Events of a build: those of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) from: u64,
    /// The first that is not in it.
    pub(crate) next: u64,
    pub(crate) file: String,
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
    pub(crate) fn begin(&mut self, new: &NewBuild, now: u64) -> Grant {
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
                    component: new.component.clone(),
                    number: at as u64 + 1,
                },
                run_id: new.run_id.clone(),
                status: Status::Running,
                started_at: new.started_at,
                finished_at: None,
                lease_expires_at: 0,
                as_of: 0,
                next_seq: 0,
                metadata: new.metadata.clone(),
                summary: None,
                pruned: false,
            };
            self.builds.push(Kept {
                build,
                lease: lease.clone(),
                batches: Vec::new(),
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
}

impl Kept {
    /// The first sequence number that is not stored.
    pub(crate) fn tail(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.build.status != Status::Running
    }

    pub(crate) fn record(&self, now: u64) -> Build {
        Build {
            next_seq: self.tail(),
            lease_expires_at: self.lease.expires_at,
            as_of: now,
            ..self.build.clone()
        }
    }

    /// A lease that ran out holds until somebody takes the build over.
    fn is_held(&self, token: &str) -> bool {
        self.lease.token == token
    }

    /// What to answer without storing anything; none when some of these events are new.
    pub(crate) fn refuses(&self, token: &str, first_seq: u64, next: u64) -> Option<WriteOutcome> {
        let tail = self.tail();
        if !self.is_held(token) {
            Some(WriteOutcome::Fenced)
        } else if first_seq > tail {
            Some(WriteOutcome::Gap(tail))
        } else {
            (next <= tail).then_some(WriteOutcome::Stored(tail))
        }
    }

    /// Takes a file of events.
    pub(crate) fn append(&mut self, token: &str, from: u64, next: u64, file: &str) -> WriteOutcome {
        if let Some(outcome) = self.refuses(token, from, next) {
            return outcome;
        }
        if from < self.tail() {
            return WriteOutcome::Gap(self.tail());
        }
        self.batches.push(Batch {
            from,
            next,
            file: file.to_owned(),
        });
        self.build.pruned = false;
        WriteOutcome::Stored(next)
    }

    pub(crate) fn finish(
        &mut self,
        token: &str,
        final_seq: u64,
        status: Status,
        at: u64,
        summary: &str,
    ) -> WriteOutcome {
        if !self.is_held(token) {
            return WriteOutcome::Fenced;
        }
        if final_seq != self.tail() {
            return WriteOutcome::Gap(self.tail());
        }
        self.build.status = status;
        self.build.finished_at = Some(at);
        self.build.summary = Some(summary.to_owned());
        WriteOutcome::Stored(final_seq)
    }

    pub(crate) fn renew(&mut self, token: &str, ttl_ms: u32, now: u64) -> Option<Lease> {
        if !self.is_held(token) {
            return None;
        }
        self.lease.expires_at = now + u64::from(ttl_ms);
        Some(self.lease.clone())
    }

    /// Whether its output may be dropped.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.is_finished() || self.lease.expires_at < now
    }
}

/// Newest first. The cursor is what is after the last build of a page, so builds that begin meanwhile change nothing.
pub(crate) fn list(
    components: &[Component],
    filter: &BuildFilter,
    page: &Page,
    now: u64,
) -> BuildPage {
    let position = |build: &Build| {
        format!(
            "{:020}/{:020}/{}",
            build.started_at, build.id.number, build.id.component
        )
    };
    let is_wanted = |build: &Build| {
        let cursor = page.cursor.as_ref();
        filter.fits(build) && cursor.is_none_or(|cursor| position(build) < *cursor)
    };
    let kept = components.iter().flat_map(|component| &component.builds);
    let mut builds: Vec<_> = kept
        .map(|kept| kept.record(now))
        .filter(is_wanted)
        .collect();
    builds.sort_by_key(|build| std::cmp::Reverse(position(build)));
    // A page has to fit into a call.
    let limit = page.limit.clamp(1, 1000) as usize;
    let has_more = builds.len() > limit;
    builds.truncate(limit);
    let next = builds.last().map(position).filter(|_| has_more);
    BuildPage {
        items: builds,
        next,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_run_keeps_its_number() {
        let mut shop = Component::default();
        let numbers: Vec<_> = ["a", "b", "a", "c"]
            .map(|id| shop.begin(&run(id), 0).build.number)
            .into();
        assert_eq!(numbers, [1, 2, 1, 3]);
    }

    #[test]
    fn events_are_stored_once_and_without_a_gap() {
        let mut shop = Component::default();
        let token = shop.begin(&run("a"), 0).lease.token;
        let kept = shop.build(1).unwrap();
        for (from, next, expected) in [
            (0, 3, WriteOutcome::Stored(3)),
            (0, 3, WriteOutcome::Stored(3)),
            (2, 5, WriteOutcome::Gap(3)),
            (3, 5, WriteOutcome::Stored(5)),
            (6, 7, WriteOutcome::Gap(5)),
        ] {
            let outcome = kept.append(&token, from, next, "file");
            assert_eq!(outcome, expected, "{from} to {next}");
        }
        assert_eq!(kept.refuses(&token, 2, 7), None);
        let known = Some(WriteOutcome::Stored(5));
        assert_eq!(kept.refuses(&token, 2, 5), known);
        let mut finish = |seq| kept.finish(&token, seq, Status::Success, 9, "{}");
        assert_eq!(finish(4), WriteOutcome::Gap(5));
        assert_eq!(finish(5), WriteOutcome::Stored(5));
    }

    #[test]
    fn who_takes_a_build_over_fences_the_other() {
        let mut shop = Component::default();
        let old = shop.begin(&run("a"), 0).lease;
        let new = shop.begin(&run("a"), 0).lease;
        assert!(new.fence > old.fence);
        let kept = shop.build(1).unwrap();
        let fenced = kept.append(&old.token, 0, 1, "file");
        assert_eq!(fenced, WriteOutcome::Fenced);
        let stored = kept.append(&new.token, 0, 1, "file");
        assert_eq!(stored, WriteOutcome::Stored(1));
    }

    #[test]
    fn output_is_dropped_of_builds_that_are_over() {
        let mut shop = Component::default();
        let token = shop.begin(&run("a"), 0).lease.token;
        let kept = shop.build(1).unwrap();
        assert!(!kept.is_over(999) && kept.is_over(1001));
        kept.finish(&token, 0, Status::Failure, 9, "{}");
        assert!(kept.is_over(999));
    }
}
