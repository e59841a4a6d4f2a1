//! Appending to a journal.
//!
//! An event is in the kernel's hands (so it outlives `kill -9`) when [`Writer::append`] returns. It is on disk
//! (so it outlives power loss) by group commit: a thread syncs what is new once a second, and at the end. One sync per step would cost six times as much as the step's process.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{fs::FlockOperation, io::Errno};
use tokio::sync::watch;

use crate::{
    chain::Hash,
    engine::ports::{Log, Progress},
    event::{Body, Event, StepName, UnixMs},
    journal::{
        Reader,
        format::{self, Encoder},
        glance,
    },
};

/// How long a written event may wait for the disk.
const GROUP_COMMIT: Duration = Duration::from_secs(1);

/// Why a journal could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the journal {}: {source}", path.display())]
pub struct JournalError {
    /// What was tried.
    pub what: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The one writer of a build's journal. Holds a lock on the file as long as it lives, by which a reader tells
/// a running build from a lost one.
pub struct Writer {
    path: PathBuf,
    file: Arc<File>,
    end: End,
    encoder: Encoder,
    syncer: Arc<Syncer>,
    thread: Option<JoinHandle<()>>,
}

/// How far a journal is written.
#[derive(Clone, Copy, Default)]
struct End {
    /// Where the last whole record ends.
    offset: u64,
    next_seq: u64,
    /// The last event's.
    hash: Hash,
}

struct Syncer {
    state: Mutex<SyncState>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct SyncState {
    written: u64,
    closed: bool,
    error: Option<io::Error>,
}

impl Writer {
    /// Makes the journal of a new build.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let fail = |what, source| JournalError { what, path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| fail("create", error))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| fail("lock", error.into()))?;
        file.write_all(&format::header()).map_err(|error| fail("write to", error))?;
        Self::start(path, file, End { offset: format::HEADER_LEN as u64, ..End::default() })
    }

