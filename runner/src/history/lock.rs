//! A build's place in the queue for a lock that a history backend keeps: from asking for it to giving it back.
//!
//! Whoever is first in the queue holds the lock. A place that is not renewed is dropped, so that nobody waits for a
//! build whose machine is gone; and a build that cannot renew its place has to end while the lock is still its own.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::PATIENCE;
use crate::{
    engine::ports::backend::{Answer, BackendError, Lock, LockPlace, Locks},
    text,
};

/// How long a place holds without being renewed: so long does a lock outlive who was killed.
pub const LOCK_TTL: Duration = Duration::from_secs(45);
/// What a call that is under way may take when nobody needs its answer any more. Cut off, it might still take a place,
/// which nobody would give back.
const GLANCE: Duration = Duration::from_secs(2);
/// How long it is tried to give a place back.
const LEAVING: Duration = Duration::from_secs(5);

/// How often and how long.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long a place holds without being renewed.
    ttl: Duration,
    /// How often a build that waits looks whether it is its turn.
    look: Duration,
    /// How often a build that holds the lock renews its place.
    renew: Duration,
    /// How long after an error that is done again.
    again: Duration,
    /// How long a backend that does not answer is waited for before anything runs.
    patience: Duration,
}

const PACE: Pace = Pace {
    ttl: LOCK_TTL,
    look: Duration::from_millis(1500),
    // Often enough that a build whose lock was broken hears of it soon.
    renew: Duration::from_secs(5),
    again: Duration::from_secs(1),
    patience: PATIENCE,
};

/// The lock that is wanted.
#[derive(Clone, Debug)]
pub struct WantedLock {
    /// Its name.
    pub name: String,
    /// Who wants it: unique.
    pub ticket: String,
    /// Who wants it, for people.
    pub owner: String,
    /// How long it may take to stop what runs. A place that could not be renewed counts as lost so much before it is.
    pub stopping: Duration,
}

/// What there is to say of the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockNews {
    /// Somebody else holds it.
    Waiting {
        /// Who.
        holder: LockPlace,
        /// How many come first, the holder included.
        ahead: usize,
    },
    /// It is not known just now who holds it, for this reason.
    Unanswered(String),
    /// It is held.
    Held,
    /// It was held, and is not any more.
    Lost(String),
    /// It will not be had.
    Refused(BackendError),
}

/// A moment by a clock that goes on while this machine sleeps, as the backend's does.
#[derive(Clone, Copy, Debug)]
struct Moment(Duration);

impl Moment {
    fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(Duration::try_from(time).unwrap_or_default())
    }

    fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn elapsed(self) -> Duration {
        Moment::now().since(self)
    }
}

/// Where a ticket is in a queue.
#[derive(Debug, PartialEq, Eq)]
enum Standing<'a> {
    Holds,
    Waits { holder: &'a LockPlace, ahead: usize },
    Gone,
}

impl<'a> Standing<'a> {
    fn of(ticket: &str, lock: &'a Lock) -> Self {
        match (lock.queue.iter().position(|place| place.ticket == ticket), lock.queue.first()) {
            (Some(0), _) => Standing::Holds,
            (Some(ahead), Some(holder)) => Standing::Waits { holder, ahead },
            (None, _) | (_, None) => Standing::Gone,
        }
    }
}

/// Waits for a lock, and keeps it.
pub struct LockKeeper<L> {
    backend: String,
    locks: L,
    wanted: WantedLock,
    news: mpsc::UnboundedSender<LockNews>,
    over: Over,
    pace: Pace,
}

/// Tells when the lock is not needed any more: also when nobody is left who could say so.
struct Over(watch::Receiver<bool>);

/// Why there is nothing more to do than to leave the queue.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The lock is not needed any more.
    Over,
    /// It will not be had, or was lost.
    Told,
    /// There is no queue.
    NoLocks,
}

