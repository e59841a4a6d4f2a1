//! Dropping what the steps of a build printed.
//!
//! Chunk by chunk: what is left of it is put in the place of its head, and the items that held the rest are deleted. What
//! is left always fits into the head (`chunk::cut` sees to that), so nothing has to be written before it that another
//! prune could take for useless. Then everything else is deleted that nothing leads to, as after a crash. All of it may be
//! repeated, also by several at once.

use std::collections::BTreeSet;

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{self, BuildId};

use crate::chunk::{self, Head};
use crate::item::{self, Key};
use crate::keys;
use crate::record::{self, Record};
use crate::request::Request;
use crate::table::Table;

pub(crate) fn prune(table: &Table, id: &BuildId) -> Result<u64, Error> {
    let record = record::get(table, id)?;
    if !record.is_over() {
        let message = format!("build {} of {} is running, and its output is kept", id.number, id.component);
        return Err(Error::other(message));
    }
    let tail = record.build.next_seq;
    if record.pruned == Some(tail) {
        return Ok(0);
    }
    let pk = keys::chunks(id);
    let all = Request::query(&pk, &keys::chunk_from(0), &keys::chunk_until(u64::MAX));
    let heads: Vec<Head> = table.query_all(&all)?.iter().map(Head::read).collect::<Result<_, _>>()?;
    let counted = chunk::counted(heads.clone(), tail);
    let mut dropped = 0;
    for head in counted.iter().filter(|head| head.output > 0) {
        dropped += drop_output(table, id, head)?;
    }
    sweep(table, id, &record, &heads, &counted)?;
    let update = Request::update(&keys::build(id), "SET #pruned = :tail")
        .with("ReturnValues", "NONE")
        .condition("attribute_exists(pk)")
        .value(":tail", item::number(tail));
    table.update(update)?;
    Ok(dropped)
}

/// Drops a chunk's output. 0 when another did meanwhile.
fn drop_output(table: &Table, id: &BuildId, head: &Head) -> Result<u64, Error> {
    let parts = head.parts(id);
    let items = if parts.is_empty() { Vec::new() } else { table.get_all(&parts)? };
    let mut events = match head.events(id, &items) {
        Ok(events) => events,
        // Its parts may have been deleted since its head was read.
        Err(error) => {
            let now = table.get(&head.key)?.as_ref().map(Head::read).transpose()?;
            return if now.is_some_and(|now| now.output == 0) { Ok(0) } else { Err(error) };
        }
    };
    let dropped = events.iter_mut().map(history::prune).sum();
    let put = Request::put(chunk::write_pruned(&head.key, &events)?)
        .condition("#output = :output")
        .value(":output", item::number(head.output));
    if !table.put(put)? {
        return Ok(0);
    }
    for part in &parts {
        table.delete(Request::delete(part))?;
    }
    Ok(dropped)
}

/// Deletes what nothing leads to: chunks that were never counted, and parts of no chunk. Of a lost build only what is
/// before its tail: its runner may come back and go on there.
fn sweep(table: &Table, id: &BuildId, record: &Record, all: &[Head], counted: &[Head]) -> Result<(), Error> {
    let end = if record.is_finished() { u64::MAX } else { record.build.next_seq };
    let is_swept = |sk: &str| keys::parse_first(sk).is_some_and(|first| first < end);
    let kept: BTreeSet<&str> = counted.iter().map(|head| head.key.sk.as_str()).collect();
    for head in all.iter().filter(|head| !kept.contains(head.key.sk.as_str()) && is_swept(&head.key.sk)) {
        table.delete(Request::delete(&head.key))?;
    }
    // Those with output have none any more.
    let used: BTreeSet<String> = counted
        .iter()
        .filter(|head| head.output == 0)
        .flat_map(|head| head.parts(id))
        .map(|part| part.sk)
        .collect();
    let pk = keys::parts(id);
    let parts = table.query_all(&Request::query(&pk, "0", "~").only("#pk, #sk"))?;
    for part in &parts {
        let sk = item::get_text(part, "sk")?;
        if is_swept(sk) && !used.contains(sk) {
            table.delete(Request::delete(&Key::new(pk.as_str(), sk)))?;
        }
    }
    Ok(())
}
