//! Sends a build's journal to a backend while the build runs.
//!
//! The journal is the source: what is sent is read from it again, and only what is safe on disk. So a backend
//! that is slow costs no memory, and one that is down stops no step.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    brief::Brief,
    engine::ports::{
        Progress, Tail,
        backend::{Backend, BackendError, End, Grant, NewBuild, Written},
    },
};

/// How long a lease holds without being renewed.
const LEASE: Duration = Duration::from_mins(1);
/// The same in milliseconds.
#[allow(clippy::cast_possible_truncation)]
pub const LEASE_MS: u32 = LEASE.as_millis() as u32;
/// How much is sent at once.
const BATCH: usize = 512 << 10;
/// The first wait after an error; each further one is twice as long. Half of each is left to chance, so that runners
/// that lost a backend at the same time do not come back at the same time.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// How long the end of a build waits for a backend that does not take it, unless it is told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Answers without progress that are borne.
const MOST_STALLS: u32 = 8;

/// Why the backend does not have the whole build.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The backend did not do what it was asked.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Somebody else has the right to write this build.
    #[error("another runner took over this build in the history backend")]
    Fenced,
    /// The backend neither took anything nor refused it.
    #[error("it took nothing for {} s", .0.as_secs())]
    Slow(Duration),
    /// Somebody did not want to wait any longer.
    #[error("the wait for it was interrupted")]
    Interrupted,
    /// The journal could not be read again.
    #[error("the journal cannot be read again: {0}")]
    Journal(#[from] std::io::Error),
}

/// Replicates one build.
pub struct Uploader<B, T> {
    backend: B,
    tail: T,
    build: NewBuild,
    progress: watch::Receiver<Progress>,
    /// Counts what the backend took.
    taken: watch::Sender<u64>,
    patience: Duration,
    /// Once the build is over: when to give up.
    until: Option<Instant>,
}

impl<B: Backend, T: Tail> Uploader<B, T> {
    /// An uploader for a build whose journal `tail` reads, and `progress` follows.
    pub fn new(backend: B, tail: T, build: NewBuild, progress: watch::Receiver<Progress>) -> Self {
        let taken = watch::Sender::default();
        Uploader { backend, tail, build, progress, taken, patience: PATIENCE, until: None }
    }

