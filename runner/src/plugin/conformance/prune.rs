//! Dropping what the steps of a build printed.

use sha2::{Digest, Sha256};

use super::{
    Checked,
    bench::{Bench, LONG, events, hash, holds, pause, same, same_events},
};
use crate::{
    plugin::bindings::history::{
        dcd::plugin::build_types::{Build, Event, Payload, Status},
        exports::dcd::plugin::history::{NewBuild, WriteOutcome},
    },
    text::hex,
};

/// A lease that a check outlives.
const SHORT: u32 = 1000;

/// Events of all sorts: of nine, some carry output, and some look like it.
fn sorts() -> Vec<Event> {
    let mut all = events(0..9);
    let event = |seq: u64, kind: &str, payload: &[u8]| Event {
        seq,
        at: 1,
        kind: kind.to_owned(),
        step: Some("build".to_owned()),
        payload: Payload::Bytes(payload.to_vec()),
        hash: hash(seq),
    };
    all.push(event(9, "step.output", b"\xff\0not text"));
    all.push(event(10, "step.output", b""));
    all.push(event(11, "conformance.bytes", b"no output"));
    all
}

/// What should be left of events, and how many bytes should be gone.
fn pruned(events: Vec<Event>) -> (Vec<Event>, u64) {
    let mut dropped = 0;
    let left = |event: Event| match &event.payload {
        Payload::Bytes(bytes) if event.kind == "step.output" => {
            let (length, digest) = (bytes.len(), hex(&Sha256::digest(bytes)));
            dropped += length as u64;
            let json = format!("{{\"pruned\":{{\"bytes\":{length},\"sha256\":\"{digest}\"}}}}");
            Event { payload: Payload::Json(json), ..event }
        }
        Payload::Bytes(_) | Payload::Json(_) => event,
    };
    (events.into_iter().map(left).collect(), dropped)
}

pub(super) fn output(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let grant = one.begin(&bench.build())?;
    let all = sorts();
    let many = all.len() as u64;
    same("appending", &one.append(&grant, &all[..5])?, &WriteOutcome::Stored(5))?;
    same("appending", &one.append(&grant, &all[5..])?, &WriteOutcome::Stored(many))?;
    if let Ok(bytes) = other.prune(&grant.build) {
        return Err(format!("a build that runs lost {bytes} bytes of output; expected an error"));
    }
    same_events("what is read after that", &other.read_all(&grant.build, None, 100)?.0, &all)?;

    same("finishing", &one.finish(&grant, many, Status::Failure, 7)?, &WriteOutcome::Stored(many))?;
    let before = one.record(&grant.build)?;
    same("that it is pruned, before", &before.pruned, &false)?;
    let (left, dropped) = pruned(all);
    same("how many bytes are dropped", &other.prune(&grant.build)?, &dropped)?;
    same("how many the second time", &one.prune(&grant.build)?, &0)?;
    for instance in [&mut one, &mut other] {
        same("the record", &instance.record(&grant.build)?, &Build { pruned: true, ..before.clone() })?;
        let (read, next) = instance.read_all(&grant.build, None, 4)?;
        same_events("what is left", &read, &left)?;
        same("what follows", &next, &None)?;
    }
    let of_step: Vec<_> = left.into_iter().filter(|event| event.step.as_deref() == Some("build")).collect();
    same_events("what is left of a step", &one.read_all(&grant.build, Some("build"), 100)?.0, &of_step)
}

pub(super) fn lost(bench: &Bench) -> Checked {
    let (mut one, mut other) = (bench.instance(), bench.instance());
    let build = NewBuild { lease_ttl_ms: SHORT, ..bench.build() };
    let grant = one.begin(&build)?;
    same("appending", &one.append(&grant, &events(0..4))?, &WriteOutcome::Stored(4))?;
    pause(u64::from(SHORT) + 500);
    let (mut left, dropped) = pruned(events(0..4));
    same("how many bytes are dropped", &other.prune(&grant.build)?, &dropped)?;
    let record = one.record(&grant.build)?;
    same("the record", &(record.status, record.pruned, record.next_seq), &(Status::Running, true, 4))?;
    // Its runner was only away for a while.
    let grant = one.begin(&NewBuild { lease_ttl_ms: LONG, ..build })?;
    same("the first event to send", &grant.next_seq, &4)?;
    same("appending", &one.append(&grant, &events(4..6))?, &WriteOutcome::Stored(6))?;
    holds(other.prune(&grant.build).is_err(), || "a build that runs again lost its output".to_owned())?;
    same("that it is pruned, with events after that", &one.record(&grant.build)?.pruned, &false)?;
    left.extend(events(4..6));
    same_events("what is read", &other.read_all(&grant.build, None, 100)?.0, &left)
}
