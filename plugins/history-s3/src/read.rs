//! Reading a build's events, from the chunks that its record names.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{Event, EventPage, Payload};

use crate::chunk;
use crate::record::{Chunk, Record};
use crate::store::Store;
use crate::write;

/// The most that one page carries, so that a page of large events fits into a call.
const PAGE: u64 = 4 << 20;

/// The chunk that was read last, as pages of events are shorter than chunks.
#[derive(Debug, Default)]
pub(crate) struct Last {
    key: String,
    /// What the record said of it: with another length it has grown, and when output was dropped it is another.
    bytes: u64,
    pruned_to: Option<u64>,
    text: Vec<u8>,
}

/// Reads a page of events, with as few chunks as hold them.
pub(crate) fn events(
    store: &Store,
    last: &mut Last,
    record: &Record,
    step: Option<&str>,
    from_seq: u64,
    limit: u32,
) -> Result<EventPage, Error> {
    let limit = limit.max(1) as usize;
    let (chunks, end) = chosen(record, step, from_seq, limit as u64);
    let keys: Vec<_> = chunks.iter().map(|chunk| write::key(record, chunk.first, &chunk.name)).collect();
    let is_known = chunks.first().zip(keys.first()).is_some_and(|(chunk, key)| {
        (&last.key, last.bytes, last.pruned_to) == (key, chunk.bytes, record.pruned_to)
    });
    let mut objects = store.get_all(&keys[usize::from(is_known)..])?.into_iter();
    let (mut items, mut bytes) = (Vec::new(), 0);
    for (index, (chunk, key)) in chunks.iter().zip(&keys).enumerate() {
        if index > 0 || !is_known {
            let object = objects.next().flatten();
            let object = object
                .ok_or_else(|| Error::not_found(format!("{key}, with events of the build, is gone")))?;
            let text = chunk::decompress(key, &object.bytes)?;
            *last = Last { key: key.clone(), bytes: chunk.bytes, pruned_to: record.pruned_to, text };
        }
        for event in chunk::events(key, &last.text, (chunk.first, from_seq, chunk.next)) {
            let event = event?;
            if step.is_some() && step != event.step.as_deref() {
                continue;
            }
            if items.len() >= limit || bytes >= PAGE {
                return Ok(EventPage { items, next_seq: Some(event.seq) });
            }
            bytes += size(&event);
            items.push(event);
        }
    }
    let is_all = end >= record.next_seq;
    // A page may begin past the tail.
    let next = end.max(from_seq);
    Ok(EventPage { items, next_seq: (!is_all || !record.is_finished()).then_some(next) })
}

/// The chunks of a page, and where what they have ends.
fn chosen<'a>(record: &'a Record, step: Option<&str>, from_seq: u64, limit: u64) -> (Vec<&'a Chunk>, u64) {
    let step = step.map(|step| record.steps.iter().position(|known| known == step));
    let has_step =
        |chunk: &Chunk| step.is_none_or(|step| step.is_some_and(|step| chunk.steps.contains(&step)));
    let (mut chosen, mut events, mut bytes) = (Vec::new(), 0, 0);
    for chunk in record.chunks.iter().filter(|chunk| chunk.next > from_seq && has_step(chunk)) {
        if bytes >= PAGE || (step.is_none() && events >= limit) {
            return (chosen, chunk.first);
        }
        chosen.push(chunk);
        events += chunk.next - chunk.first.max(from_seq);
        bytes += chunk.bytes;
    }
    (chosen, record.next_seq)
}

fn size(event: &Event) -> u64 {
    let payload = match &event.payload {
        Payload::Json(json) => json.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    (payload + event.kind.len() + 64) as u64
}
