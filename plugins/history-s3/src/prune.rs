//! Dropping what the steps of a build printed.
//!
//! Each chunk is rewritten in its place, so what was in it is gone (in a bucket that keeps versions, once the lifecycle rule
//! for old versions says so). All of it can be repeated at any point.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildId, prune};

use crate::backoff::Backoff;
use crate::document::{self, Change};
use crate::record::{Chunk, Held, Record};
use crate::store::{Object, Store};
use crate::{chunk, layout, settle, write};

/// How many chunks are in memory at once.
const WINDOW: usize = 8;
/// How often a chunk is rewritten that others write, too.
const TURNS: u32 = 8;

/// Drops output. Answers how many bytes.
pub(crate) fn output(store: &Store, id: &BuildId) -> Result<u64, Error> {
    let key = layout::build(&id.component, id.number);
    let Some((is_pruned, version)) =
        document::update(store, &key, None, None, |record| secure(store, record))?
    else {
        return Err(missing(id));
    };
    let record = version.document.clone();
    if is_pruned {
        // An earlier call may have stopped just before this.
        settle::refresh(store, &record)?;
        return Ok(0);
    }
    let mut dropped = 0;
    for chunks in record.chunks.chunks(WINDOW) {
        dropped += rewrite(store, &record, chunks)?;
    }
    sweep(store, &record)?;
    let mark = |now: &mut Record| {
        now.pruned_to = now.pruned_to.max(Some(record.next_seq));
        now.revise();
        Ok(Change::Write(()))
    };
    let marked = document::update(store, &key, Some(version), None, mark)?;
    let ((), version) = marked.ok_or_else(|| missing(id))?;
    settle::refresh(store, &version.document)?;
    Ok(dropped)
}

pub(crate) fn missing(id: &BuildId) -> Error {
    Error::not_found(format!("there is no build {} of {}", id.number, id.component))
}

/// Makes sure that nobody adds to the build unnoticed. Whether it is pruned already.
fn secure(store: &Store, record: &mut Record) -> Result<Change<bool>, Error> {
    if !record.is_finished() {
        if !record.is_lost(store.now()) {
            let message = format!("build {} of {} is running", record.number, record.component);
            return Err(Error::other(message).help("drop its output when it is finished"));
        }
        if record.pruned_to != Some(record.next_seq) {
            // Its runner may be there all the same, about to store a batch: now it has to begin the build again.
            let Held { fence, expires_at, .. } = record.lease;
            record.lease = Held::new(fence + 1, expires_at, 0)?;
            record.revise();
            return Ok(Change::Write(false));
        }
    }
    Ok(Change::Leave(record.pruned_to == Some(record.next_seq)))
}

fn rewrite(store: &Store, record: &Record, chunks: &[Chunk]) -> Result<u64, Error> {
    let keys: Vec<_> = chunks.iter().map(|chunk| write::key(record, chunk.first, &chunk.name)).collect();
    let mut dropped = 0;
    for ((chunk, key), object) in chunks.iter().zip(&keys).zip(store.get_all(&keys)?) {
        dropped += rewrite_one(store, chunk, key, object)?;
    }
    Ok(dropped)
}

fn rewrite_one(store: &Store, chunk: &Chunk, key: &str, mut object: Option<Object>) -> Result<u64, Error> {
    let mut backoff = Backoff::new(store);
    for _ in 0..TURNS {
        let Some(Object { bytes, etag }) = object else {
            return Err(Error::not_found(format!("{key}, with events of the build, is gone")));
        };
        let text = chunk::decompress(key, &bytes)?;
        let range = (chunk.first, chunk.first, chunk.next);
        let mut events = chunk::events(key, &text, range).collect::<Result<Vec<_>, _>>()?;
        let has_more =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() > events.len();
        let dropped: u64 = events.iter_mut().map(prune).sum();
        if dropped == 0 && !has_more {
            return Ok(0);
        }
        let lines: Vec<u8> =
            chunk::split(&events, chunk.first, Vec::new())?.into_iter().flat_map(|part| part.text).collect();
        if store.replace(key, &chunk::compress(&lines)?, &etag)?.is_some() {
            return Ok(dropped);
        }
        backoff.wait()?;
        object = store.get(key)?;
    }
    Err(Error::unavailable(format!("{key} is being changed by others all the time")))
}

/// Deletes chunks that no record names: a writer that lost its lease, or broke off, left them. Those of a writer that came
/// later are not among them.
fn sweep(store: &Store, record: &Record) -> Result<(), Error> {
    let prefix = layout::events(&record.component, record.number);
    for object in store.list(&prefix, None, usize::MAX)? {
        let is_named =
            record.chunks.iter().any(|chunk| write::key(record, chunk.first, &chunk.name) == object.key);
        if !is_named && write::fence(&object.key).is_some_and(|fence| fence <= record.lease.fence) {
            store.delete(&object.key)?;
        }
    }
    Ok(())
}