    /// Goes on with the journal of a build whose runner is gone: a torn tail is cut, and what is whole stays. `None`:
    /// the runner is not gone. Where more than a tail is damaged, what is cut is kept beside it, in `journal.cut`; and a
    /// journal that has its end is left as it is, with an error.
    pub fn recover(path: &Path) -> Result<Option<Self>, JournalError> {
        let fail = |what, source| JournalError { what, path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|error| fail("open", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(fail("lock", error.into())),
        }
        let mut reader = Reader::open(path).map_err(|error| fail("read", error))?;
        let mut end = End::default();
        while let Some(record) = reader.next_record().map_err(|error| fail("read", error))? {
            (end.next_seq, end.hash) = (record.seq + 1, record.hash);
        }
        end.offset = reader.offset();
        if let Some(damage) = reader.torn().cloned() {
            let ended = glance::last_event(path).map_err(|error| fail("read", error))?;
            if glance::is_end(ended.as_ref()) {
                let what = format!("{damage}; as whole ones follow it, it is left as it is");
                return Err(fail("go on with", io::Error::new(io::ErrorKind::InvalidData, what)));
            }
            if !reader.is_cut_off().map_err(|error| fail("read", error))? {
                keep_cut(path, &mut file, end.offset)
                    .map_err(|error| fail("copy the damaged end of", error))?;
            }
        }
        file.set_len(end.offset).map_err(|error| fail("cut the torn end of", error))?;
        file.seek(io::SeekFrom::End(0)).map_err(|error| fail("write to", error))?;
        Self::start(path, file, end).map(Some)
    }

    fn start(path: &Path, file: File, end: End) -> Result<Self, JournalError> {
        let file = Arc::new(file);
        let syncer = Arc::new(Syncer {
            state: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
        });
        let thread = std::thread::Builder::new()
            .name("journal-sync".into())
            .spawn({
                let (syncer, file, directory) =
                    (syncer.clone(), file.clone(), path.parent().map(Path::to_owned));
                move || syncer.run(&file, directory.as_deref())
            })
            .map_err(|source| JournalError {
                what: "start the syncing thread of",
                path: path.to_owned(),
                source,
            })?;
        Ok(Writer {
            path: path.to_owned(),
            file,
            end,
            encoder: Encoder::default(),
            syncer,
            thread: Some(thread),
        })
    }

    /// Gives the event its number, time and hash, and writes it.
    pub fn append(&mut self, step: Option<StepName>, body: Body) -> Result<Event, JournalError> {
        self.append_at(now(), step, body)
    }

    /// The same for something that happened earlier.
    pub fn append_at(
        &mut self,
        at: UnixMs,
        step: Option<StepName>,
        body: Body,
    ) -> Result<Event, JournalError> {
        let mut event = Event { seq: self.end.next_seq, at, step, body, hash: Hash::default() };
        self.write(std::slice::from_mut(&mut event))?;
        Ok(event)
    }

    /// The same for events that come together, with one write.
    pub fn append_all(&mut self, events: Vec<(Option<StepName>, Body)>) -> Result<Vec<Event>, JournalError> {
        let at = now();
        let event = |(seq, (step, body))| Event { seq, at, step, body, hash: Hash::default() };
        let mut events: Vec<_> = (self.end.next_seq..).zip(events).map(event).collect();
        self.write(&mut events)?;
        Ok(events)
    }

    fn write(&mut self, events: &mut [Event]) -> Result<(), JournalError> {
        self.encoder.clear();
        let mut hash = self.end.hash;
        for event in &mut *events {
            if self.encoder.encode(event, hash) > format::MAX_BODY {
                let what = "an event is larger than a record can be";
                return Err(self.error("write to", io::Error::new(io::ErrorKind::InvalidInput, what)));
            }
            hash = event.hash;
        }
        let records = self.encoder.records();
        if let Err(error) = (&*self.file).write_all(records) {
            // Half a record must not stand before the next one.
            let _ = self.file.set_len(self.end.offset);
            let _ = (&*self.file).seek(io::SeekFrom::Start(self.end.offset));
            return Err(self.error("write to", error));
        }
        let is_first = self.end.next_seq == 0;
        self.end = End {
            offset: self.end.offset + records.len() as u64,
            next_seq: self.end.next_seq + events.len() as u64,
            hash,
        };
        self.syncer.lock().written = self.end.next_seq;
        if is_first {
            self.syncer.wake.notify_one();
        }
        Ok(())
    }

    /// How many events it has.
    pub fn len(&self) -> u64 {
        self.end.next_seq
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Follows how far the journal is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.syncer.progress.subscribe()
    }

    /// Syncs what is left, and ends.
    pub fn finish(mut self) -> Result<(), JournalError> {
        self.close();
        let error = self.syncer.lock().error.take();
        error.map_or(Ok(()), |error| Err(self.error("sync", error)))
    }

    fn close(&mut self) {
        self.syncer.lock().closed = true;
        self.syncer.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the journal's bytes are written in any case.
            let _ = thread.join();
        }
    }

    fn error(&self, what: &'static str, source: io::Error) -> JournalError {
        JournalError { what, path: self.path.clone(), source }
    }
}

impl Log for Writer {
    type Error = JournalError;

