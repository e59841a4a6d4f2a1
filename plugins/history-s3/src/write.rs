//! Storing a build's events, and its end.
//!
//! An event counts when the build's record names the chunk that it is in. A batch is two writes: the chunk, under a key that
//! nobody else uses, then the record, in place of the version that was read. A writer whose lease another has got fails at
//! the second, whenever it looked: so what it stored is in no record, and never was an event.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Event, Lease, Status, WriteOutcome};
use shared::line::Verbatim;

use crate::chunk::{self, Lines};
use crate::document::{Change, Version};
use crate::layout;
use crate::record::{Chunk, Record, StatusName};
use crate::settle::thaw;
use crate::store::{Store, random};

/// A build that this instance writes: its record and the chunk that may still grow, as far as they are known.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) version: Version<Record>,
    tail: Option<Tail>,
}

/// The last chunk, when this instance wrote it.
#[derive(Clone, Debug)]
struct Tail {
    first: u64,
    name: String,
    etag: String,
    text: Vec<u8>,
}

impl Open {
    pub(crate) fn new(version: Version<Record>) -> Self {
        Self { version, tail: None }
    }
}

/// One call that stores events.
pub(crate) struct Append<'a> {
    pub(crate) store: &'a Store,
    pub(crate) token: &'a str,
    pub(crate) first_seq: u64,
    pub(crate) events: &'a [Event],
    tail: Option<Tail>,
    /// The keys that this call made, and that no record names yet.
    made: Vec<String>,
}

impl<'a> Append<'a> {
    pub(crate) fn new(store: &'a Store, token: &'a str, first_seq: u64, events: &'a [Event]) -> Self {
        Self { store, token, first_seq, events, tail: None, made: Vec::new() }
    }

    /// Goes on with what the instance knows of the build's last chunk.
    pub(crate) fn after(mut self, open: Option<&mut Open>) -> Self {
        self.tail = open.and_then(|open| open.tail.take());
        self
    }

    /// What this call knows of the last chunk, for the next.
    pub(crate) fn open(self, version: Version<Record>) -> Open {
        Open { version, tail: self.tail }
    }

    pub(crate) fn decide(&mut self, record: &mut Record) -> Result<Change<WriteOutcome>, Error> {
        self.drop_made(record);
        if record.lease.token != self.token {
            return Ok(Change::Leave(WriteOutcome::Fenced));
        }
        let tail = record.next_seq;
        if self.first_seq > tail {
            return Ok(Change::Leave(WriteOutcome::Gap(tail)));
        }
        let known = usize::try_from(tail - self.first_seq).unwrap_or(usize::MAX);
        let new = self.events.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Ok(Change::Leave(WriteOutcome::Stored(tail)));
        }
        if record.is_finished() {
            let message = format!("build {} is finished and takes no more events", record.number);
            return Err(Error::other(message));
        }
        thaw(self.store, record)?;
        self.store_events(record, new)?;
        record.revise();
        Ok(Change::Write(WriteOutcome::Stored(record.next_seq)))
    }

    fn store_events(&mut self, record: &mut Record, new: &[Event]) -> Result<(), Error> {
        let short = self.tail.take().filter(|tail| may_grow(tail, record));
        let before = short.as_ref().map(|tail| tail.text.clone()).unwrap_or_default();
        let mut parts = chunk::split(new, record.next_seq, before)?;
        if let Some(tail) = short {
            let longer = parts.remove(0);
            match self.store.replace(
                &key(record, tail.first, &tail.name),
                &chunk::compress(&longer.text)?,
                &tail.etag,
            )? {
                Some(etag) => {
                    lengthen(record, &longer);
                    self.tail = Some(Tail { etag, text: longer.text, ..tail });
                }
                // An earlier try was there, and its answer was lost: the chunk may be as long as it likes, the record
                // says what counts.
                None => parts = chunk::split(new, record.next_seq, Vec::new())?,
            }
        }
        self.store_chunks(record, parts)
    }

    fn store_chunks(&mut self, record: &mut Record, parts: Vec<Lines>) -> Result<(), Error> {
        let mut names = Vec::new();
        let mut objects = Vec::new();
        for part in &parts {
            let name = format!("{}-{}", record.lease.fence, &random()?[..8]);
            objects.push((key(record, part.first, &name), chunk::compress(&part.text)?));
            names.push(name);
        }
        self.made.extend(objects.iter().map(|(key, _)| key.clone()));
        let tags = self.store.create_all(&objects)?;
        for ((part, name), etag) in parts.into_iter().zip(names).zip(tags) {
            let steps = part.steps.iter().map(|step| record.step(step)).collect();
            let bytes = part.text.len() as u64;
            record.next_seq = part.next;
            record.chunks.push(Chunk {
                first: part.first,
                next: part.next,
                name: name.clone(),
                bytes,
                steps,
            });
            // Without a tag it was there already, from a try whose answer was lost: it is not made longer.
            self.tail = etag.map(|etag| Tail { first: part.first, name, etag, text: part.text });
        }
        Ok(())
    }

    /// Removes what an earlier turn made and the record does not name. No later one can: that turn's would have replaced a
    /// version that is gone.
    fn drop_made(&mut self, record: &Record) {
        for made in std::mem::take(&mut self.made) {
            if !record.chunks.iter().any(|chunk| key(record, chunk.first, &chunk.name) == made) {
                // What is left of it is in nobody's way.
                _ = self.store.delete(&made);
            }
        }
    }
}

