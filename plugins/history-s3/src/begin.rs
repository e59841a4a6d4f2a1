//! Giving numbers.
//!
//! A number is given by making `builds/<component>/<n>`, which the store lets one writer do only. A writer tries the number
//! after the highest that it knows of, and goes on to the next that is free when it is taken, so there is never a gap.
//!
//! Before each try it writes down, under the run's id, which number it tries. So a run has that number or none; whoever
//! begins it again looks whose it is, and tries no other before it knows that it is another's. A run whose number was given,
//! but never heard of, gets it again, and no second one.

use dcd_plugin_sdk::history::{Grant, NewBuild};
use dcd_plugin_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::document::{self, Change, Document, Version};
use crate::index::{self, Index};
use crate::record::{Held, Record};
use crate::settle::thaw;
use crate::store::Store;
use crate::{layout, store};

/// What is kept under a run's id.
// As people know it.
#[allow(clippy::struct_field_names)]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    component: String,
    run_id: String,
    /// The number that it has, or tries to have.
    number: u64,
    stamp: String,
}

impl Document for Run {
    fn stamp(&self) -> &str {
        &self.stamp
    }

    fn set_stamp(&mut self, stamp: String) {
        self.stamp = stamp;
    }
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
    let (run, is_new) = register(store, new, highest + 1)?;
    let version = claim(store, new, run, is_new)?;
    let number = version.document.number;
    // An earlier call for this run may have been the first of the component, and have noted nothing.
    if (number > highest || index.is_none())
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

/// Writes down which number the run tries first, unless it was begun before. Whether it was not.
fn register(store: &Store, new: &NewBuild, number: u64) -> Result<(Version<Run>, bool), Error> {
    let key = layout::run(&new.component, &new.run_id);
    let run =
        Run { component: new.component.clone(), run_id: new.run_id.clone(), number, stamp: store::random()? };
    if let Some(etag) = store.create(&key, &document::to_json(&run)?)? {
        return Ok((Version { document: run, etag }, true));
    }
    let there = document::read(store, &key)?;
    let there = there.ok_or_else(|| Error::unavailable(format!("{key} is there, and cannot be read")))?;
    Ok((there, false))
}

/// Takes the number that is written down for the run, or the next that is free; or the build over that the run has already.
fn claim(
    store: &Store,
    new: &NewBuild,
    mut run: Version<Run>,
    is_new: bool,
) -> Result<Version<Record>, Error> {
    let mut record = Record::new(new, run.document.number, store.now())?;
    // Whether nobody can have tried this number for this run.
    let mut is_untried = is_new;
    let mut backoff = Backoff::of_many(store);
    loop {
        record.number = run.document.number;
        let key = layout::build(&new.component, record.number);
        if is_untried && let Some(etag) = store.create(&key, &document::to_json(&record)?)? {
            return Ok(Version { document: record, etag });
        }
        match document::read::<Record>(store, &key)? {
            None => is_untried = true,
            // That it is there may be due to an earlier try of this very call, whose answer was lost.
            Some(version) if version.document.run_id == new.run_id => {
                let is_ours = version.document.lease.token == record.lease.token;
                return if is_ours { Ok(version) } else { take_over(store, new, version) };
            }
            Some(_) => {
                if is_untried {
                    // Many begin at once: so not all at the same moment again.
                    backoff.wait()?;
                }
                // After the pause, as the others go on meanwhile.
                let next = record.number.max(noted(store, new)?) + 1;
                (is_untried, run) = try_next(store, new, run, next)?;
                record.lease.renew(store.now(), new.lease_ttl_ms);
            }
        }
    }
}

/// The highest number that is known to be given.
fn noted(store: &Store, new: &NewBuild) -> Result<u64, Error> {
    let index = document::read::<Index>(store, &layout::component(&new.component))?;
    Ok(index.map_or(0, |index| index.document.highest))
}

/// Writes down that the run tries another number, as the one that it tried is another's. Whether this call wrote it: or
/// another instance begins the same run.
fn try_next(
    store: &Store,
    new: &NewBuild,
    run: Version<Run>,
    next: u64,
) -> Result<(bool, Version<Run>), Error> {
    let key = layout::run(&new.component, &new.run_id);
    let tried = run.document.number;
    let decide = |run: &mut Run| {
        if run.number != tried {
            return Ok(Change::Leave(false));
        }
        run.number = next;
        Ok(Change::Write(true))
    };
    let updated = document::update(store, &key, Some(run), None, decide)?;
    updated.ok_or_else(|| Error::not_found(format!("{key} is gone")))
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
