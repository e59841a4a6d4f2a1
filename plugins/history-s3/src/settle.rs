//! Putting builds into segments, once they do not change any more.
//!
//! It is done by whoever finishes a build whose number is a multiple of [`STEP`]. Builds that are not finished are no
//! hindrance: they are noted as loose, which means that lists read them from their records, and come in later.
//!
//! Three things keep a list from showing what is not so any more. An entry of a segment gives way to a newer one only. After
//! the builds were moved, their records are looked at again, and those that changed meanwhile are made loose. And a lost
//! build, which its runner may still go on with, is marked in its record when it is moved: who writes that record again has
//! it loose before.

use std::collections::BTreeMap;

use dcd_plugin_sdk::Error;

use crate::document::{self, Change, Version};
use crate::index::{self, Index};
use crate::record::{Entry, Record};
use crate::store::Store;
use crate::{layout, segment};

/// How many builds are moved at once, at least.
pub(crate) const STEP: u64 = 20;
/// How many are moved at once, at most.
const MOST: u64 = 100;
/// How long a lost build is left alone.
const LONG: u64 = 24 * 60 * 60 * 1000;

/// Takes a lost build out of its segment, before its record is written.
pub(crate) fn thaw(store: &Store, record: &mut Record) -> Result<(), Error> {
    if record.settled {
        index::loosen(store, &record.component, &[record.number])?;
        record.settled = false;
    }
    Ok(())
}

/// A build that can be moved.
struct Final {
    entry: Entry,
    key: String,
    etag: String,
}

/// What was found of the builds that are to be moved.
#[derive(Default)]
struct Found {
    finals: Vec<Final>,
    open: Vec<u64>,
}

/// Moves builds of a component into segments, if there are enough of them.
pub(crate) fn settle(store: &Store, component: &str) -> Result<(), Error> {
    let key = layout::component(component);
    let Some(version) = document::read::<Index>(store, &key)? else { return Ok(()) };
    let before = version.document.clone();
    let last = before.highest.min(before.through + MOST);
    if last < before.through + STEP {
        return Ok(());
    }
    let fresh = before.through + 1..=last;
    let loose = before.loose.iter().copied().filter(|number| *number <= before.through);
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let numbers: Vec<_> = loose.take(most).chain(fresh).collect();
    let found = look(store, component, &numbers)?;

    let mut segments: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
    for Final { entry, .. } in &found.finals {
        segments.entry(layout::segment_of(entry.number)).or_default().push(entry.clone());
    }
    for (segment, entries) in &segments {
        segment::merge(store, component, *segment, entries)?;
    }
    let decide = |index: &mut Index| {
        // Another was quicker, or a lost build goes on.
        if index.through != before.through || index.loosened != before.loosened {
            return Ok(Change::Leave(()));
        }
        index.through = last;
        index.loose.retain(|number| !numbers.contains(number) || found.open.contains(number));
        index.loose.extend(&found.open);
        index.loose.sort_unstable();
        index.loose.dedup();
        for (segment, entries) in &segments {
            index.widen(*segment, entries);
        }
        Ok(Change::Write(()))
    };
    index::update(store, component, Some(version), decide)?;
    look_again(store, component, &found.finals)
}

fn look(store: &Store, component: &str, numbers: &[u64]) -> Result<Found, Error> {
    let keys: Vec<_> = numbers.iter().map(|number| layout::build(component, *number)).collect();
    let mut found = Found::default();
    let objects = store.get_all(&keys)?;
    for (key, object) in keys.into_iter().zip(objects) {
        // Somebody deleted it.
        let Some(object) = object else { continue };
        let version: Version<Record> = document::parse(&key, object)?;
        let number = version.document.number;
        let version =
            if version.document.is_finished() { Some(version) } else { mark(store, &key, version)? };
        match version {
            Some(Version { document, etag }) => {
                found.finals.push(Final { entry: document.entry(), key, etag });
            }
            None => found.open.push(number),
        }
    }
    Ok(found)
}

/// Marks a build that was lost long ago; none when it is not.
fn mark(store: &Store, key: &str, version: Version<Record>) -> Result<Option<Version<Record>>, Error> {
    let long_ago = store.now().saturating_sub(LONG);
    if !version.document.is_lost(long_ago) {
        return Ok(None);
    }
    let decide = |record: &mut Record| {
        if !record.is_lost(long_ago) {
            return Ok(Change::Leave(false));
        }
        // Also one that is marked: so that who is about to write the version that was read cannot.
        record.settled = true;
        record.revise();
        Ok(Change::Write(true))
    };
    let updated = document::update(store, key, Some(version), None, decide)?;
    Ok(updated.filter(|(is_marked, _)| *is_marked).map(|(_, version)| version))
}

/// Makes those loose whose records changed since they were read.
fn look_again(store: &Store, component: &str, finals: &[Final]) -> Result<(), Error> {
    let Some(first) = finals.first() else { return Ok(()) };
    let first = finals.iter().map(|one| one.entry.number).min().unwrap_or(first.entry.number);
    let last = finals.iter().map(|one| one.entry.number).max().unwrap_or(first);
    let mut tags = BTreeMap::new();
    // One list is cheaper than to read each of them again, unless a few are far from the rest.
    if last - first < 2 * MOST {
        let after = layout::build(component, first - 1);
        let many = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        let listed = store.list(&layout::builds(component), Some(&after), many)?;
        tags.extend(listed.into_iter().map(|object| (object.key, object.etag)));
    }
    // Not all stores have the tags in their lists.
    let is_listed = |one: &&Final| tags.get(&one.key).is_some_and(|etag| !etag.is_empty());
    let (listed, others): (Vec<_>, Vec<_>) = finals.iter().partition(is_listed);
    let mut changed: Vec<u64> = listed
        .into_iter()
        .filter(|one| !is_same(&tags[&one.key], &one.etag))
        .map(|one| one.entry.number)
        .collect();
    let keys: Vec<_> = others.iter().map(|one| one.key.clone()).collect();
    for (one, object) in others.iter().zip(store.get_all(&keys)?) {
        if object.is_some_and(|object| object.etag != one.etag) {
            changed.push(one.entry.number);
        }
    }
    if changed.is_empty() { Ok(()) } else { index::loosen(store, component, &changed) }
}

/// As [`look_again`], of records that were read.
#[cfg(test)]
pub(crate) fn look_again_at(
    store: &Store,
    component: &str,
    read: &[(Version<Record>, &str)],
) -> Result<(), Error> {
    let of = |(version, key): &(Version<Record>, &str)| Final {
        entry: version.document.entry(),
        key: (*key).to_owned(),
        etag: version.etag.clone(),
    };
    look_again(store, component, &read.iter().map(of).collect::<Vec<_>>())
}

/// Some lists leave out the quotation marks.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_matches('"') == other.trim_matches('"')
}

/// Brings a build's entry up to date, if it is in a segment.
pub(crate) fn refresh(store: &Store, record: &Record) -> Result<(), Error> {
    let key = layout::component(&record.component);
    let index = document::read::<Index>(store, &key)?;
    if index.is_some_and(|index| index.document.is_settled(record.number)) {
        let segment = layout::segment_of(record.number);
        segment::merge(store, &record.component, segment, &[record.entry()])?;
    }
    Ok(())
}