/// Whether the chunk is the record's last, as this instance wrote it, and short.
fn may_grow(tail: &Tail, record: &Record) -> bool {
    record.chunks.last().is_some_and(|chunk| {
        chunk.name == tail.name
            && chunk.first == tail.first
            && chunk.bytes == tail.text.len() as u64
            && chunk::is_short(tail.text.len(), record.chunks.len())
    })
}

fn lengthen(record: &mut Record, lines: &Lines) {
    let steps: Vec<_> = lines.steps.iter().map(|step| record.step(step)).collect();
    record.next_seq = lines.next;
    if let Some(last) = record.chunks.last_mut() {
        last.next = lines.next;
        last.bytes = lines.text.len() as u64;
        last.steps.extend(steps);
        last.steps.sort_unstable();
        last.steps.dedup();
    }
}

/// The key of a build's chunk.
pub(crate) fn key(record: &Record, first: u64, name: &str) -> String {
    format!("{}{first:010}-{name}.jsonl.gz", layout::events(&record.component, record.number))
}

/// The fence in such a key.
pub(crate) fn fence(key: &str) -> Option<u64> {
    key.rsplit_once('/')?.1.split('-').nth(1)?.parse().ok()
}

/// Ends a build. That it ended already, in the same way, is fine.
pub(crate) fn finish(
    store: &Store,
    record: &mut Record,
    token: &str,
    final_seq: u64,
    (status, at, summary): (Status, u64, &str),
) -> Result<Change<WriteOutcome>, Error> {
    if record.lease.token != token {
        return Ok(Change::Leave(WriteOutcome::Fenced));
    }
    let tail = record.next_seq;
    if final_seq != tail {
        return Ok(Change::Leave(WriteOutcome::Gap(tail)));
    }
    let status = StatusName::from(status);
    if status == StatusName::Running {
        return Err(Error::other("a build cannot end as one that runs"));
    }
    if record.is_finished() {
        if record.status == status {
            return Ok(Change::Leave(WriteOutcome::Stored(tail)));
        }
        return Err(Error::other(format!("build {} is finished, as {:?}", record.number, record.status)));
    }
    thaw(store, record)?;
    record.status = status;
    record.finished_at = Some(at);
    record.summary = Some(Verbatim::new(summary)?);
    record.revise();
    Ok(Change::Write(WriteOutcome::Stored(tail)))
}

/// Prolongs a lease; none when another was given.
pub(crate) fn renew(
    store: &Store,
    record: &mut Record,
    token: &str,
    ttl_ms: u32,
) -> Result<Change<Option<Lease>>, Error> {
    if record.lease.token != token {
        return Ok(Change::Leave(None));
    }
    thaw(store, record)?;
    record.lease.renew(store.now(), ttl_ms);
    record.revise();
    Ok(Change::Write(Some(record.lease.lease())))
}
