//! How builds end.

use super::{
    Checked,
    bench::{Bench, events, same, same_events},
};
use crate::plugin::bindings::history::{
    dcd::plugin::build_types::{Build, Status},
    exports::dcd::plugin::history::WriteOutcome,
};

pub(super) fn kept(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let all = [Status::Success, Status::Failure, Status::Error, Status::Timeout, Status::Cancellation];
    for (status, at) in all.into_iter().zip(1_763_000_000_000..) {
        let grant = one.begin(&bench.build())?;
        same("appending", &one.append(&grant, &events(0..3))?, &WriteOutcome::Stored(3))?;
        same("finishing", &one.finish(&grant, 3, status, at)?, &WriteOutcome::Stored(3))?;
        let record = bench.instance().record(&grant.build)?;
        let expected = Build { status, finished_at: Some(at), next_seq: 3, ..record.clone() };
        same("the record", &record, &expected)?;
        let (read, next) = one.read_all(&grant.build, None, 2)?;
        same_events("what is read", &read, &events(0..3))?;
        same("what follows", &next, &None)?;
    }
    Ok(())
}

pub(super) fn gapped(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let grant = one.begin(&bench.build())?;
    same("appending", &one.append(&grant, &events(0..3))?, &WriteOutcome::Stored(3))?;
    for end in [5, 2] {
        let answer = one.finish(&grant, end, Status::Success, 9)?;
        same(&format!("finishing after {end} events, where 3 are stored"), &answer, &WriteOutcome::Gap(3))?;
        let record = one.record(&grant.build)?;
        same("the status then", &(record.status, record.finished_at), &(Status::Running, None))?;
    }
    same("appending the rest", &one.append(&grant, &events(3..5))?, &WriteOutcome::Stored(5))?;
    same("finishing", &one.finish(&grant, 5, Status::Failure, 9)?, &WriteOutcome::Stored(5))?;
    same("the status", &one.record(&grant.build)?.status, &Status::Failure)
}

pub(super) fn repeated(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let build = bench.build();
    let grant = one.begin(&build)?;
    same("appending", &one.append(&grant, &events(0..3))?, &WriteOutcome::Stored(3))?;
    for what in ["finishing", "finishing again"] {
        same(what, &one.finish(&grant, 3, Status::Timeout, 7)?, &WriteOutcome::Stored(3))?;
    }
    let answer = one.append(&grant, &events(1..3))?;
    same("appending again what is stored", &answer, &WriteOutcome::Stored(3))?;
    // The runner died before it heard of the end, and another sends what the journal has.
    let mut other = bench.instance();
    let grant = other.begin(&build)?;
    same("the first event to send of a build that is finished", &grant.next_seq, &3)?;
    let answer = other.finish(&grant, 3, Status::Timeout, 7)?;
    same("finishing from another instance", &answer, &WriteOutcome::Stored(3))?;
    let record = other.record(&grant.build)?;
    same("the status", &(record.status, record.finished_at), &(Status::Timeout, Some(7)))?;
    same("the events", &record.next_seq, &3)
}

pub(super) fn summary(bench: &Bench) -> Checked {
    let mut one = bench.instance();
    let odd = "{ \"z\": 1,\t\"a\": [1.0, -0, 1e400],\n \"z\": \"grüezi \\u0000 \\\\ \\\"\u{1f980}\" }";
    let long = format!("{{\"steps\":[{}]}}", vec![r#"{"name":"test","outcome":"success"}"#; 500].join(","));
    for summary in [odd, "null", "\"a text\"", "{}", " {\n}\r\n", &long] {
        let grant = one.begin(&bench.build())?;
        same("the summary of a build that runs", &one.record(&grant.build)?.summary, &None)?;
        let answer = one.finish_with(&grant, 0, Status::Success, 9, summary)?;
        same("finishing", &answer, &WriteOutcome::Stored(0))?;
        let expected = Some(summary.to_owned());
        same("the summary", &one.record(&grant.build)?.summary, &expected)?;
        same("the summary, to another instance", &bench.instance().record(&grant.build)?.summary, &expected)?;
    }
    Ok(())
}
