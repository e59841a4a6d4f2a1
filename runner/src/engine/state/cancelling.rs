//! Stopping what runs: a signal, the build's timeout, a lock that is lost, the first failure.

use std::time::Duration;

use super::{
    Effect, GRACE, State,
    attempts::{Phase, Stopping},
};
use crate::{
    engine::message::{StepIndex, Stop},
    event::{Body, BuildCancelling},
    text,
};

/// The build is to stop.
#[derive(Debug)]
pub(super) struct Cancelling {
    pub(super) cause: Cause,
    /// It was asked for a second time, or the lock is gone: nothing more starts, whatever its conditions say.
    pub(super) at_once: bool,
}

/// Why the build is to stop. The first cause counts.
#[derive(Debug)]
pub(super) enum Cause {
    /// Somebody wants it.
    Signal(i32),
    /// The build took longer than this.
    Timeout(Duration),
    /// The lock that it must not run without is gone, for this reason.
    Lost(String),
}

impl Cause {
    /// As a step's reason not to run.
    pub(super) fn blame(&self) -> String {
        match self {
            Cause::Signal(_) => "the build was cancelled".to_owned(),
            Cause::Timeout(_) => "the build's time was over".to_owned(),
            Cause::Lost(_) => "the build lost its lock".to_owned(),
        }
    }

    /// As the build's own reason, where no signal says it.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Cause::Signal(_) => None,
            Cause::Timeout(timeout) => {
                Some(format!("the build took longer than its timeout of {}", text::duration(*timeout)))
            }
            Cause::Lost(reason) => Some(reason.clone()),
        }
    }

    pub(super) fn signal(&self) -> Option<i32> {
        match self {
            Cause::Signal(signal) => Some(*signal),
            Cause::Timeout(_) | Cause::Lost(_) => None,
        }
    }
}

impl State {
    pub(super) fn interrupt(&mut self, signal: i32, now: Duration, effects: &mut Vec<Effect>) {
        match &mut self.cancelling {
            None => self.cancel(Cause::Signal(signal), now, effects),
            Some(cancelling) => {
                cancelling.at_once = true;
                self.kill(effects);
            }
        }
    }

    pub(super) fn cancel(&mut self, cause: Cause, now: Duration, effects: &mut Vec<Effect>) {
        let body = BuildCancelling { signal: cause.signal(), reason: cause.reason() };
        effects.push(Effect::Emit(None, Body::BuildCancelling(body)));
        let why = match cause {
            Cause::Signal(_) | Cause::Lost(_) => Stopping::Cancellation,
            Cause::Timeout(timeout) => Stopping::BuildTimeout(timeout),
        };
        let at_once = matches!(cause, Cause::Lost(_));
        self.cancelling = Some(Cancelling { cause, at_once });
        self.stop_all(why, now, effects);
    }

    /// The first conclusion that counts: what runs is stopped.
    pub(super) fn fail_fast(&mut self, first: StepIndex, now: Duration, effects: &mut Vec<Effect>) {
        self.failed_fast = Some(first);
        self.stop_all(Stopping::FailFast, now, effects);
    }

    /// Running steps get their grace; those that wait for another attempt have had their last.
    fn stop_all(&mut self, why: Stopping, now: Duration, effects: &mut Vec<Effect>) {
        for step in 0..self.phases.len() {
            match &mut self.phases[step] {
                Phase::Running(running) => {
                    running.last = true;
                    // One that is being stopped already keeps its reason and its time.
                    if running.stopping.is_none() {
                        running.stopping = Some(why);
                        self.timers.set(step, Some(now + GRACE));
                        effects.push(Effect::Stop(step, Stop::Grace));
                    }
                }
                Phase::Waiting(last) => {
                    let last = std::mem::replace(&mut **last, super::skipped(String::new()));
                    self.timers.set(step, None);
                    self.conclude(step, last, false, now, effects);
                }
                Phase::Pending | Phase::Decided(_) => {}
            }
        }
    }

    fn kill(&mut self, effects: &mut Vec<Effect>) {
        for (step, phase) in self.phases.iter_mut().enumerate() {
            if let Phase::Running(running) = phase {
                running.stopping.get_or_insert(Stopping::Cancellation);
                self.timers.set(step, None);
                effects.push(Effect::Stop(step, Stop::Kill));
            }
        }
    }
}