impl<L: Locks> LockKeeper<L> {
    /// A keeper that asks the backend of this name, until `over` says `true` or is dropped.
    pub fn new(
        backend: String,
        locks: L,
        wanted: WantedLock,
        news: mpsc::UnboundedSender<LockNews>,
        over: watch::Receiver<bool>,
    ) -> Self {
        LockKeeper { backend, locks, wanted, news, over: Over(over), pace: PACE }
    }

    /// Queues up, waits, keeps the place as long as it is needed, and gives it back. The answer says whether that
    /// went well.
    pub async fn run(mut self) -> Answer<()> {
        let ended = match self.wait().await {
            Ok(since) => self.hold(since).await,
            Err(ended) => ended,
        };
        match ended {
            Ended::NoLocks => return Ok(()),
            Ended::Over => {}
            Ended::Told => {
                // What was begun with the lock is still being stopped.
                self.over.come().await;
                // That it cannot be given back either is no news.
                let _ = self.leave().await;
                return Ok(());
            }
        }
        self.leave().await
    }

    /// Queues up, and keeps the place until the lock is had. Gives the time from which on it is.
    async fn wait(&mut self) -> Result<Moment, Ended> {
        let Pace { ttl, look, patience, .. } = self.pace;
        let mut until = Instant::now() + patience;
        let mut told = None;
        // When it was last known to have a place, and what was wrong since then.
        let mut placed: Option<Moment> = None;
        let mut problem: Option<BackendError> = None;
        loop {
            let asked = Moment::now();
            let WantedLock { name, ticket, owner, .. } = &self.wanted;
            let call = async {
                match placed {
                    // A place that somebody took is not to be taken again.
                    Some(_) => self.locks.renew_lock(name, ticket, millis(ttl)).await,
                    None => self.locks.acquire(name, ticket, owner, millis(ttl)).await.map(Some),
                }
            };
            let answer = self.over.or(timeout_at(until, call)).await.ok_or(Ended::Over)?;
            let news = match answer {
                Ok(Ok(None)) if placed.take().is_some_and(|placed| placed.elapsed() < ttl) => {
                    let message = "somebody took this build out of the queue (`dcd lock break`)";
                    return Err(self.refused(broken(message.to_owned())));
                }
                // It ran out: this machine slept.
                Ok(Ok(None)) => continue,
                Ok(Ok(Some(lock))) => {
                    placed = Some(asked);
                    problem = None;
                    until = Instant::now() + patience;
                    match Standing::of(ticket, &lock) {
                        Standing::Holds => {
                            self.tell(LockNews::Held);
                            return Ok(asked);
                        }
                        Standing::Waits { holder, ahead } => {
                            LockNews::Waiting { holder: holder.clone(), ahead }
                        }
                        Standing::Gone => {
                            let message = format!("plugin {} gives no place in the queue", self.backend);
                            return Err(self.refused(broken(message)));
                        }
                    }
                }
                Ok(Err(error)) if !error.transient || Instant::now() >= until => {
                    return Err(self.refused(error));
                }
                Ok(Err(error)) => {
                    problem = Some(error.clone());
                    LockNews::Unanswered(error.message)
                }
                Err(_) => {
                    let silent = || broken(format!("it did not answer for {}", text::duration(patience)));
                    return Err(self.refused(problem.unwrap_or_else(silent)));
                }
            };
            if is_new(told.as_ref(), &news) {
                self.tell(news.clone());
                told = Some(news);
            }
            self.over.pause(Instant::now() + look).await.ok_or(Ended::Over)?;
        }
    }

