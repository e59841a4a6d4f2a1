//! The backend against dynalite and moto, with answers that get lost and clocks that are wrong: what `dcd plugin test`
//! cannot bring about.
//!
//! `eval "$(scripts/servers/dynamodb)"`, then, in `plugins/`:
//! `cargo test -p history-dynamodb --target x86_64-unknown-linux-gnu --test servers -- --ignored`

// All of it is a test's.
#![allow(clippy::unwrap_used, clippy::panic)]

mod costs;
mod line;
mod lists;
mod lost;
mod races;
mod sizes;
mod skew;

use dcd_plugin_sdk::history::{
    BuildFilter, BuildId, Event, EventPage, Grant, HistoryBackend as _, NewBuild, Page, Payload, Status,
    WriteOutcome,
};
use dcd_plugin_sdk::{Error, mock};
use history_dynamodb::{Config, HistoryDynamodb};

use line::Line;

/// The servers' addresses, by name. Panics when they are not known.
fn servers() -> [(&'static str, String); 2] {
    [("dynalite", "DCD_TEST_DYNALITE"), ("moto", "DCD_TEST_DYNAMO_MOTO")].map(|(name, variable)| {
        let Ok(url) = std::env::var(variable) else {
            panic!("{variable} is not set: run `eval \"$(scripts/servers/dynamodb)\"` first")
        };
        (name, url)
    })
}

/// An instance as one runner has it, and its line to the server. One per thread.
fn open(url: &str, table: &str) -> (HistoryDynamodb, Line) {
    mock::reset();
    mock::set_secret("AWS_ACCESS_KEY_ID", "id");
    mock::set_secret("AWS_SECRET_ACCESS_KEY", "key");
    let line = Line::install(url);
    (another(url, table), line)
}

/// An instance that has the same line.
fn another(url: &str, table: &str) -> HistoryDynamodb {
    let config = Config {
        table: table.to_owned(),
        region: Some("eu-central-1".into()),
        endpoint: Some(url.to_owned()),
        create_table: true,
    };
    HistoryDynamodb::open(config).unwrap()
}

/// A table of the test's own, new with each run.
fn table(test: &str) -> String {
    format!("{test}-{}-{:x}", std::process::id(), line::nanoseconds())
}

fn build(run: &str) -> NewBuild {
    NewBuild {
        component: "shop".into(),
        run_id: run.into(),
        started_at: 1_763_000_000_000,
        lease_ttl_ms: 60_000,
        metadata: r#"{"branch":"main"}"#.into(),
    }
}

/// What a step printed, and what the build says, in turn.
fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

fn event(seq: u64) -> Event {
    let is_output = seq.is_multiple_of(2);
    Event {
        seq,
        at: 1_763_000_000_000 + seq,
        kind: if is_output { "step.output" } else { "step.finished" }.into(),
        step: (seq % 4 != 3).then(|| if is_output { "test".into() } else { "lint".into() }),
        payload: if is_output {
            Payload::Bytes(format!("line {seq}\n").into_bytes())
        } else {
            Payload::Json(format!("{{\"seq\":{seq}}}"))
        },
        hash: noise(32, seq + 1),
    }
}

/// Bytes that do not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..length).map(byte).collect()
}

fn append(backend: &HistoryDynamodb, grant: &Grant, events: Vec<Event>) -> String {
    let first = events.first().map_or(0, |event| event.seq);
    match backend.append(grant.build.clone(), &grant.lease.token, first, events) {
        Ok(outcome) => shown(outcome),
        Err(error) => panic!("append: {error}"),
    }
}

fn finish(backend: &HistoryDynamodb, grant: &Grant, end: u64) -> String {
    let summary = r#"{"steps":[]}"#.to_owned();
    let outcome =
        backend.finish_build(grant.build.clone(), &grant.lease.token, end, Status::Success, 7, summary);
    shown(outcome.unwrap())
}

fn shown(outcome: WriteOutcome) -> String {
    match outcome {
        WriteOutcome::Stored(next) => format!("Stored({next})"),
        WriteOutcome::Gap(next) => format!("Gap({next})"),
        WriteOutcome::Fenced => "Fenced".into(),
    }
}

/// All events, page by page.
fn read_all(backend: &HistoryDynamodb, id: &BuildId, step: Option<&str>, limit: u32) -> Vec<Event> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let EventPage { items, next_seq } = backend.read_events(id.clone(), step, from, limit).unwrap();
        let is_empty = items.is_empty();
        all.extend(items);
        match next_seq {
            Some(next) if next > from || !is_empty => from = next,
            Some(_) | None => return all,
        }
    }
}

/// That these are all events of the build, to the byte.
fn assert_events(backend: &HistoryDynamodb, id: &BuildId, expected: &[Event]) {
    let got = read_all(backend, id, None, 500);
    let seqs = |events: &[Event]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&got), seqs(expected));
    assert!(format!("{got:?}") == format!("{expected:?}"), "events have changed");
}

/// The numbers of all builds, or of the component's, newest first.
fn listed(backend: &HistoryDynamodb, component: Option<&str>, limit: u32) -> Vec<u64> {
    let filter = BuildFilter {
        component: component.map(str::to_owned),
        statuses: Vec::new(),
        started_after: None,
        started_before: None,
        metadata: Vec::new(),
    };
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = backend.list_builds(filter.clone(), Page { limit, cursor }).unwrap();
        all.extend(page.items.into_iter().map(|build| build.id.number));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

fn unavailable<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
}
