//! A component's object: its numbers, and which of its builds are in segments.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildFilter, Status};
use serde::{Deserialize, Serialize};

use crate::document::{self, Change, Document, Version};
use crate::layout;
use crate::record::{Entry, StatusName};
use crate::store::Store;

/// What is known of a component's builds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) component: String,
    /// This number was given, and with it all below. Higher ones may have been, too.
    pub(crate) highest: u64,
    /// Up to this number builds are read from segments,
    pub(crate) through: u64,
    /// but for these, which are still to change: they are read from their records.
    pub(crate) loose: Vec<u64>,
    /// How often builds were made loose.
    pub(crate) loosened: u64,
    /// What is in each segment.
    pub(crate) segments: Vec<Span>,
    stamp: String,
}

/// What can be said of all builds of a segment, so that one that fits no filter is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) started_first: u64,
    pub(crate) started_last: u64,
    pub(crate) statuses: Vec<StatusName>,
}

impl Document for Index {
    fn stamp(&self) -> &str {
        &self.stamp
    }

    fn set_stamp(&mut self, stamp: String) {
        self.stamp = stamp;
    }
}

impl Index {
    /// That of a component that has no builds.
    pub(crate) fn new(component: &str) -> Self {
        Self { component: component.to_owned(), ..Self::default() }
    }

    /// Makes builds be read from their records.
    pub(crate) fn loosen(&mut self, numbers: &[u64]) {
        self.loose.extend(numbers);
        self.loose.sort_unstable();
        self.loose.dedup();
        self.loosened += 1;
    }

    /// Whether the build is read from a segment.
    pub(crate) fn is_settled(&self, number: u64) -> bool {
        number <= self.through && !self.loose.contains(&number)
    }

    /// Notes what a segment has got.
    pub(crate) fn widen(&mut self, segment: u64, entries: &[Entry]) {
        let index = usize::try_from(segment).unwrap_or(usize::MAX);
        if self.segments.len() <= index {
            self.segments.resize(index.saturating_add(1), Span::default());
        }
        for entry in entries {
            self.segments[index].widen(entry);
        }
    }

    /// The latest that a build of the segment started.
    pub(crate) fn started_last(&self, segment: u64) -> u64 {
        let span = usize::try_from(segment).ok().and_then(|index| self.segments.get(index));
        span.map_or(u64::MAX, |span| span.started_last)
    }

    /// Whether a segment may have builds that fit.
    pub(crate) fn may_fit(&self, segment: u64, filter: &BuildFilter) -> bool {
        let span = usize::try_from(segment).ok().and_then(|index| self.segments.get(index));
        span.is_some_and(|span| span.may_fit(filter))
    }
}

impl Span {
    fn widen(&mut self, entry: &Entry) {
        if self.statuses.is_empty() {
            self.started_first = entry.started_at;
        }
        self.started_first = self.started_first.min(entry.started_at);
        self.started_last = self.started_last.max(entry.started_at);
        if !self.statuses.contains(&entry.status) {
            self.statuses.push(entry.status);
        }
    }

    fn may_fit(&self, filter: &BuildFilter) -> bool {
        filter.started_after.is_none_or(|after| self.started_last > after)
            && filter.started_before.is_none_or(|before| self.started_first < before)
            && (filter.statuses.is_empty()
                || self.statuses.iter().any(|status| filter.statuses.contains(&Status::from(*status))))
    }
}

/// Changes a component's object, if there is one.
pub(crate) fn update<T>(
    store: &Store,
    component: &str,
    known: Option<Version<Index>>,
    decide: impl FnMut(&mut Index) -> Result<Change<T>, Error>,
) -> Result<Option<T>, Error> {
    let key = layout::component(component);
    let updated = document::update(store, &key, known, Some(&Index::new(component)), decide)?;
    Ok(updated.map(|(answer, _)| answer))
}

/// Has builds read from their records from now on.
pub(crate) fn loosen(store: &Store, component: &str, numbers: &[u64]) -> Result<(), Error> {
    let decide = |index: &mut Index| {
        index.loosen(numbers);
        Ok(Change::Write(()))
    };
    update(store, component, None, decide).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::line::Verbatim;

    #[test]
    fn segments_that_cannot_fit_are_known() -> Result<(), Error> {
        let entry = |number, started_at, status| {
            Ok::<_, Error>(Entry {
                number,
                run_id: "r".into(),
                status,
                started_at,
                finished_at: None,
                next_seq: 0,
                lease_expires_at: 0,
                pruned: false,
                metadata: Verbatim::new("{}")?,
                summary: None,
                revision: 1,
            })
        };
        let mut index = Index::new("shop");
        index.widen(1, &[entry(501, 100, StatusName::Success)?, entry(502, 90, StatusName::Failure)?]);
        assert_eq!(index.segments.len(), 2);
        let any = || BuildFilter {
            component: None,
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        };
        assert!(index.may_fit(1, &any()) && !index.may_fit(2, &any()));
        assert!(index.may_fit(1, &BuildFilter { started_after: Some(99), ..any() }));
        assert!(!index.may_fit(1, &BuildFilter { started_after: Some(100), ..any() }));
        assert!(!index.may_fit(1, &BuildFilter { started_before: Some(90), ..any() }));
        assert!(index.may_fit(1, &BuildFilter { statuses: vec![Status::Failure], ..any() }));
        assert!(!index.may_fit(1, &BuildFilter { statuses: vec![Status::Running], ..any() }));
        Ok(())
    }

    #[test]
    fn loose_builds_are_in_no_segment() {
        let mut index = Index { through: 10, ..Index::new("shop") };
        index.loosen(&[7, 3, 7]);
        index.loosen(&[3]);
        assert_eq!((&index.loose[..], index.loosened), (&[3, 7][..], 2));
        assert!(index.is_settled(4) && !index.is_settled(7) && !index.is_settled(11));
    }
}