    /// Waits so long at the end of the build for a backend that takes nothing.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Uploader { patience, ..self }
    }

    /// The backend, for another build.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Changes whenever the backend took something.
    pub fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// Begins the build and sends its events until it is over. `begun` hears of the first try and, if that
    /// failed, of the one that went well: the build's number.
    pub async fn run(
        &mut self,
        begun: mpsc::UnboundedSender<Result<u64, BackendError>>,
    ) -> Result<u64, UploadError> {
        let mut delay = FIRST_DELAY;
        let grant = self.begin(&mut delay, Some(&begun)).await?;
        let number = grant.number;
        // Nobody listens when the build is over already.
        let _ = begun.send(Ok(number));
        self.send_all(grant).await?;
        Ok(number)
    }

    /// Begins the build, or takes it up again, with a pause before each further try that is longer than the last. A first
    /// failure is told.
    async fn begin(
        &mut self,
        delay: &mut Duration,
        mut tell: Option<&mpsc::UnboundedSender<Result<u64, BackendError>>>,
    ) -> Result<Grant, UploadError> {
        loop {
            match self.backend.begin(&self.build).await {
                Ok(grant) => return Ok(grant),
                Err(error) => {
                    if let Some(begun) = tell.take() {
                        let _ = begun.send(Err(error.clone()));
                    }
                    self.pause(*delay, error).await?;
                    *delay = (*delay * 2).min(LONGEST_DELAY);
                }
            }
        }
    }

    async fn send_all(&mut self, grant: Grant) -> Result<(), UploadError> {
        let mut sending = Sending { furthest: grant.next_seq, sent: grant.next_seq, grant, stalls: 0 };
        let mut renewal = Instant::now() + LEASE / 3;
        let mut delay = FIRST_DELAY;
        loop {
            let progress = self.next_progress(sending.sent, renewal).await;
            let step = async {
                if Instant::now() >= renewal {
                    self.renew(&sending.grant).await?;
                    renewal = Instant::now() + LEASE / 3;
                }
                self.step(&mut sending, &progress).await
            };
            match step.await {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::More) => delay = FIRST_DELAY,
                Err(UploadError::Backend(error)) if error.transient => {
                    self.pause(delay, error).await?;
                    delay = (delay * 2).min(LONGEST_DELAY);
                    // What was sent last may have arrived or not: the backend knows. Nothing is sent before it says so:
                    // beginning ends the lease that was had, also when the answer is lost.
                    sending.grant = self.begin(&mut delay, None).await?;
                    sending.sent = sending.grant.next_seq;
                    renewal = Instant::now() + LEASE / 3;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to do.
    async fn next_progress(&mut self, sent: u64, renewal: Instant) -> Progress {
        loop {
            let progress = *self.progress.borrow_and_update();
            if progress.synced > sent || progress.closed || Instant::now() >= renewal {
                return progress;
            }
            tokio::select! {
                changed = self.progress.changed() => if changed.is_err() {
                    return Progress { closed: true, ..progress };
                },
                () = sleep_until(renewal) => {}
            }
        }
    }

    async fn renew(&mut self, grant: &Grant) -> Result<(), UploadError> {
        if self.backend.renew(&self.build.component, grant, self.build.lease_ms).await? {
            Ok(())
        } else {
            Err(UploadError::Fenced)
        }
    }

    /// Sends what comes next, or ends the build where nothing does.
    async fn step(&mut self, sending: &mut Sending, progress: &Progress) -> Result<Step, UploadError> {
        let component = self.build.component.as_str();
        // From what the backend has, not from what was read last: an append that failed is read again.
        let records = self.tail.read(sending.sent, progress.synced.max(sending.sent), BATCH)?;
        let written = if !records.is_empty() {
            self.backend.append(component, &sending.grant, records).await?
        } else if !progress.closed {
            return Ok(Step::More);
        } else {
            // By all events, and not by those that were sent just now: the last one may have been sent by a runner that
            // was killed before it could say so.
            let events = sending.sent;
            let (build, hash) = self.tail.build(events)?;
            let Some((outcome, at)) = build.outcome.zip(build.finished_at) else {
                // There was no room for it in the journal: the lease runs out, and the build is lost.
                return Ok(Step::Done);
            };
            let end = End { events, outcome, at, brief: Brief::of(build, hash) };
            match self.backend.finish(component, &sending.grant, &end).await? {
                Written::Stored(_) => return Ok(Step::Done),
                other => other,
            }
        };
        let before = sending.sent;
        sending.sent = match written {
            Written::Stored(next) | Written::Gap(next) => next,
            Written::Fenced => return Err(UploadError::Fenced),
        };
        self.note_progress(sending, before)?;
        Ok(Step::More)
    }

    /// A backend may ask for what it had, but not again and again.
    fn note_progress(&mut self, sending: &mut Sending, before: u64) -> Result<(), UploadError> {
        if sending.sent > sending.furthest {
            sending.furthest = sending.sent;
            sending.stalls = 0;
            self.until = None;
            self.taken.send_modify(|taken| *taken += 1);
            return Ok(());
        }
        if sending.sent > before {
            return Ok(());
        }
        sending.stalls += 1;
        if sending.stalls < MOST_STALLS {
            return Ok(());
        }
        Err(UploadError::Backend(BackendError {
            message: format!("plugin {} takes events and keeps none", self.backend.name()),
            help: Some("report this to the plugin's author".to_owned()),
            transient: false,
            unsupported: false,
        }))
    }

    /// Waits before another try, unless there is to be none.
    async fn pause(&mut self, delay: Duration, error: BackendError) -> Result<(), UploadError> {
        if !error.transient {
            return Err(error.into());
        }
        let delay = jittered(delay);
        if self.until.is_none() {
            // The end of the build ends the wait: there is no time to lose any more.
            let mut progress = self.progress.clone();
            let closed = progress.wait_for(|progress| progress.closed);
            if timeout_at(Instant::now() + delay, closed).await.is_err() {
                return Ok(());
            }
            self.until = Some(Instant::now() + self.patience);
        }
        match self.until {
            Some(until) if Instant::now() + delay > until => Err(error.into()),
            _ => {
                sleep(delay).await;
                Ok(())
            }
        }
    }
}

/// How far the sending of a build is.
struct Sending {
    grant: Grant,
    /// The first event that the backend lacks, by its own word.
    sent: u64,
    /// The most that it ever had.
    furthest: u64,
    /// Answers since then that moved nothing.
    stalls: u32,
}

enum Step {
    More,
    Done,
}

/// Between half the delay and all of it.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness all of it.
    let got = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let share = if got.is_ok() { f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) } else { 1.0 };
    delay.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build::Build,
        chain::Hash,
        engine::ports::backend::{Answer, Filter, ListPage, Listed, Metadata, RecordPage},
        event::{AttemptStarted, Body, BuildFinished, Outcome, Record},
    };

    /// What goes wrong with the next call.
    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        /// Nothing.
        None,
        /// It is not done.
        Refused,
        /// It is done, and the answer is lost.
        AnswerLost,
        /// It asks for everything again.
        Gap,
    }

    /// Keeps events in memory, and fails as it is told to: by a list of faults, one a call, then never.
    struct Store {
        faults: Vec<Fault>,
        for_ever: Fault,
        /// How often the build was begun, each time with a lease of its own.
        leases: u64,
        events: std::sync::Arc<std::sync::Mutex<(Vec<Record>, Option<End>)>>,
    }

    impl Store {
        fn answer<T>(
            &mut self,
            gap: Option<T>,
            work: impl FnOnce(&mut Self) -> T,
        ) -> Result<T, BackendError> {
            let fault = if self.faults.is_empty() { self.for_ever } else { self.faults.remove(0) };
            let lost =
                BackendError { message: "lost".into(), help: None, transient: true, unsupported: false };
            match (fault, gap) {
                (Fault::Refused, _) => Err(lost),
                (Fault::AnswerLost, _) => {
                    work(self);
                    Err(lost)
                }
                (Fault::Gap, Some(gap)) => Ok(gap),
                (Fault::None | Fault::Gap, _) => Ok(work(self)),
            }
        }
    }

    impl Backend for Store {
        fn name(&self) -> &'static str {
            "store"
        }

        async fn check(&mut self) -> Answer<()> {
            Ok(())
        }

        async fn begin(&mut self, _: &NewBuild) -> Answer<Grant> {
            self.answer(None, |store| {
                store.leases += 1;
                let next_seq = store.events.lock().unwrap().0.len() as u64;
                Grant { number: 1, lease: store.leases.to_string(), next_seq }
            })
        }

        async fn append(&mut self, _: &str, grant: &Grant, new: Vec<Record>) -> Answer<Written> {
            self.answer(Some(Written::Gap(0)), |store| {
                if grant.lease != store.leases.to_string() {
                    return Written::Fenced;
                }
                let events = &mut store.events.lock().unwrap().0;
                let tail = events.len() as u64;
                if new[0].seq > tail {
                    return Written::Gap(tail);
                }
                events.extend(new.into_iter().filter(|event| event.seq >= tail));
                Written::Stored(events.len() as u64)
            })
        }

        async fn finish(&mut self, _: &str, grant: &Grant, end: &End) -> Answer<Written> {
            self.answer(Some(Written::Gap(0)), |store| {
                if grant.lease != store.leases.to_string() {
                    return Written::Fenced;
                }
                store.events.lock().unwrap().1 = Some(end.clone());
                Written::Stored(end.events)
            })
        }

        async fn renew(&mut self, _: &str, grant: &Grant, _: u32) -> Answer<bool> {
            Ok(grant.lease == self.leases.to_string())
        }

        async fn get(&mut self, _: &str, _: u64) -> Answer<Option<Listed>> {
            Ok(None)
        }

        async fn list(&mut self, _: &Filter, _: usize, _: Option<String>) -> Answer<ListPage> {
            Ok(ListPage::default())
        }

        async fn read(&mut self, _: &str, _: u64, _: Option<&str>, _: u64) -> Answer<RecordPage> {
            Ok(RecordPage::default())
        }

        async fn prune(&mut self, _: &str, _: u64) -> Answer<u64> {
            Ok(0)
        }
    }

    struct Events(Vec<Record>, Build);

    impl Tail for Events {
        /// Two at a time, so that a build takes several appends.
        fn read(&mut self, from: u64, end: u64, _: usize) -> std::io::Result<Vec<Record>> {
            let wanted = self.0.iter().filter(|event| (from..end).contains(&event.seq));
            Ok(wanted.take(2).cloned().collect())
        }

        fn build(&mut self, end: u64) -> std::io::Result<(&Build, Hash)> {
            self.1 = Build::default();
            for event in self.0.iter().filter(|event| event.seq < end) {
                self.1.apply(&event.clone().into_event());
            }
            Ok((&self.1, Hash([1; 32])))
        }
    }

    /// Uploads a build of six events; gives the result, what is stored, and the end that was told.
    fn upload(faults: &[Fault], for_ever: Fault) -> (Result<u64, UploadError>, usize, Option<u64>) {
        upload_rest(0, faults, for_ever)
    }

    /// The same where so many events are stored already, by a runner that is gone.
    fn upload_rest(
        stored: usize,
        faults: &[Fault],
        for_ever: Fault,
    ) -> (Result<u64, UploadError>, usize, Option<u64>) {
        let body = |seq| match seq {
            5 => Body::BuildFinished(BuildFinished {
                outcome: Outcome::Success,
                duration_ms: 1,
                reason: None,
                signal: None,
            }),
            _ => Body::AttemptStarted(AttemptStarted { attempt: 1 }),
        };
        let record = |seq| {
            let body = body(seq);
            let (kind, payload) = (body.kind().to_owned(), body.payload());
            Record { seq, at: 1, kind, step: None, payload, hash: Hash::default() }
        };
        let events: Vec<_> = (0..6).map(record).collect();
        let kept = (events[..stored].to_vec(), None);
        let kept = std::sync::Arc::new(std::sync::Mutex::new(kept));
        let events_kept = std::sync::Arc::clone(&kept);
        let store = Store { faults: faults.to_vec(), for_ever, leases: 0, events: events_kept };
        let build = NewBuild {
            component: "shop".into(),
            id: "id".into(),
            started_at: 1,
            lease_ms: 1000,
            metadata: Metadata::default(),
        };
        let (_progress, receiver) = watch::channel(Progress { synced: 6, closed: true });
        let (begun, _) = mpsc::unbounded_channel();
        let mut uploader = Uploader::new(store, Events(events, Build::default()), build, receiver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let result = runtime.block_on(uploader.run(begun));
        let (events, end) = &*kept.lock().unwrap();
        assert!(
            events.iter().enumerate().all(|(place, event)| event.seq == place as u64),
            "in order, each once"
        );
        assert!(end.as_ref().is_none_or(|end| end.brief.hash.starts_with("0101")), "the end says its hash");
        (result, events.len(), end.as_ref().map(|end| end.events))
    }

    #[test]
    fn whatever_is_lost_on_the_way_the_whole_build_arrives() {
        use Fault::{AnswerLost, Gap, None, Refused};
        let courses: [&[Fault]; 8] = [
            &[],
            // What it has is asked for, which ends the lease, and the answer is lost.
            &[None, None, Refused, AnswerLost],
            // The last append fails, and so does asking how far it got.
            &[None, None, None, Refused, Refused],
            &[None, None, None, AnswerLost, Refused],
            &[None, Refused, Refused],
            &[None, AnswerLost, None, AnswerLost],
            &[None, None, Gap],
            &[None, None, None, None, AnswerLost],
        ];
        for (number, faults) in courses.into_iter().enumerate() {
            let (result, stored, end) = upload(faults, None);
            assert_eq!((result.ok(), stored, end), (Some(1), 6, Some(6)), "course {number}");
        }
    }

    #[test]
    fn a_runner_that_was_killed_in_between_is_made_up_for() {
        for stored in 0..=6 {
            let (result, events, end) = upload_rest(stored, &[], Fault::None);
            assert_eq!((result.ok(), events, end), (Some(1), 6, Some(6)), "{stored} were stored");
        }
    }

    #[test]
    fn a_backend_that_keeps_nothing_is_given_up() {
        let (result, _, end) = upload(&[Fault::None], Fault::Gap);
        assert_eq!(result.unwrap_err().to_string(), "plugin store takes events and keeps none");
        assert_eq!(end, None);
    }
}