    fn append(&mut self, events: Vec<(Option<StepName>, Body)>) -> Result<Vec<Event>, JournalError> {
        self.append_all(events)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Keeps what is cut off a journal beside it, after what was cut before.
fn keep_cut(journal: &Path, file: &mut File, from: u64) -> io::Result<()> {
    let mut kept = OpenOptions::new().create(true).append(true).open(journal.with_extension("cut"))?;
    file.seek(io::SeekFrom::Start(from))?;
    io::copy(file, &mut kept)?;
    kept.sync_all()
}

impl Syncer {
    fn lock(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, file: &File, directory: Option<&Path>) {
        let mut synced = 0;
        loop {
            let (target, closed) = self.wait(synced);
            if target > synced {
                match file.sync_data() {
                    Ok(()) => {
                        if synced == 0 {
                            // The name must outlive power loss, too. After the file, most file systems have it
                            // on disk already, and this costs nothing.
                            sync_directories(directory);
                        }
                        synced = target;
                        self.progress.send_modify(|progress| progress.synced = synced);
                    }
                    // A failed sync may have dropped the pages: trying again would lie.
                    Err(error) => {
                        self.lock().error.get_or_insert(error);
                        synced = target;
                    }
                }
            }
            if closed {
                self.progress.send_modify(|progress| progress.closed = true);
                return;
            }
        }
    }

    /// Until there is something to sync and it has waited its time, or nothing follows.
    fn wait(&self, synced: u64) -> (u64, bool) {
        let mut state = self.lock();
        let mut due: Option<Instant> = None;
        loop {
            if state.closed {
                return (state.written, state.closed);
            }
            if state.written > synced {
                let due = *due.get_or_insert_with(|| Instant::now() + GROUP_COMMIT);
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return (state.written, false);
                }
                state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                // Nobody is woken for every event: the first one after a sync is found when the second is over.
                let waited = self.wake.wait_timeout(state, GROUP_COMMIT / 2);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if state.written > synced {
                    due = Some(Instant::now() + GROUP_COMMIT / 2);
                }
            }
        }
    }
}

/// The build's own directory, those that lead to it, and those that hold the numbers given out.
fn sync_directories(directory: Option<&Path>) {
    let Some(directory) = directory else { return };
    let above: Vec<&Path> = directory.ancestors().take(3).collect();
    let numbers = above.last().map(|store| store.join("numbers"));
    let numbered = numbers.iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path());
    for directory in above.iter().map(|path| path.to_path_buf()).chain(numbers.clone()).chain(numbered) {
        if let Ok(directory) = File::open(directory) {
            let _ = directory.sync_all();
        }
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::{BuildFinished, Outcome};

    /// A journal with three pieces of output, and an end or none; and its bytes.
    fn journal(directory: &Path, has_end: bool) -> (PathBuf, Vec<u8>) {
        let path = directory.join(if has_end { "whole" } else { "lost" });
        let mut writer = Writer::create(&path).unwrap();
        for text in ["one\n", "two\n", "three\n"] {
            writer.append(Some("test".into()), Body::StepOutput(text.as_bytes().into())).unwrap();
        }
        if has_end {
            let outcome = Outcome::Success;
            let end = BuildFinished { outcome, duration_ms: 1, reason: None, signal: None };
            writer.append(None, Body::BuildFinished(end)).unwrap();
        }
        writer.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    /// Changes a byte of the second piece.
    fn damage(path: &Path, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        let at = bytes.windows(4).position(|window| window == b"two\n").unwrap();
        damaged[at] = b'T';
        fs::write(path, &damaged).unwrap();
        damaged
    }

    fn events(path: &Path) -> u64 {
        let writer = Writer::recover(path).unwrap().unwrap();
        let events = writer.len();
        writer.finish().unwrap();
        events
    }

    #[test]
    fn a_torn_end_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let (path, bytes) = journal(directory.path(), false);
        for rest in [&bytes[..bytes.len() - 3], &[&bytes[..], &[0; 40]].concat(), &bytes] {
            fs::write(&path, rest).unwrap();
            assert_eq!(events(&path), if rest.len() < bytes.len() { 2 } else { 3 });
        }
        assert!(!directory.path().join("lost.cut").exists());
    }

    #[test]
    fn what_follows_damage_is_kept_beside() {
        let directory = tempfile::tempdir().unwrap();
        let (path, bytes) = journal(directory.path(), false);
        let damaged = damage(&path, &bytes);
        assert_eq!(events(&path), 1);
        let left = fs::read(&path).unwrap();
        let cut = fs::read(path.with_extension("cut")).unwrap();
        assert_eq!([left, cut].concat(), damaged);
    }

    #[test]
    fn a_damaged_journal_that_has_its_end_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (path, bytes) = journal(directory.path(), true);
        let damaged = damage(&path, &bytes);
        let error = Writer::recover(&path).err().unwrap().to_string();
        assert!(error.contains("is damaged") && error.ends_with("it is left as it is"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}
