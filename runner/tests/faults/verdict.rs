//! What must be true afterwards, whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use dcd::{
    chain::Verifier,
    event::{Body, Outcome, Payload, Record},
    journal::Reader,
};
use serde_json::Value;

use crate::{
    backend::Kept,
    course::Happened,
    field::Field,
    plan::{SMALL, WORKSPACES},
    run::Ran,
};

/// What was found, as figures and as faults of dcd's.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Builds in journals, and in the backend.
    pub(crate) builds: [u64; 2],
    /// Events that a run showed; that are in journals; that are in the backend.
    pub(crate) acknowledged: u64,
    pub(crate) journalled: u64,
    pub(crate) kept: u64,
    /// Events that were shown or are in a journal, and that the backend lacks.
    pub(crate) lost: u64,
    /// Events and builds that the backend has more than once.
    pub(crate) doubled: u64,
    /// Events in the place of others, or that are not what they were.
    pub(crate) misplaced: u64,
    /// How many builds ended how, as the backend says.
    pub(crate) ends: BTreeMap<String, u64>,
    /// What is wrong, in sentences.
    pub(crate) wrong: Vec<String>,
}

/// A build's journal, when all is over.
struct Journal {
    workspace: usize,
    records: Vec<Record>,
    /// How it ended, and why.
    end: Option<(Outcome, Option<String>)>,
    number: Option<u64>,
}

/// Compares what was shown, what is in the journals and what the backend has.
pub(crate) fn judge(field: &Field, happened: &Happened, kept: &[Kept]) -> Verdict {
    let mut verdict = Verdict::default();
    let journals = journals(field, &mut verdict);
    let mut by_run: BTreeMap<&str, &Kept> = BTreeMap::new();
    for build in kept {
        *verdict.ends.entry(build.status.clone()).or_default() += 1;
        verdict.kept += build.records.len() as u64;
        verdict.doubled += build.doubled;
        if by_run.insert(&build.run_id, build).is_some() {
            verdict.doubled += build.records.len() as u64;
            verdict.wrong(format!("the backend has {} twice", build.run_id));
        }
        if !journals.contains_key(&build.run_id) {
            verdict.wrong(format!("the backend has {}, which no workspace has", build.run_id));
        }
    }
    verdict.builds = [journals.len() as u64, kept.len() as u64];
    verdict.numbers(kept);
    for (id, journal) in &journals {
        verdict.journalled += journal.records.len() as u64;
        if let Some(build) = by_run.get(id.as_str()) {
            verdict.same(id, journal, build);
        } else {
            verdict.lost += journal.records.len() as u64;
            verdict.wrong(format!("the backend lacks {id} of workspace {}", journal.workspace));
        }
    }
    for ran in &happened.runs {
        verdict.shown(ran, &journals);
    }
    verdict.wrong.extend(happened.left.iter().map(|said| format!("not all was sent: {said}")));
    verdict
}

impl Verdict {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Each component's numbers are 1, 2, 3 and so on.
    fn numbers(&mut self, kept: &[Kept]) {
        let mut given: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for build in kept {
            given.entry(&build.component).or_default().push(build.number);
        }
        for (component, mut numbers) in given {
            numbers.sort_unstable();
            if numbers != (1..=numbers.len() as u64).collect::<Vec<_>>() {
                self.wrong(format!("the numbers of {component} are not one sequence: {numbers:?}"));
            }
        }
    }

    /// The backend has the journal's events, and its end.
    fn same(&mut self, id: &str, journal: &Journal, build: &Kept) {
        let mine: BTreeMap<u64, &Record> =
            journal.records.iter().map(|record| (record.seq, record)).collect();
        let seqs: BTreeSet<u64> = build.records.iter().map(|record| record.seq).collect();
        self.doubled += build.records.len() as u64 - seqs.len() as u64;
        let lost = mine.keys().filter(|seq| !seqs.contains(seq)).count() as u64;
        let changed =
            build.records.iter().filter(|record| mine.get(&record.seq) != Some(record)).count() as u64;
        self.lost += lost;
        self.misplaced += changed;
        if lost + changed > 0 {
            self.wrong(format!("{id}: the backend lacks {lost} events, and has {changed} others"));
        }
        let mut verifier = Verifier::default();
        if let Some(broken) = build.records.iter().find_map(|record| verifier.check(record).err()) {
            self.wrong(format!("{id}: the chain of the backend's events is broken: {broken}"));
        }
        if let Some(number) = journal.number.filter(|number| *number != build.number) {
            self.wrong(format!(
                "{id} was told that it is build {number}, and the backend has {}",
                build.number
            ));
        }
        match &journal.end {
            Some((outcome, _)) if outcome.as_str() == build.status => {}
            end => self.wrong(format!("{id} ended as {end:?}, and the backend has {}", build.status)),
        }
        let hash = build.summary.as_ref().and_then(|summary| summary["hash"].as_str());
        if hash != Some(verifier.last().to_string().as_str()) {
            self.wrong(format!(
                "{id}: the summary has the hash {hash:?}, the last event {}",
                verifier.last()
            ));
        }
    }

