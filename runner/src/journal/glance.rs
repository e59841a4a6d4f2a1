//! The head and the tail of a journal: enough for a list, however much the steps printed.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    build::Build,
    event::{Body, Event, UnixMs},
    journal::{
        BuildDir, Reader, Store,
        format::{FRAME_LEN, Frame},
        store::{encode, is_locked},
    },
};

/// Enough for the first events with what is recorded of the surroundings, in most builds.
const HEAD: usize = 16 << 10;
/// A journal's last event is smaller: its reason may be what a plugin said. And so is one with a piece of output that could
/// pass for it.
const TAIL: u64 = 192 << 10;

impl BuildDir {
    /// What the journal's first events say, and how the build ended: of the steps not more than their names. What lies
    /// between is not read, so it is not noticed either that it is damaged.
    pub fn glance(&self) -> io::Result<Build> {
        let journal = self.journal();
        let mut build = head(&journal)?;
        let mut end = last_event(&journal)?;
        if !is_end(end.as_ref()) && !is_locked(&journal)? {
            // It may have ended in between.
            end = last_event(&journal)?;
            if !is_end(end.as_ref()) {
                build.mark_lost();
            }
        }
        if let Some(event) = end.filter(|event| is_end(Some(event))) {
            build.apply(&event);
        }
        build.pruned = self.is_pruned();
        Ok(build)
    }

    /// When the build began, as its id says; `None` when that is no UUID of version 7.
    pub fn began_at(&self) -> Option<UnixMs> {
        began_at(&self.id)
    }

    /// Whether what the steps printed was dropped.
    pub fn is_pruned(&self) -> bool {
        self.pruned_mark().exists()
    }

    pub(super) fn pruned_mark(&self) -> PathBuf {
        self.path.join("pruned")
    }
}

impl Store {
    /// The numbers of the component's builds, by their ids.
    pub fn numbers_of(&self, component: &str) -> HashMap<String, u64> {
        let mut numbers = HashMap::new();
        let entries = fs::read_dir(self.root.join("numbers").join(encode(component)));
        for entry in entries.into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(number), Ok(ids)) = (number, fs::read_to_string(entry.path())) {
                numbers.extend(ids.lines().map(|id| (id.to_owned(), number)));
            }
        }
        numbers
    }
}

/// What the first 48 bits of a UUID of version 7 say.
fn began_at(id: &str) -> Option<UnixMs> {
    let is_uuid = id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let time = || Some(format!("{}{}", id.get(..8)?, id.get(9..13)?));
    is_uuid.then(time).flatten().and_then(|time| UnixMs::from_str_radix(&time, 16).ok())
}

/// What is said before the first step begins.
fn head(journal: &Path) -> io::Result<Build> {
    let mut reader = Reader::buffered(journal, HEAD)?;
    let mut build = Build::default();
    while let Some(event) = reader.next_event()? {
        if event.step.is_some() {
            break;
        }
        build.apply(&event);
        if matches!(event.body, Body::BuildFacts(_)) {
            break;
        }
    }
    Ok(build)
}

pub(super) fn is_end(event: Option<&Event>) -> bool {
    event.is_some_and(|event| matches!(event.body, Body::BuildFinished(_)))
}

/// The last event, if it is a small one and whole.
pub(super) fn last_event(journal: &Path) -> io::Result<Option<Event>> {
    let mut file = File::open(journal)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(last(&tail))
}

