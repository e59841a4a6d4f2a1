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
    engine::ports::{
        Progress, Tail,
        backend::{Backend, BackendError, Grant, NewBuild, Written},
    },
    event::{Body, Outcome, UnixMs},
};

/// How long a lease holds without being renewed.
pub const LEASE: Duration = Duration::from_mins(1);
/// How much is sent at once.
const BATCH: usize = 512 << 10;
/// The first wait after an error; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// How long the end of a build waits for a backend that does not take it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the backend does not have the whole build.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The backend did not do what it was asked.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Somebody else has the right to write this build.
    #[error("another runner took over this build in the history backend")]
    Fenced,
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
    /// Once the build is over: when to give up.
    until: Option<Instant>,
}

impl<B: Backend, T: Tail> Uploader<B, T> {
    /// An uploader for a build whose journal `tail` reads, and `progress` follows.
    pub fn new(backend: B, tail: T, build: NewBuild, progress: watch::Receiver<Progress>) -> Self {
        Uploader { backend, tail, build, progress, until: None }
    }

    /// Begins the build and sends its events until it is over. `begun` hears of the first try and, if that
    /// failed, of the one that went well: the build's number.
    pub async fn run(
        mut self,
        begun: mpsc::UnboundedSender<Result<u64, BackendError>>,
    ) -> Result<u64, UploadError> {
        let mut first = true;
        let mut delay = FIRST_DELAY;
        let grant = loop {
            match self.backend.begin(&self.build).await {
                Ok(grant) => break grant,
                Err(error) => {
                    if std::mem::take(&mut first) {
                        let _ = begun.send(Err(error.clone()));
                    }
                    self.pause(delay, error).await?;
                    delay = (delay * 2).min(LONGEST_DELAY);
                }
            }
        };
        let number = grant.number;
        // Nobody listens when the build is over already.
        let _ = begun.send(Ok(number));
        self.send_all(grant).await?;
        Ok(number)
    }

    async fn send_all(&mut self, mut grant: Grant) -> Result<(), UploadError> {
        let mut sent = grant.next_seq;
        if sent > 0 {
            self.tail.rewind(sent)?;
        }
        let mut end: Option<(Outcome, UnixMs)> = None;
        let mut renewal = Instant::now() + LEASE / 3;
        let mut delay = FIRST_DELAY;
        loop {
            let progress = self.next_progress(sent, renewal).await;
            let step = self.step(&grant, &progress, &mut sent, &mut end, &mut renewal).await;
            match step {
                Ok(Step::More) => delay = FIRST_DELAY,
                Ok(Step::Done) => return Ok(()),
                Err(UploadError::Backend(error)) if error.transient => {
                    self.pause(delay, error).await?;
                    delay = (delay * 2).min(LONGEST_DELAY);
                    // What was sent last may have arrived or not: the backend knows.
                    if let Ok(again) = self.backend.begin(&self.build).await {
                        grant = again;
                        sent = grant.next_seq;
                        self.tail.rewind(sent)?;
                    }
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

    async fn step(
        &mut self,
        grant: &Grant,
        progress: &Progress,
        sent: &mut u64,
        end: &mut Option<(Outcome, UnixMs)>,
        renewal: &mut Instant,
    ) -> Result<Step, UploadError> {
        let component = self.build.component.clone();
        if Instant::now() >= *renewal {
            let lease_ms = self.build.lease_ms;
            if !self.backend.renew(&component, grant, lease_ms).await? {
                return Err(UploadError::Fenced);
            }
            *renewal = Instant::now() + LEASE / 3;
        }
        let events = self.tail.read(progress.synced, BATCH)?;
        if let Some(last) = events.last() {
            if let Body::BuildFinished(body) = &last.body {
                *end = Some((body.outcome, last.at));
            }
            match self.backend.append(&component, grant, events).await? {
                Written::Stored(next) => *sent = next,
                Written::Gap(from) => {
                    *sent = from;
                    self.tail.rewind(from)?;
                }
                Written::Fenced => return Err(UploadError::Fenced),
            }
            return Ok(Step::More);
        }
        if !progress.closed {
            return Ok(Step::More);
        }
        // Without an end there was no room for it in the journal: the lease runs out, and the build is lost.
        let Some((outcome, at)) = *end else { return Ok(Step::Done) };
        match self.backend.finish(&component, grant, *sent, outcome, at).await? {
            Written::Stored(_) => Ok(Step::Done),
            Written::Gap(from) => {
                *sent = from;
                self.tail.rewind(from)?;
                Ok(Step::More)
            }
            Written::Fenced => Err(UploadError::Fenced),
        }
    }

    /// Waits before another try, unless there is to be none.
    async fn pause(&mut self, delay: Duration, error: BackendError) -> Result<(), UploadError> {
        if !error.transient {
            return Err(error.into());
        }
        if self.until.is_none() {
            // The end of the build ends the wait: there is no time to lose any more.
            let mut progress = self.progress.clone();
            let closed = progress.wait_for(|progress| progress.closed);
            if timeout_at(Instant::now() + delay, closed).await.is_err() {
                return Ok(());
            }
            self.until = Some(Instant::now() + PATIENCE);
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

enum Step {
    More,
    Done,
}
