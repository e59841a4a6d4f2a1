//! Whether a build's events are those that happened, wherever they are kept.

use super::records::{End, Records};
use crate::{
    chain::{Broken, Hash, Verifier},
    commands::builds::{Builds, backend_error},
    engine::ports::backend::Listed,
    error::CommandError,
    event::{BuildStarted, Payload},
    report::Summary,
};

/// Where a build is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Journal,
    Backend,
    /// What they say differs.
    Both,
}

impl Place {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Place::Journal => "journal",
            Place::Backend => "backend",
            Place::Both => "journal and backend",
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    /// The first event that it concerns.
    pub(super) event: Option<u64>,
    pub(super) message: String,
}

/// A build that was checked.
pub(super) struct Checked {
    pub(super) build: Summary,
    pub(super) places: Vec<Place>,
    /// As many as are whole.
    pub(super) events: u64,
    /// The last one's.
    pub(super) hash: Option<Hash>,
    pub(super) running: bool,
    pub(super) problems: Vec<Problem>,
}

/// What was found along the records of one place.
#[derive(Default)]
struct Walk {
    /// As they are kept.
    hashes: Vec<Hash>,
    last_kind: String,
    /// Which build the first event is of, if it says so.
    id: Option<String>,
    /// What ended it early.
    broken: Option<Broke>,
}

/// Why the rest of the records is not known.
struct Broke {
    event: Option<u64>,
    message: String,
    /// It is a record that may be just being written.
    torn: bool,
}

/// What is known of how a build ended there.
struct Expected<'a> {
    running: bool,
    record: Option<&'a Listed>,
}

pub(super) fn build(builds: &mut Builds, build: Summary) -> Result<Checked, CommandError> {
    let place = builds.store().place(&build.id);
    let record = record(builds, &build)?;
    let mut checked =
        Checked { build, places: Vec::new(), events: 0, hash: None, running: false, problems: Vec::new() };
    let mut journal = None;
    if place.journal().exists() {
        // Asked first: one that ends in between has its end in what is read.
        let running = place.is_running();
        let walk = match Records::journal(place) {
            Ok(records) => walk(builds, records)?,
            Err(error) => {
                let broken = Broke { event: None, message: error.message, torn: false };
                Walk { broken: Some(broken), ..Walk::default() }
            }
        };
        checked.take(Place::Journal, &walk, &Expected { running, record: None });
        journal = Some(walk);
    }
    if let Some(record) = record {
        let summary = Summary::listed(record.clone());
        let walk = walk(builds, Records::backend(&summary))?;
        let running = record.outcome.is_none() && !record.lost;
        // What is still to be sent is not missing.
        let unsent = record.outcome.is_none() && builds.store().is_unsent(&record.id);
        checked.take(Place::Backend, &walk, &Expected { running: running || unsent, record: Some(&record) });
        if let Some(journal) = &journal {
            // Where reading ended early, that is said, and what follows cannot be compared.
            let is_partial =
                running || unsent || checked.running || journal.broken.is_some() || walk.broken.is_some();
            checked.problems.extend(disagreement(&journal.hashes, &walk.hashes, is_partial));
        }
        if journal.is_none() {
            checked.build = summary;
        }
    }
    Ok(checked)
}

/// The build in the backend: by its id, as what the journal says of its number may be wrong.
fn record(builds: &mut Builds, build: &Summary) -> Result<Option<Listed>, CommandError> {
    if let Some(record) = builds.record_of(build).map_err(|error| backend_error(&error))? {
        return Ok(Some(record));
    }
    let Some(found) = builds.find_remote(&build.id)? else { return Ok(None) };
    builds.record_of(&found).map_err(|error| backend_error(&error))
}

