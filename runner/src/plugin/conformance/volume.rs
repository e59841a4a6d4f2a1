//! Builds that are large: many events, and much output.

use super::{
    Checked,
    bench::{Bench, events, hash, holds, same, same_events},
    instance::Instance,
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{Event, Payload, Status},
    exports::dcd::plugin::history::{Grant, WriteOutcome},
};

/// How much a runner sends at once, and how many events it reads at once.
const BATCH: usize = 512 << 10;
const PAGE: u32 = 200;
/// How many events the build of many has.
const MANY: u64 = 10_000;
/// What a step prints comes in pieces of this length; so many of them are 64 MiB.
const PIECE: usize = 64 << 10;
const PIECES: u64 = 1024;

fn size(event: &Event) -> usize {
    let payload = match &event.payload {
        Payload::Json(json) => json.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    payload + event.kind.len() + event.step.as_ref().map_or(0, String::len)
}

/// Sends events as a runner does: as many at once as fit into a batch.
fn send(one: &mut Instance, grant: &Grant, events: impl Iterator<Item = Event>) -> Checked {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut append = |batch: &mut Vec<Event>| {
        let next = batch.last().map_or(0, |event| event.seq + 1);
        same("appending", &one.append(grant, &std::mem::take(batch))?, &WriteOutcome::Stored(next))
    };
    for event in events {
        if bytes + size(&event) > BATCH {
            append(&mut batch)?;
            bytes = 0;
        }
        bytes += size(&event);
        batch.push(event);
    }
    append(&mut batch)
}

pub(super) fn ten_thousand(bench: &Bench) -> Checked {
    let long = |mut event: Event| {
        if let Payload::Bytes(bytes) = &mut event.payload {
            bytes.extend_from_slice(
                b"a line as long as those that compilers and tests like to print, or so\n",
            );
        }
        event
    };
    let all = || events(0..MANY).into_iter().map(long);
    let mut one = bench.instance();
    let grant = one.begin(&bench.build())?;
    send(&mut one, &grant, all())?;
    same("finishing", &one.finish(&grant, MANY, Status::Success, 1)?, &WriteOutcome::Stored(MANY))?;
    same("the record's next number", &one.record(&grant.build)?.next_seq, &MANY)?;
    let mut other = bench.instance();
    let (read, next) = other.read_all(&grant.build, None, PAGE)?;
    same_events("what is read", &read, &all().collect::<Vec<_>>())?;
    same("what follows", &next, &None)?;
    let (read, _) = other.read_all(&grant.build, Some("test"), PAGE)?;
    let of_step: Vec<_> = all().filter(|event| event.step.as_deref() == Some("test")).collect();
    same_events("what is read of a step", &read, &of_step)
}

/// Bytes that compress badly, different for each piece.
fn piece(seq: u64) -> Event {
    let mut state = seq.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(PIECE);
    while bytes.len() < PIECE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Event {
        seq,
        at: 1_763_000_000_000 + seq,
        kind: "step.output".to_owned(),
        step: Some("test".to_owned()),
        payload: Payload::Bytes(bytes),
        hash: hash(seq),
    }
}

pub(super) fn large_build(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let grant = one.begin(&bench.build())?;
    send(&mut one, &grant, (0..PIECES).map(piece))?;
    same("finishing", &one.finish(&grant, PIECES, Status::Success, 1)?, &WriteOutcome::Stored(PIECES))?;
    let (mut other, mut from) = (bench.instance(), 0);
    while from < PIECES {
        // Page by page: all of it at once would be a lot of memory.
        let page = other.read(&grant.build, None, from, PAGE)?;
        holds(!page.items.is_empty(), || format!("nothing is read from {from} on, and {PIECES} are stored"))?;
        for event in &page.items {
            let expected = piece(from);
            same("the number of what is read", &event.seq, &expected.seq)?;
            holds(*event == expected, || format!("event {from} is not what was appended"))?;
            from += 1;
        }
    }
    same("what follows", &other.read(&grant.build, None, PIECES, PAGE)?.next_seq, &None)
}