    /// Renews the place for as long as the lock is needed. `renewed`: when that was last done.
    async fn hold(&mut self, mut renewed: Moment) -> Ended {
        let Pace { ttl, renew, again, .. } = self.pace;
        let mut next = Instant::now() + renew.saturating_sub(renewed.elapsed());
        let mut problem = None;
        loop {
            if self.over.pause(next).await.is_none() {
                return Ended::Over;
            }
            let asked = Moment::now();
            // Whoever slept for long asks once all the same: the answer says what became of the lock.
            let left = ttl.saturating_sub(self.wanted.stopping).saturating_sub(asked.since(renewed));
            let until = Instant::now() + left.max(again);
            let WantedLock { name, ticket, .. } = &self.wanted;
            let call = self.locks.renew_lock(name, ticket, millis(ttl));
            let Some(answer) = self.over.or(timeout_at(until, call)).await else { return Ended::Over };
            match answer {
                Ok(Ok(lock)) => {
                    let standing = lock.as_ref().map_or(Standing::Gone, |lock| Standing::of(ticket, lock));
                    if let Some(why) = lost(&standing, asked.since(renewed), ttl) {
                        return self.lost(&why);
                    }
                    renewed = asked;
                    next = Instant::now() + renew.saturating_sub(asked.elapsed());
                    problem = None;
                    continue;
                }
                Ok(Err(error)) => problem = Some(error.message),
                // What was wrong before says more.
                Err(_) => {}
            }
            next = Instant::now() + again;
            if next >= until {
                return self.lost(&format!(
                    "history backend {} has not renewed it for {}: {}",
                    self.backend,
                    text::duration(renewed.elapsed()),
                    problem.as_deref().unwrap_or("it does not answer")
                ));
            }
        }
    }

    async fn leave(&mut self) -> Answer<()> {
        let mut last = Ok(());
        let leaving = async {
            loop {
                last = self.locks.release(&self.wanted.name, &self.wanted.ticket).await.map(|_| ());
                if !last.as_ref().is_err_and(|error| error.transient) {
                    return;
                }
                tokio::time::sleep(self.pace.again).await;
            }
        };
        match timeout(LEAVING, leaving).await {
            Err(_) if last.is_ok() => {
                Err(broken(format!("it did not answer within {}", text::duration(LEAVING))))
            }
            Ok(()) | Err(_) => last,
        }
    }

    fn refused(&self, error: BackendError) -> Ended {
        let ended = if error.unsupported { Ended::NoLocks } else { Ended::Told };
        self.tell(LockNews::Refused(error));
        ended
    }

    fn lost(&self, why: &str) -> Ended {
        self.tell(LockNews::Lost(format!("the lock `{}` is lost: {why}", self.wanted.name)));
        Ended::Told
    }

    fn tell(&self, news: LockNews) {
        // Who does not listen any more will end this, too.
        let _ = self.news.send(news);
    }
}

impl Over {
    /// Waits until it is over.
    async fn come(&mut self) {
        let _ = self.0.wait_for(|over| *over).await;
    }

    /// Waits for a time, unless it is over before.
    async fn pause(&mut self, until: Instant) -> Option<()> {
        tokio::select! {
            () = sleep_until(until) => Some(()),
            () = self.come() => None,
        }
    }

    /// What comes of a call, unless it is over before.
    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            done = &mut work => Some(done),
            () = self.come() => {
                let _ = timeout(GLANCE, work).await;
                None
            }
        }
    }
}

/// Why the lock is not held any more, if it is not. `age`: how long ago it was last known to be.
fn lost(standing: &Standing<'_>, age: Duration, ttl: Duration) -> Option<String> {
    match standing {
        Standing::Holds => None,
        Standing::Waits { holder, .. } => Some(format!("{} holds it now", holder.owner)),
        Standing::Gone if age < ttl => Some("somebody broke it (`dcd lock break`)".to_owned()),
        Standing::Gone => Some(format!("it was not renewed for {}, and ran out", text::duration(age))),
    }
}

/// Whether people do not know it yet: who holds the lock, or that nobody can say. Others who give up waiting are no
/// news.
fn is_new(told: Option<&LockNews>, news: &LockNews) -> bool {
    match (told, news) {
        (Some(LockNews::Waiting { holder: known, .. }), LockNews::Waiting { holder, .. }) => {
            known.ticket != holder.ticket
        }
        (Some(LockNews::Unanswered(_)), LockNews::Unanswered(_)) => false,
        _ => true,
    }
}

fn broken(message: String) -> BackendError {
    BackendError { message, help: None, transient: false, unsupported: false }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