/// The record that ends where the bytes end: where one begins, its length leads there, and its checksum fits. Of several
/// the longest: the others are in what a step printed.
fn last(bytes: &[u8]) -> Option<Event> {
    (0..bytes.len().saturating_sub(FRAME_LEN)).find_map(|at| {
        let (frame, body) = bytes[at..].split_first_chunk::<FRAME_LEN>()?;
        let frame = Frame::parse(*frame, 0).ok().filter(|frame| frame.length == body.len())?;
        frame.decode(body, 0).ok().map(crate::event::Record::into_event)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AttemptStarted, BuildFinished, BuildNumbered, BuildStarted, Outcome, StepPlan};

    fn start(store: &Store, id: &str) -> (BuildDir, crate::journal::Writer) {
        let (dir, mut writer) = store.create_build(id).unwrap();
        let plan = StepPlan { name: "test".into(), ..StepPlan::default() };
        let started = BuildStarted {
            id: id.into(),
            component: "shop".into(),
            steps: vec![plan],
            ..BuildStarted::default()
        };
        writer.append(None, Body::BuildStarted(started)).unwrap();
        writer.append(None, Body::BuildNumbered(BuildNumbered { number: 3, by: "journal".into() })).unwrap();
        writer.append(None, Body::BuildFacts(Box::default())).unwrap();
        writer.append(Some("test".into()), Body::AttemptStarted(AttemptStarted { attempt: 1 })).unwrap();
        writer.append(Some("test".into()), Body::StepOutput(vec![b'x'; 100_000].into())).unwrap();
        (dir, writer)
    }

    #[test]
    fn a_glance_says_what_reading_all_of_it_says() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let (dir, mut writer) = start(&store, "0a");
        let running = dir.glance().unwrap();
        assert_eq!((running.outcome, running.number, running.component.as_str()), (None, Some(3), "shop"));
        let end = BuildFinished { outcome: Outcome::Failure, duration_ms: 7, reason: None, signal: None };
        writer.append(None, Body::BuildFinished(end)).unwrap();
        writer.finish().unwrap();
        let (glance, read) = (dir.glance().unwrap(), dir.read().unwrap());
        let said = |build: &Build| {
            (build.outcome, build.duration_ms, build.finished_at, build.started_at, build.hash, build.number)
        };
        assert_eq!(said(&glance), said(&read));
        assert_eq!((glance.outcome, glance.duration_ms), (Some(Outcome::Failure), Some(7)));

        let (lost, writer) = start(&store, "0b");
        drop(writer);
        let lost = lost.glance().unwrap();
        assert_eq!((lost.outcome, lost.reason.as_deref()), (Some(Outcome::Error), Some("runner lost")));
    }

    #[test]
    fn what_a_step_prints_is_no_end() {
        let workspace = tempfile::tempdir().unwrap();
        let store = Store::at(workspace.path());
        let finished = |reason: Option<String>| {
            let outcome = Outcome::Success;
            Body::BuildFinished(BuildFinished { outcome, duration_ms: 7, reason, signal: None })
        };
        let (forged, mut writer) = start(&store, "0a");
        writer.append(None, finished(None)).unwrap();
        writer.finish().unwrap();
        let (reader, bytes) = (Reader::open(&forged.journal()).unwrap(), fs::read(forged.journal()).unwrap());
        let forged = bytes[last_record_at(reader)..].to_vec();

        let (lost, mut writer) = start(&store, "0b");
        writer.append(Some("test".into()), Body::StepOutput(forged.into())).unwrap();
        drop(writer);
        assert_eq!(lost.glance().unwrap().outcome, Some(Outcome::Error));

        let (long, mut writer) = start(&store, "0c");
        writer.append(None, finished(Some("x".repeat(64 << 10)))).unwrap();
        writer.finish().unwrap();
        assert_eq!(long.glance().unwrap().outcome, Some(Outcome::Success));
    }

    fn last_record_at(mut reader: Reader) -> usize {
        let mut at = 0;
        loop {
            let before = reader.offset();
            match reader.next_record().unwrap() {
                Some(_) => at = before,
                None => return usize::try_from(at).unwrap(),
            }
        }
    }

    #[test]
    fn ids_say_when_a_build_began() {
        assert_eq!(began_at("01a203e2-3295-7162-b630-1285573927c9"), Some(0x01a2_03e2_3295));
        assert_eq!((began_at("0a"), began_at("01a203e2_3295-7162-b630-1285573927c9")), (None, None));
    }
}