fn walk(builds: &mut Builds, mut records: Records) -> Result<Walk, CommandError> {
    let (mut walk, mut verifier) = (Walk::default(), Verifier::default());
    loop {
        let record = match records.next(builds)? {
            Ok(record) => record,
            Err(End::Whole) => return Ok(walk),
            Err(End::Damaged(message)) => {
                walk.broken = Some(Broke { event: Some(verifier.checked()), message, torn: true });
                return Ok(walk);
            }
        };
        if walk.hashes.is_empty()
            && let Payload::Json(text) = &record.payload
            && let Ok(started) = serde_json::from_str::<BuildStarted>(text)
        {
            walk.id = Some(started.id);
        }
        if let Err(broken) = verifier.check(&record) {
            let event = match &broken {
                Broken::Missing { expected, .. } => *expected,
                Broken::Changed { seq, .. } => *seq,
            };
            walk.broken = Some(Broke { event: Some(event), message: broken.to_string(), torn: false });
            return Ok(walk);
        }
        walk.hashes.push(record.hash);
        walk.last_kind = record.kind;
    }
}

impl Checked {
    fn take(&mut self, place: Place, walk: &Walk, expected: &Expected<'_>) {
        self.places.push(place);
        self.running |= expected.running;
        let events = walk.hashes.len() as u64;
        if events >= self.events {
            self.events = events;
            self.hash = walk.hashes.last().copied();
        }
        let problem = |event, message: String| Problem { place, event, message };
        if let Some(id) = walk.id.as_ref().filter(|id| **id != self.build.id) {
            self.problems.push(problem(Some(0), format!("its events are those of build {id}")));
        }
        if let Some(Broke { event, message, torn }) = &walk.broken {
            // The last record of a journal that is being written may be cut.
            if !(expected.running && *torn && place == Place::Journal) {
                self.problems.push(problem(*event, message.clone()));
            }
            return;
        }
        if !expected.running && walk.last_kind != "build.finished" {
            let message = format!(
                "its end is missing after {events} events: its runner was lost, or somebody removed it"
            );
            self.problems.push(problem(Some(events), message));
        }
        let Some(record) = expected.record.filter(|_| !expected.running) else { return };
        if record.next_seq != events {
            let message = format!("it should have {} events, and {events} are there", record.next_seq);
            self.problems.push(problem(Some(events.min(record.next_seq)), message));
        }
        let hash = walk.hashes.last().copied().unwrap_or_default().to_string();
        if let Some(brief) = record.brief.as_ref().filter(|brief| brief.hash != hash) {
            let message =
                format!("its record says that the last event's hash is {}, and it is {hash}", brief.hash);
            self.problems.push(problem(events.checked_sub(1), message));
        }
    }
}

/// The first event that journal and backend have differently, or that one of them lacks.
fn disagreement(journal: &[Hash], backend: &[Hash], partial: bool) -> Option<Problem> {
    let problem =
        |event: usize, message: String| Problem { place: Place::Both, event: Some(event as u64), message };
    let common = journal.iter().zip(backend);
    if let Some(event) = common.clone().position(|(journal, backend)| journal != backend) {
        return Some(problem(event, format!("event {event} is not the same in both")));
    }
    (journal.len() != backend.len() && !partial).then(|| {
        let (journal, backend) = (journal.len(), backend.len());
        problem(
            journal.min(backend),
            format!("{journal} events are whole in the journal, and {backend} in the backend"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_must_be_the_same() {
        let hashes = |bytes: &[u8]| bytes.iter().map(|byte| Hash([*byte; 32])).collect::<Vec<_>>();
        let event = |journal: &[u8], backend: &[u8], partial| {
            disagreement(&hashes(journal), &hashes(backend), partial).and_then(|problem| problem.event)
        };
        assert_eq!(event(&[1, 2, 3], &[1, 2, 3], false), None);
        assert_eq!(event(&[1, 2, 3], &[1, 9, 3], false), Some(1));
        assert_eq!(event(&[1, 2, 3], &[1, 2], false), Some(2));
        assert_eq!(event(&[1, 2, 3], &[1, 2], true), None);
        assert_eq!(event(&[1], &[2, 3], true), Some(0));
    }
}
