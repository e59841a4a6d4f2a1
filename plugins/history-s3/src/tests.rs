//! The contract of a history backend, in a bucket.

mod breakdowns;
mod bucket;
mod contract;
mod fill;
mod lists;
mod requests;

use dcd_plugin_sdk::history::{BuildFilter, Event, Grant, NewBuild, Page, Payload, Status, WriteOutcome};

use super::*;
use bucket::{Breakdown, Bucket};

type Tested = Result<(), Error>;

fn new_build(component: &str, run_id: &str, started_at: u64) -> NewBuild {
    NewBuild {
        component: component.into(),
        run_id: run_id.into(),
        started_at,
        lease_ttl_ms: 60_000,
        metadata: "{\"sha\":  \"abc\"}".into(),
    }
}

fn event(seq: u64) -> Event {
    let step = if seq.is_multiple_of(2) { "even" } else { "odd" };
    Event {
        seq,
        at: seq,
        kind: "step.output".into(),
        step: Some(step.into()),
        payload: Payload::Bytes(vec![0xff, u8::try_from(seq % 256).unwrap_or_default()]),
        hash: vec![u8::try_from(seq % 256).unwrap_or_default(); 32],
    }
}

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

fn large(seq: u64, bytes: usize) -> Event {
    Event { payload: Payload::Bytes(vec![b'x'; bytes]), ..event(seq) }
}

fn any() -> BuildFilter {
    BuildFilter {
        component: None,
        statuses: vec![],
        started_after: None,
        started_before: None,
        metadata: vec![],
    }
}

fn page(limit: u32) -> Page {
    Page { limit, cursor: None }
}

/// A whole build of one event.
fn whole(store: &HistoryS3, component: &str, run_id: &str, started_at: u64) -> Result<Grant, Error> {
    let grant = store.begin_build(new_build(component, run_id, started_at))?;
    let token = grant.lease.token.clone();
    store.append(grant.build.clone(), &token, 0, events(0..1))?;
    let outcome = store.finish_build(
        grant.build.clone(),
        &token,
        1,
        Status::Success,
        started_at + 5,
        "{\"n\":1}".into(),
    )?;
    assert_eq!(outcome, WriteOutcome::Stored(1));
    Ok(grant)
}

/// The numbers on all pages.
fn numbers(store: &HistoryS3, filter: &BuildFilter, limit: u32) -> Result<Vec<u64>, Error> {
    let (mut numbers, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list_builds(filter.clone(), Page { limit, cursor })?;
        assert!(page.items.len() <= limit as usize);
        numbers.extend(page.items.iter().map(|build| build.id.number));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(numbers),
        }
    }
}
