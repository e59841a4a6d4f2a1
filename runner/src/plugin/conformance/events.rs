//! Appending and reading events.

use super::{
    Checked,
    bench::{Bench, events, hash, same, same_events},
    instance::Instance,
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{Event, Payload, Status},
    exports::dcd::plugin::history::{Grant, WriteOutcome},
};

/// The longest page of these checks.
const PAGE: u32 = 500;

fn begin(bench: &Bench) -> Result<(Instance, Grant), String> {
    let mut one = bench.instance();
    let grant = one.begin(&bench.build())?;
    Ok((one, grant))
}

/// Appends, and fails unless the answer is this one.
fn append(one: &mut Instance, grant: &Grant, range: std::ops::Range<u64>, expected: WriteOutcome) -> Checked {
    let what = format!("appending the events {} to {}", range.start, range.end - 1);
    same(&what, &one.append(grant, &events(range))?, &expected)
}

/// Fails unless these are all events, to this instance and another.
fn stored(bench: &Bench, one: &mut Instance, grant: &Grant, expected: &[Event]) -> Checked {
    same("the record's next number", &one.record(&grant.build)?.next_seq, &(expected.len() as u64))?;
    same_events("what is read", &one.read_all(&grant.build, None, PAGE)?.0, expected)?;
    let (events, _) = bench.instance().read_all(&grant.build, None, PAGE)?;
    same_events("what another instance reads", &events, expected)
}

pub(super) fn contiguous(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..1, WriteOutcome::Stored(1))?;
    append(&mut one, &grant, 1..4, WriteOutcome::Stored(4))?;
    append(&mut one, &grant, 4..9, WriteOutcome::Stored(9))?;
    stored(bench, &mut one, &grant, &events(0..9))
}

pub(super) fn repeated(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..3, WriteOutcome::Stored(3))?;
    append(&mut one, &grant, 0..3, WriteOutcome::Stored(3))?;
    append(&mut one, &grant, 3..6, WriteOutcome::Stored(6))?;
    append(&mut one, &grant, 0..2, WriteOutcome::Stored(6))?;
    stored(bench, &mut one, &grant, &events(0..6))
}

pub(super) fn overlapping(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..5, WriteOutcome::Stored(5))?;
    append(&mut one, &grant, 3..8, WriteOutcome::Stored(8))?;
    append(&mut one, &grant, 0..10, WriteOutcome::Stored(10))?;
    stored(bench, &mut one, &grant, &events(0..10))
}

pub(super) fn gapped(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 2..4, WriteOutcome::Gap(0))?;
    append(&mut one, &grant, 0..3, WriteOutcome::Stored(3))?;
    append(&mut one, &grant, 7..9, WriteOutcome::Gap(3))?;
    stored(bench, &mut one, &grant, &events(0..3))?;
    append(&mut one, &grant, 3..5, WriteOutcome::Stored(5))?;
    stored(bench, &mut one, &grant, &events(0..5))
}

pub(super) fn reordered(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 6..9, WriteOutcome::Gap(0))?;
    append(&mut one, &grant, 3..6, WriteOutcome::Gap(0))?;
    append(&mut one, &grant, 0..3, WriteOutcome::Stored(3))?;
    append(&mut one, &grant, 6..9, WriteOutcome::Gap(3))?;
    append(&mut one, &grant, 3..6, WriteOutcome::Stored(6))?;
    append(&mut one, &grant, 6..9, WriteOutcome::Stored(9))?;
    stored(bench, &mut one, &grant, &events(0..9))
}

pub(super) fn kinds(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    let payloads = [
        Payload::Json("{ \"b\" : 1.0,\t\"a\": [ 1e400, \"\\u0000\", \"\u{1f980}\" ] }\n".to_owned()),
        Payload::Json("null".to_owned()),
        Payload::Json("\"a text\"".to_owned()),
        Payload::Bytes((0..=255).collect()),
        Payload::Bytes(Vec::new()),
        Payload::Bytes(b"\xff\xfe\r\n\0\x1b[31m".to_vec()),
    ];
    let kinds = ["step.output", "conformance.never-heard-of", "grüezi", "with a space, a 'quote\" and a \\"];
    let steps = [None, Some("test"), Some("deploy (region=eu, tier=\"1\")"), Some("schön / 100 % _")];
    let event = |(seq, payload): (u64, &Payload)| Event {
        seq,
        at: if seq == 0 { 0 } else { 253_402_300_799_999 },
        kind: kinds[usize::try_from(seq).unwrap_or_default() % kinds.len()].to_owned(),
        step: steps[usize::try_from(seq).unwrap_or_default() % steps.len()].map(str::to_owned),
        payload: payload.clone(),
        hash: hash(seq),
    };
    let all: Vec<_> = (0..).zip(&payloads).map(event).collect();
    same("appending", &one.append(&grant, &all)?, &WriteOutcome::Stored(all.len() as u64))?;
    stored(bench, &mut one, &grant, &all)?;
    let (of_step, _) = one.read_all(&grant.build, steps[2], PAGE)?;
    same_events("what is read of the step with an odd name", &of_step, &[all[2].clone()])
}

