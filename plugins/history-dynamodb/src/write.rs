//! Appending, finishing, and the right to do so.
//!
//! A chunk is written first, then the build's record says that it counts, on the condition that the lease and the tail
//! are still what the writer thinks: so of two writers one gets on, and what the other wrote was never there. A chunk's
//! key has the lease's fence, so that they do not stand in each other's way. A chunk that is there already is one that
//! this lease's holder wrote before an answer was lost: then it counts, with as many events as it has.
//!
//! Each chunk is counted before the next is written. Hence what was not counted begins where something that was counted
//! begins, and `chunk::counted` can tell which is which.

use std::cell::RefCell;

use dcd_plugin_sdk::history::{BuildId, Event, Lease, Status, WriteOutcome};
use dcd_plugin_sdk::{Error, log};

use crate::chunk;
use crate::item::{self, Item};
use crate::keys;
use crate::record::{self, Record};
use crate::request::Request;
use crate::table::{Table, random};

/// How often the record is looked at anew when it is not what it was thought to be.
const TRIES: u32 = 4;

/// What is known of the build that this instance writes, so that it need not be read each time.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub(crate) build: BuildId,
    pub(crate) token: String,
    pub(crate) fence: u64,
    pub(crate) next: u64,
}

/// Where a build ends, once it was looked up that it may be written.
enum Found {
    Tail(Tail),
    Finished(u64),
    Fenced,
}

pub(crate) fn append(
    table: &Table,
    known: &RefCell<Option<Tail>>,
    id: &BuildId,
    lease: &str,
    first_seq: u64,
    events: &[Event],
) -> Result<WriteOutcome, Error> {
    check_order(first_seq, events)?;
    let end = first_seq + events.len() as u64;
    let mut tail = known.take().filter(|tail| tail.build == *id && tail.token == lease);
    for _ in 0..TRIES {
        // Only the record can say no, or that there is nothing to be done.
        let is_sure = tail.as_ref().is_some_and(|tail| first_seq <= tail.next && tail.next < end);
        let mut at = match tail.take().filter(|_| is_sure) {
            Some(tail) => tail,
            None => match look(table, id, lease)? {
                Found::Fenced => return Ok(WriteOutcome::Fenced),
                Found::Finished(next) if first_seq <= next && end > next => {
                    return Err(Error::other(format!(
                        "build {} is finished and takes no more events",
                        id.number
                    )));
                }
                Found::Finished(next) if first_seq > next => return Ok(WriteOutcome::Gap(next)),
                Found::Finished(next) => return Ok(WriteOutcome::Stored(next)),
                Found::Tail(tail) if first_seq > tail.next => return Ok(WriteOutcome::Gap(tail.next)),
                Found::Tail(tail) => tail,
            },
        };
        if store_all(table, &mut at, first_seq, events)? {
            let next = at.next;
            known.replace(Some(at));
            return Ok(WriteOutcome::Stored(next));
        }
    }
    Err(Error::unavailable(format!("build {} of {} is being written by others", id.number, id.component)))
}

/// The events must follow each other, or a place would not say which one is there.
fn check_order(first_seq: u64, events: &[Event]) -> Result<(), Error> {
    match events.iter().zip(first_seq..).find(|(event, seq)| event.seq != *seq) {
        Some((event, seq)) => {
            let message = format!("an event has the sequence number {} in the place of {seq}", event.seq);
            Err(Error::other(message))
        }
        None => Ok(()),
    }
}

fn look(table: &Table, id: &BuildId, lease: &str) -> Result<Found, Error> {
    let record = record::get(table, id)?;
    let next = record.build.next_seq;
    Ok(if record.lease != lease {
        Found::Fenced
    } else if record.is_finished() {
        Found::Finished(next)
    } else {
        Found::Tail(Tail { build: id.clone(), token: record.lease, fence: record.fence, next })
    })
}

/// Stores what is behind the tail, chunk by chunk. False: the record is not what `tail` says.
fn store_all(table: &Table, tail: &mut Tail, first_seq: u64, events: &[Event]) -> Result<bool, Error> {
    loop {
        let known = usize::try_from(tail.next - first_seq).unwrap_or(usize::MAX);
        let new = events.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Ok(true);
        }
        let end = store(table, tail, &new[..chunk::cut(new)])?;
        if !count(table, tail, end)? {
            return Ok(false);
        }
        tail.next = end;
    }
}