    /// What a run showed is in its journal, and its end is the one that its process told of.
    fn shown(&mut self, ran: &Ran, journals: &BTreeMap<String, Journal>) {
        let lines = lines(&ran.stdout);
        self.acknowledged += lines.len() as u64;
        let Some(first) = lines.first() else {
            // It ended before its first event: killed, or without room for it.
            if ran.signal.is_none() && !(ran.code == Some(3) && ran.plan.workspace == SMALL) {
                self.wrong(format!("{}: it showed nothing: {}", named(ran), ran.stderr));
            }
            return;
        };
        let id = first["payload"]["id"].as_str().unwrap_or_default();
        let Some(journal) = journals.get(id) else {
            self.lost += lines.len() as u64;
            self.wrong(format!("{}: there is no journal of {id}, of which events were shown", named(ran)));
            return;
        };
        for (line, seq) in lines.iter().zip(0_u64..) {
            let record = usize::try_from(seq).ok().and_then(|seq| journal.records.get(seq));
            if line["seq"] != seq {
                self.misplaced += 1;
                self.wrong(format!("{}: event {seq} was not shown; {} was", named(ran), line["seq"]));
                break;
            }
            match record {
                None => self.lost += 1,
                Some(record) if !is_same(line, record) => self.misplaced += 1,
                Some(_) => {}
            }
        }
        if let Err(why) = truthful(ran, &lines, journal) {
            self.wrong(format!("{} ({id}) ended as {:?}, but {why}", named(ran), journal.end));
        }
    }
}

/// Whether the recorded end is the one that happened; else what speaks against it.
fn truthful(ran: &Ran, lines: &[Value], journal: &Journal) -> Result<(), String> {
    let Some((outcome, reason)) = &journal.end else { return Err("every build has an end".to_owned()) };
    let said = |right: bool, what: String| if right { Ok(()) } else { Err(what) };
    let last = lines.last().filter(|line| line["kind"] == "build.finished");
    if let Some(shown) = last.and_then(|line| line["payload"]["outcome"].as_str()) {
        said(shown == outcome.as_str(), format!("it showed {shown}"))?;
    }
    let own = ran.plan.recipe.outcome();
    let lost = *outcome == Outcome::Error && reason.as_deref() == Some("runner lost");
    let right = match (ran.code, ran.signal) {
        (Some(0 | 4), _) => *outcome == Outcome::Success,
        (Some(1), _) => *outcome == Outcome::Failure,
        (Some(124), _) => *outcome == Outcome::Timeout,
        (Some(130 | 143), _) => *outcome == Outcome::Cancellation,
        (Some(3), _) => lost && ran.plan.workspace == SMALL && last.is_none(),
        // Killed: by its own end, if it came so far, else as lost.
        (None, Some(9 | 15)) => lost || *outcome == own,
        _ => false,
    };
    said(right, format!("its exit code was {:?}, its signal {:?}: {}", ran.code, ran.signal, ran.stderr))?;
    let own_end = *outcome == own || lost || (*outcome == Outcome::Cancellation && ran.code == Some(143));
    said(own_end, format!("its steps end in {own}"))
}

fn named(ran: &Ran) -> String {
    let plan = &ran.plan;
    format!("build {} (workspace {}, {:?}, {:?})", plan.index, plan.workspace, plan.recipe, plan.harm)
}

