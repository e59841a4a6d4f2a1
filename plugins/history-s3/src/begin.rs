//! Giving numbers.
//!
//! A number is given by making `builds/<component>/<n>`, which the store lets one writer do only. A writer tries the number
//! after the highest that it knows of, then the next and the next, so there is never a gap.
//!
//! Before that it writes down, under the run's id, which number it begins after. Whoever begins the run again looks from
//! there on: so a run whose number was given, but never heard of, gets it again, and no second one.

use dcd_plugin_sdk::history::{Grant, NewBuild};
use dcd_plugin_sdk::{Error, Help as _, log, serde_json};
use serde::{Deserialize, Serialize};

use crate::document::{self, Change, Version};
use crate::index::{self, Index};
use crate::layout;
use crate::record::{Held, Record};
use crate::settle::thaw;
use crate::store::{Store, pause};

/// How many records are looked at together for a run that was begun before.
const WINDOW: u64 = 16;

/// What is kept under a run's id.
// As people know it.
#[allow(clippy::struct_field_names)]
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    component: String,
    run_id: String,
    /// Its number is higher.
    after: u64,
}

/// Begins a build, or takes one over that was begun.
pub(crate) fn begin(store: &Store, new: &NewBuild) -> Result<(Grant, Version<Record>), Error> {
    let key = layout::component(&new.component);
    let index = match store.get_proven(&key)? {
        Some(object) => Some(document::parse::<Index>(&key, object)?),
        None => None,
    };
    let highest = match &index {
        Some(index) => index.document.highest,
        None => highest(store, &new.component)?,
    };
    let (after, is_new) = register(store, new, highest)?;
    let version = claim(store, new, after + 1, is_new)?;
    let number = version.document.number;
    if number > highest
        && let Err(error) = note(store, new, index, number)
    {
        // The next writer begins its search lower.
        log::debug("the highest number is not noted", &[("why", &error.to_string())]);
    }
    let record = &version.document;
    let grant = Grant { build: record.id(), lease: record.lease.lease(), next_seq: record.next_seq };
    Ok((grant, version))
}

/// The highest number that a record says, for a component whose object is not there: it has no builds, or somebody deleted
/// the object.
fn highest(store: &Store, component: &str) -> Result<u64, Error> {
    let listed = store.list(&layout::builds(component), None, usize::MAX)?;
    Ok(listed.last().and_then(|object| layout::number_of(&object.key)).unwrap_or(0))
}

/// Writes down after which number the run is looked for; what was written first counts. Whether it was this.
fn register(store: &Store, new: &NewBuild, after: u64) -> Result<(u64, bool), Error> {
    let key = layout::run(&new.component, &new.run_id);
    let run = Run { component: new.component.clone(), run_id: new.run_id.clone(), after };
    if store.create(&key, &serde_json::to_vec(&run)?)?.is_some() {
        return Ok((after, true));
    }
    let object =
        store.get(&key)?.ok_or_else(|| Error::unavailable(format!("{key} is there, and cannot be read")))?;
    let run: Run = serde_json::from_slice(&object.bytes).context(format!("{key} is damaged"))?;
    Ok((run.after, false))
}

/// Takes the first number from this one on that nobody has; or the build over that the run has already.
fn claim(store: &Store, new: &NewBuild, mut first: u64, is_new: bool) -> Result<Version<Record>, Error> {
    let mut record = Record::new(new, first, store.now())?;
    for turn in 0.. {
        // A run that was begun before may have any of the numbers that are taken; and so may this one, whose earlier try was
        // carried out though its answer was lost.
        if turn > 0 || !is_new {
            match find(store, new, first)? {
                Ok(free) => record.number = free,
                Err(version) if version.document.lease == record.lease => return Ok(version),
                Err(version) => return take_over(store, new, version),
            }
        }
        let key = layout::build(&new.component, record.number);
        if let Some(etag) = store.create(&key, &document::to_json(&record)?)? {
            return Ok(Version { document: record, etag });
        }
        first = record.number;
        // Many begin at once: so not all at the same moment again.
        pause(turn)?;
    }
    Err(Error::unavailable("there is no number left"))
}

/// The build that the run has, among those from this number on; else the first number that is free.
fn find(store: &Store, new: &NewBuild, mut first: u64) -> Result<Result<u64, Version<Record>>, Error> {
    let mut window = 1;
    loop {
        let numbers = first..first + window;
        let keys: Vec<_> = numbers.clone().map(|number| layout::build(&new.component, number)).collect();
        for ((number, key), object) in numbers.zip(&keys).zip(store.get_all(&keys)?) {
            let Some(object) = object else { return Ok(Ok(number)) };
            let version: Version<Record> = document::parse(key, object)?;
            if version.document.run_id == new.run_id {
                return Ok(Err(version));
            }
        }
        first += window;
        window = (window * 2).min(WINDOW);
    }
}

/// Gives a new lease of a build that was begun before.
fn take_over(store: &Store, new: &NewBuild, version: Version<Record>) -> Result<Version<Record>, Error> {
    let key = layout::build(&new.component, version.document.number);
    let decide = |record: &mut Record| {
        thaw(store, record)?;
        record.lease = Held::new(record.lease.fence + 1, store.now(), new.lease_ttl_ms)?;
        record.revise();
        Ok(Change::Write(()))
    };
    let updated = document::update(store, &key, Some(version), None, decide)?;
    updated.map(|((), version)| version).ok_or_else(|| Error::not_found(format!("{key} is gone")))
}

/// Notes that a number was given.
fn note(store: &Store, new: &NewBuild, index: Option<Version<Index>>, number: u64) -> Result<(), Error> {
    let decide = |index: &mut Index| {
        if index.highest >= number {
            return Ok(Change::Leave(()));
        }
        index.highest = number;
        Ok(Change::Write(()))
    };
    index::update(store, &new.component, index, decide).map(|_| ())
}
