//! Giving numbers.
//!
//! A number is given by putting the build's record under it, which succeeds for one writer only: the number after the
//! highest, then the next and the next, so there is never a gap. No counter is needed: the highest is the last item of
//! the component's partition.
//!
//! Before that the run writes down which number was the highest then (`run#<component>` / `<run id>`). So whoever begins
//! the same run again looks from there on, and finds the number that the run has, if it has one; and takes another only
//! after it saw that all of them are other runs'. That holds for two who begin the same run at the same time, too.
//!
//! The place in the list of starts is written before the record, so that no build is missing in it; and once more where
//! another run was quicker. A place that leads to another run's build is passed over by lists. It is of a writer that died
//! before it had a number, or just then: that one's place is made good when the run is begun again.

use std::thread;
use std::time::{Duration, Instant};

use dcd_plugin_sdk::history::{BuildId, Grant, Lease, NewBuild};
use dcd_plugin_sdk::{Error, Fault};

use crate::item::{self, Item};
use crate::keys;
use crate::record::{self, Record};
use crate::request::Request;
use crate::table::{Table, random, spread};

/// How long others may be quicker before the runner is told to try again: less than a call may take.
const PATIENCE: Duration = Duration::from_secs(18);
/// The pause before the next number is tried: up to so many times what the last try took, and never longer than this.
const PAUSE: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

pub(crate) fn begin(table: &Table, new: &NewBuild) -> Result<Grant, Error> {
    let mut highest = latest(table, &new.component)?;
    let key = keys::run(&new.component, &new.run_id);
    let intent = key.with([("after", item::number(highest))]);
    let is_new = table.put(Request::put(intent).condition("attribute_not_exists(pk)"))?;
    let after = if is_new {
        highest
    } else {
        let intent = table.get(&key)?.ok_or_else(|| Error::unavailable("the run's item is gone"))?;
        item::get_number(&intent, "after")?
    };
    if !is_new {
        match look(table, new, after)? {
            Seen::Own(number) => return take_over(table, new, number),
            Seen::Others(number) => highest = number,
        }
    }
    write_start(table, new.started_at, &new.component, &new.run_id, highest + 1)?;
    if let Some(grant) = claim(table, new, highest + 1)? {
        return Ok(grant);
    }
    compete(table, new, highest)
}

/// Gets the next number, though others begin builds just now, too. All up to `highest` are others'.
fn compete(table: &Table, new: &NewBuild, mut highest: u64) -> Result<Grant, Error> {
    let start = Instant::now();
    loop {
        let try_start = Instant::now();
        match look(table, new, highest)? {
            Seen::Own(number) => return take_over(table, new, number),
            Seen::Others(number) => highest = number,
        }
        if let Some(grant) = claim(table, new, highest + 1)? {
            write_start(table, new.started_at, &new.component, &new.run_id, highest + 1)?;
            return Ok(grant);
        }
        // So that few ask at once, however many there are and however slow the server; and for the same time on average,
        // so that none comes last each time.
        let took = try_start.elapsed();
        let pause = spread((took * PAUSE).min(LONGEST_PAUSE));
        if start.elapsed() + pause + took > PATIENCE {
            let message = format!("many builds of {} begin just now", new.component);
            return Err(Error::unavailable(Fault::new(message).retry_after_ms(500)));
        }
        thread::sleep(pause);
    }
}

/// The component's highest number; 0 when it has none.
fn latest(table: &Table, component: &str) -> Result<u64, Error> {
    let query = Request::query(&keys::builds(component), "0", "~").backwards().limit(1).only("#pk, #sk");
    table.query(query)?.items.first().map_or(Ok(0), number)
}

fn number(item: &Item) -> Result<u64, Error> {
    item::get_text(item, "sk")?.parse().map_err(|_| item::damaged(item, "sk"))
}

/// What there is after a number.
enum Seen {
    /// The run's own build.
    Own(u64),
    /// Only others', up to this one.
    Others(u64),
}

fn look(table: &Table, new: &NewBuild, after: u64) -> Result<Seen, Error> {
    let id = |number| BuildId { component: new.component.clone(), number };
    let mut highest = after;
    loop {
        let from = keys::build(&id(highest + 1));
        let page = table.query(Request::query(&from.pk, &from.sk, "~").limit(25).only("#pk, #sk, #run"))?;
        for item in &page.items {
            highest = number(item)?;
            if item::find_text(item, "run") == Some(new.run_id.as_str()) {
                return Ok(Seen::Own(highest));
            }
        }
        if !page.more {
            return Ok(Seen::Others(highest));
        }
    }
}

/// Tries to get this number; none when another has it.
fn claim(table: &Table, new: &NewBuild, number: u64) -> Result<Option<Grant>, Error> {
    let lease =
        Lease { token: random()?, fence: 1, expires_at: table.now().saturating_add(new.lease_ttl_ms.into()) };
    let put = Request::put(record::new(number, new, &lease)?).condition("attribute_not_exists(pk)");
    let build = BuildId { component: new.component.clone(), number };
    Ok(table.put(put)?.then_some(Grant { build, lease, next_seq: 0 }))
}

/// Gives the build to who asks, and takes it from whoever had it.
fn take_over(table: &Table, new: &NewBuild, number: u64) -> Result<Grant, Error> {
    let id = BuildId { component: new.component.clone(), number };
    let expires = table.now().saturating_add(new.lease_ttl_ms.into());
    let update = Request::update(
        &keys::build(&id),
        "SET #lease = :lease, #fence = #fence + :one, #expires = :expires",
    )
    .condition("attribute_exists(pk)")
    .value(":lease", item::text(&random()?))
    .value(":one", item::number(1))
    .value(":expires", item::number(expires));
    let item = table.update(update)?.ok_or_else(|| Error::unavailable("the build's record is gone"))?;
    let record = Record::read(&item, table.now())?;
    // In case who began it first did not come to it.
    write_start(table, record.build.started_at, &id.component, &new.run_id, number)?;
    Ok(Grant { build: id, lease: record.lease(), next_seq: record.build.next_seq })
}

fn write_start(
    table: &Table,
    started_at: u64,
    component: &str,
    run_id: &str,
    number: u64,
) -> Result<(), Error> {
    let place = keys::start(started_at, component, run_id).with([("number", item::number(number))]);
    table.put(Request::put(place)).map(drop)
}