/// Writes a chunk that does not count yet, and answers where it ends.
fn store(table: &Table, tail: &Tail, events: &[Event]) -> Result<u64, Error> {
    let items = chunk::write(&tail.build, tail.fence, events, &random()?[..16])?;
    let parts: Vec<_> = items.parts.iter().map(key_of).collect::<Result<_, _>>()?;
    for part in items.parts {
        table.put(Request::put(part))?;
    }
    if table.put(Request::put(items.head).condition("attribute_not_exists(pk)"))? {
        return Ok(tail.next + events.len() as u64);
    }
    let key = keys::chunk(&tail.build, tail.next, tail.fence);
    let head = table.get(&key)?.ok_or_else(|| Error::unavailable("a chunk of the build is gone"))?;
    let head = chunk::Head::read(&head)?;
    // The parts are the same when it was this very request whose answer was lost.
    if head.parts(&tail.build) != parts {
        discard(table, &parts);
    }
    Ok(head.end)
}

fn key_of(item: &Item) -> Result<item::Key, Error> {
    Ok(item::Key::new(item::get_text(item, "pk")?, item::get_text(item, "sk")?))
}

/// What nothing leads to costs only room, so it is no error that it stays.
fn discard(table: &Table, keys: &[item::Key]) {
    for key in keys {
        if let Err(error) = table.delete(Request::delete(key)) {
            log::debug(&format!("an item without use is left in the table: {error}"), &[]);
        }
    }
}

/// Moves the tail, and with it what was written up to there counts.
fn count(table: &Table, tail: &Tail, end: u64) -> Result<bool, Error> {
    let update = Request::update(&keys::build(&tail.build), "SET #next = :end")
        .with("ReturnValues", "NONE")
        .condition("#lease = :lease AND #next = :next AND #status = :running")
        .value(":end", item::number(end))
        .value(":lease", item::text(&tail.token))
        .value(":next", item::number(tail.next))
        .value(":running", item::text(record::RUNNING));
    Ok(table.update(update)?.is_some())
}

pub(crate) fn finish(
    table: &Table,
    id: &BuildId,
    lease: &str,
    final_seq: u64,
    status: Status,
    at: u64,
    summary: &str,
) -> Result<WriteOutcome, Error> {
    let update =
        Request::update(&keys::build(id), "SET #status = :status, #finished = :at, #summary = :summary")
            .with("ReturnValues", "NONE")
            .condition("#lease = :lease AND #next = :next AND #status = :running")
            .value(":status", item::text(record::status(status)))
            .value(":at", item::number(at))
            .value(":summary", record::write_text(summary)?)
            .value(":lease", item::text(lease))
            .value(":next", item::number(final_seq))
            .value(":running", item::text(record::RUNNING));
    if table.update(update)?.is_some() {
        return Ok(WriteOutcome::Stored(final_seq));
    }
    let record = record::get(table, id)?;
    let next = record.build.next_seq;
    if record.lease != lease {
        Ok(WriteOutcome::Fenced)
    } else if final_seq != next {
        Ok(WriteOutcome::Gap(next))
    } else if record.build.status == status {
        Ok(WriteOutcome::Stored(next))
    } else if record.is_finished() {
        let as_what = record::status(record.build.status);
        Err(Error::other(format!("build {} is finished, as {as_what}", id.number)))
    } else {
        Err(Error::unavailable(format!("build {} of {} is being written by others", id.number, id.component)))
    }
}

pub(crate) fn renew(table: &Table, id: &BuildId, lease: &str, ttl_ms: u32) -> Result<Option<Lease>, Error> {
    let expires = table.now().saturating_add(ttl_ms.into());
    let update = Request::update(&keys::build(id), "SET #expires = :expires")
        .condition("#lease = :lease")
        .value(":expires", item::number(expires))
        .value(":lease", item::text(lease));
    match table.update(update)? {
        Some(item) => Ok(Some(Record::read(&item, table.now())?.lease())),
        // An unknown build is no lost lease.
        None => record::get(table, id).map(|_| None),
    }
}
