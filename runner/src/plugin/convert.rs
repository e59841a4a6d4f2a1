//! Between our words for builds and those of `wit/history.wit`.

use crate::{
    chain::Hash,
    engine::ports::backend::{Filter, Listed, Lock, LockPlace, Written},
    event::{Event, Outcome, Payload, Record},
    plugin::bindings::history::{
        dcd::plugin::build_types::{self, Status},
        exports::dcd::plugin::history::{self, BuildFilter, WriteOutcome},
    },
};

pub(super) fn written(outcome: WriteOutcome) -> Written {
    match outcome {
        WriteOutcome::Stored(next) => Written::Stored(next),
        WriteOutcome::Gap(from) => Written::Gap(from),
        WriteOutcome::Fenced => Written::Fenced,
    }
}

/// A record, to be kept.
pub(super) fn event(record: Record) -> build_types::Event {
    build_types::Event {
        seq: record.seq,
        at: record.at,
        kind: record.kind,
        step: record.step.map(|step| step.to_string()),
        payload: payload(record.payload),
        hash: record.hash.0.to_vec(),
    }
}

/// An event, to be told.
pub(super) fn told(event: Event) -> build_types::Event {
    build_types::Event {
        seq: event.seq,
        at: event.at,
        kind: event.body.kind().to_owned(),
        step: event.step.map(|step| step.to_string()),
        payload: payload(event.body.payload()),
        hash: event.hash.0.to_vec(),
    }
}

fn payload(payload: Payload) -> build_types::Payload {
    match payload {
        Payload::Json(text) => build_types::Payload::Json(text),
        Payload::Bytes(bytes) => build_types::Payload::Bytes(bytes.to_vec()),
    }
}

/// A kept event. `None`: its hash is none.
pub(super) fn record(event: build_types::Event) -> Option<Record> {
    let payload = match event.payload {
        build_types::Payload::Json(text) => Payload::Json(text),
        build_types::Payload::Bytes(bytes) => Payload::Bytes(bytes.into()),
    };
    Some(Record {
        seq: event.seq,
        at: event.at,
        kind: event.kind,
        step: event.step.map(Into::into),
        payload,
        hash: Hash::from_slice(&event.hash)?,
    })
}

/// A build is never skipped; should one be, it did what it should.
pub(super) fn status(outcome: Option<Outcome>) -> Status {
    match outcome {
        None => Status::Running,
        Some(Outcome::Success | Outcome::Skip) => Status::Success,
        Some(Outcome::Failure) => Status::Failure,
        Some(Outcome::Timeout) => Status::Timeout,
        Some(Outcome::Error) => Status::Error,
        Some(Outcome::Cancellation) => Status::Cancellation,
    }
}

pub(super) fn listed(build: build_types::Build) -> Listed {
    let outcome = match build.status {
        Status::Running => None,
        Status::Success => Some(Outcome::Success),
        Status::Failure => Some(Outcome::Failure),
        Status::Error => Some(Outcome::Error),
        Status::Timeout => Some(Outcome::Timeout),
        Status::Cancellation => Some(Outcome::Cancellation),
    };
    Listed {
        id: build.run_id,
        number: build.id.number,
        component: build.id.component,
        outcome,
        started_at: build.started_at,
        finished_at: build.finished_at,
        lost: outcome.is_none() && build.lease_expires_at < build.as_of,
        next_seq: build.next_seq,
        // What another dcd wrote may have another shape: a list shows what it can.
        metadata: serde_json::from_str(&build.metadata).unwrap_or_default(),
        brief: build.summary.and_then(|brief| serde_json::from_str(&brief).ok()),
        pruned: build.pruned,
    }
}

pub(super) fn filter(filter: &Filter) -> BuildFilter {
    BuildFilter {
        component: filter.component.clone(),
        statuses: filter.outcomes.iter().copied().map(status).collect(),
        started_after: filter.started_after,
        started_before: filter.started_before,
        metadata: filter.metadata.iter().map(|(key, text)| ((*key).to_owned(), text.clone())).collect(),
    }
}

pub(super) fn lock(lock: history::Lock) -> Lock {
    let place = |place: history::LockPlace| LockPlace {
        ticket: place.ticket,
        owner: place.owner,
        since: place.since,
        held_since: place.held_since,
        expires_at: place.expires_at,
    };
    Lock { name: lock.name, queue: lock.queue.into_iter().map(place).collect(), as_of: lock.as_of }
}