pub(super) fn large(bench: &Bench) -> Checked {
    const LENGTH: u32 = 1 << 20;
    let (mut one, grant) = begin(bench)?;
    // All bytes, in no order that compresses well.
    let bytes: Vec<u8> = (0..LENGTH).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let text: String = (0..LENGTH / 8).map(|n| format!("{n:08x}")).collect();
    let event = |seq, payload| Event {
        seq,
        at: 1_763_000_000_000,
        kind: "step.output".to_owned(),
        step: Some("test".to_owned()),
        payload,
        hash: hash(seq),
    };
    let all = [event(0, Payload::Bytes(bytes)), event(1, Payload::Json(format!("\"{text}\"")))];
    for event in &all {
        let answer = one.append(&grant, std::slice::from_ref(event))?;
        same("appending", &answer, &WriteOutcome::Stored(event.seq + 1))?;
    }
    stored(bench, &mut one, &grant, &all)
}

pub(super) fn many(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..1000, WriteOutcome::Stored(1000))?;
    append(&mut one, &grant, 1000..1200, WriteOutcome::Stored(1200))?;
    stored(bench, &mut one, &grant, &events(0..1200))
}

pub(super) fn paged(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..7, WriteOutcome::Stored(7))?;
    append(&mut one, &grant, 7..20, WriteOutcome::Stored(20))?;
    for limit in [1, 3, 7, 20, 21] {
        let (read, next) = one.read_all(&grant.build, None, limit)?;
        same_events(&format!("pages of {limit}"), &read, &events(0..20))?;
        same(&format!("where a running build goes on, in pages of {limit}"), &next, &Some(20))?;
    }
    let page = one.read(&grant.build, None, 5, 4)?;
    same_events("4 events from 5 on", &page.items, &events(5..9))?;
    same("where it goes on after them", &page.next_seq, &Some(9))
}

pub(super) fn of_step(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    append(&mut one, &grant, 0..30, WriteOutcome::Stored(30))?;
    same("finishing", &one.finish(&grant, 30, Status::Success, 1)?, &WriteOutcome::Stored(30))?;
    let expected: Vec<_> =
        events(0..30).into_iter().filter(|event| event.step.as_deref() == Some("test")).collect();
    for limit in [1, 4, 100] {
        let (read, next) = one.read_all(&grant.build, Some("test"), limit)?;
        same_events(&format!("pages of {limit}"), &read, &expected)?;
        same("what follows in a finished build", &next, &None)?;
    }
    let (read, next) = one.read_all(&grant.build, Some("tes"), 100)?;
    same_events("a step that there is not", &read, &[])?;
    same("what follows it", &next, &None)
}

pub(super) fn follows(bench: &Bench) -> Checked {
    let (mut one, grant) = begin(bench)?;
    let mut other = bench.instance();
    append(&mut one, &grant, 0..3, WriteOutcome::Stored(3))?;
    let page = other.read(&grant.build, None, 0, 100)?;
    same_events("the first events", &page.items, &events(0..3))?;
    same("where they go on", &page.next_seq, &Some(3))?;
    let page = other.read(&grant.build, None, 3, 100)?;
    same_events("no events yet", &page.items, &[])?;
    same("where they go on, still", &page.next_seq, &Some(3))?;
    append(&mut one, &grant, 3..5, WriteOutcome::Stored(5))?;
    let page = other.read(&grant.build, None, 3, 100)?;
    same_events("the next events", &page.items, &events(3..5))?;
    same("finishing", &one.finish(&grant, 5, Status::Failure, 1)?, &WriteOutcome::Stored(5))?;
    same("what follows at the end", &other.read(&grant.build, None, 5, 100)?.next_seq, &None)
}