/// The whole lines that a run printed: a last one that was cut by a signal shows no event.
fn lines(stdout: &[u8]) -> Vec<Value> {
    let whole = stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = stdout[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Whether the line shows what the record holds.
fn is_same(line: &Value, record: &Record) -> bool {
    let payload = match &record.payload {
        Payload::Json(json) => serde_json::from_str::<Value>(json).is_ok_and(|json| json == line["payload"]),
        Payload::Bytes(bytes) => match (line["text"].as_str(), line["base64"].as_str()) {
            (Some(text), None) => text.as_bytes() == bytes,
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).is_ok_and(|decoded| decoded == *bytes),
            _ => false,
        },
    };
    payload
        && line["seq"] == record.seq
        && line["at"] == record.at
        && line["kind"] == record.kind
        && line["step"].as_str() == record.step.as_deref()
}

/// The journals of all workspaces that hold an event, by their builds' ids.
fn journals(field: &Field, verdict: &mut Verdict) -> BTreeMap<String, Journal> {
    let mut journals = BTreeMap::new();
    for workspace in 0..WORKSPACES {
        let builds = fs::read_dir(field.workspace(workspace).join(".dcd/builds")).into_iter().flatten();
        for build in builds.map(Result::unwrap) {
            let id = build.file_name().into_string().unwrap();
            let (records, damage) = read(&build.path().join("journal"));
            if records.is_empty() {
                continue;
            }
            let mut verifier = Verifier::default();
            let broken = records.iter().find_map(|record| verifier.check(record).err());
            for what in damage.into_iter().chain(broken.map(|broken| broken.to_string())) {
                verdict.wrong(format!("the journal of {id}, workspace {workspace}: {what}"));
            }
            let (mut end, mut number) = (None, None);
            for record in &records {
                match Body::from_parts(&record.kind, record.payload.clone()) {
                    Body::BuildFinished(finished) => end = Some((finished.outcome, finished.reason)),
                    Body::BuildNumbered(numbered) => number = Some(numbered.number),
                    _ => {}
                }
            }
            journals.insert(id, Journal { workspace, records, end, number });
        }
    }
    journals
}

/// A journal's records, and what is damaged. One without even a header has none.
fn read(path: &std::path::Path) -> (Vec<Record>, Option<String>) {
    let Ok(mut reader) = Reader::open(path) else { return (Vec::new(), None) };
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    (records, reader.torn().map(ToString::to_string))
}

/// That what is wrong is found.
mod tests {
    use dcd::{
        event::{AttemptStarted, BuildFinished},
        journal::Writer,
    };

    use super::*;

    /// A journal of four events.
    fn journal() -> Journal {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut writer = Writer::create(&path).unwrap();
        for attempt in 1..=3 {
            writer.append(Some("a".into()), Body::AttemptStarted(AttemptStarted { attempt })).unwrap();
        }
        let end = BuildFinished { outcome: Outcome::Success, duration_ms: 1, reason: None, signal: None };
        writer.append(None, Body::BuildFinished(end)).unwrap();
        writer.finish().unwrap();
        let (records, damage) = read(&path);
        assert_eq!((records.len(), damage), (4, None));
        Journal { workspace: 0, records, end: Some((Outcome::Success, None)), number: Some(1) }
    }

    /// What is found when the backend has this: events lost, doubled, misplaced, and what is said.
    fn found(change: impl FnOnce(&mut Kept)) -> (u64, u64, u64, Vec<String>) {
        let journal = journal();
        let hash = journal.records[3].hash.to_string();
        let mut kept = Kept {
            number: 1,
            status: "success".into(),
            summary: Some(serde_json::json!({ "hash": hash })),
            records: journal.records.clone(),
            ..Kept::default()
        };
        change(&mut kept);
        let mut verdict = Verdict::default();
        verdict.same("0a", &journal, &kept);
        (verdict.lost, verdict.doubled, verdict.misplaced, verdict.wrong)
    }

    #[test]
    fn a_backend_that_has_it_all_is_right() {
        assert_eq!(found(|_| ()), (0, 0, 0, vec![]));
    }

    #[test]
    fn what_is_wrong_in_a_backend_is_found() {
        let counts = |change: &dyn Fn(&mut Kept)| {
            let (lost, doubled, misplaced, wrong) = found(change);
            assert!(!wrong.is_empty());
            (lost, doubled, misplaced)
        };
        assert_eq!(counts(&|kept| drop(kept.records.remove(1))), (1, 0, 0));
        assert_eq!(counts(&|kept| kept.records.insert(1, kept.records[1].clone())), (0, 1, 0));
        assert_eq!(counts(&|kept| kept.records[2].at += 1), (0, 0, 1));
        let swap = |kept: &mut Kept| {
            kept.records.swap(1, 2);
            (kept.records[1].seq, kept.records[2].seq) = (1, 2);
        };
        assert_eq!(counts(&swap), (0, 0, 2));
        for change in [
            (|kept: &mut Kept| kept.status = "error".into()) as fn(&mut Kept),
            |kept| kept.number = 2,
            |kept| kept.summary = None,
        ] {
            assert_eq!(counts(&change), (0, 0, 0));
        }
    }
}
