//! Sends a build's journal to a backend while the build runs.
//!
//! The journal is the source: what is sent is read from it again, and only what is safe on disk. So a backend
//! that is slow costs no memory, and one that is down stops no step.

#[cfg(test)]
mod tests;

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
