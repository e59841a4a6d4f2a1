//! A step's attempts: starting, ending, timeouts and retries.

use std::time::Duration;

use super::{Effect, GRACE, State, millis};
use crate::{
    engine::message::{StepEnd, StepIndex, Stop},
    event::{AttemptFinished, AttemptStarted, Body, Outcome, Problem, StepFinished},
    pipeline::Retry,
    text,
};

/// No retry waits longer, whatever the backoff comes to.
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// How far a step is.
#[derive(Debug)]
pub(super) enum Phase {
    /// It has not begun.
    Pending,
    /// An attempt runs.
    Running(Running),
    /// It waits for the next attempt's time, then for a free job. The step's end, should there be no other attempt.
    Waiting(Box<StepFinished>),
    /// It is decided, and this is its conclusion.
    Decided(Outcome),
}

#[derive(Debug)]
pub(super) struct Running {
    attempt: u32,
    started: Duration,
    /// Why it was asked to stop.
    pub(super) stopping: Option<Stopping>,
    /// No attempt follows, however this one ends.
    pub(super) last: bool,
    /// Since when its work is over, while a person looks at it.
    held: Option<Duration>,
}

/// The attempts that a person looks at.
#[derive(Debug, Default)]
pub(super) struct Held {
    count: usize,
    since: Duration,
}

impl Held {
    pub(super) fn any(&self) -> bool {
        self.count > 0
    }

    fn one_more(&mut self, now: Duration) {
        if self.count == 0 {
            self.since = now;
        }
        self.count += 1;
    }

    /// How long there was any, when this was the last.
    fn one_less(&mut self, now: Duration) -> Duration {
        self.count -= 1;
        if self.count == 0 { now.saturating_sub(self.since) } else { Duration::ZERO }
    }
}

/// Why a step was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Its own time was over.
    Timeout,
    /// The build's time was over.
    BuildTimeout(Duration),
    /// Somebody cancelled the build.
    Cancellation,
    /// Another step failed.
    FailFast,
}

impl Stopping {
    fn outcome(self) -> Outcome {
        match self {
            Stopping::Timeout | Stopping::BuildTimeout(_) => Outcome::Timeout,
            Stopping::Cancellation | Stopping::FailFast => Outcome::Cancellation,
        }
    }

    /// Whether it was the step's own doing.
    fn is_its_own(self) -> bool {
        self == Stopping::Timeout
    }
}

impl State {
    pub(super) fn start(&mut self, step: StepIndex, attempt: u32, now: Duration, effects: &mut Vec<Effect>) {
        self.timers.set(step, self.specs[step].timeout.map(|timeout| now + timeout));
        self.phases[step] =
            Phase::Running(Running { attempt, started: now, stopping: None, last: false, held: None });
        self.running += 1;
        effects.push(Effect::Emit(Some(step), Body::AttemptStarted(AttemptStarted { attempt })));
        effects.push(Effect::Start { step, attempt });
    }

    /// An attempt's work is over, and its time does not run on.
    pub(super) fn hold(&mut self, step: StepIndex, now: Duration) {
        if let Phase::Running(running) = &mut self.phases[step]
            && running.stopping.is_none()
            && running.held.is_none()
        {
            running.held = Some(now);
            self.held.one_more(now);
            self.timers.set(step, None);
        }
    }

    /// An attempt ended.
    pub(super) fn ended(&mut self, step: StepIndex, end: StepEnd, now: Duration, effects: &mut Vec<Effect>) {
        let Phase::Running(Running { attempt, started, stopping, last, held }) = self.phases[step] else {
            return;
        };
        if held.is_some() {
            let pause = self.held.one_less(now);
            self.ends_at = self.ends_at.map(|end| end + pause);
        }
        // Whoever stopped it after its work was done, stopped only the look at it.
        let stopping = stopping.filter(|_| held.is_none());
        self.running -= 1;
        self.timers.set(step, None);
        let spec = &self.specs[step];
        let outcome = stopping.map_or(end.outcome, Stopping::outcome);
        // What we did to it explains its end, and not the signal that we sent.
        let problem = match stopping {
            Some(Stopping::Timeout) => spec.timeout.map(took_too_long),
            Some(Stopping::BuildTimeout(timeout)) => Some(build_took_too_long(timeout)),
            Some(Stopping::Cancellation | Stopping::FailFast) => None,
            None => end.problem,
        };
        let stopped = last || stopping.is_some_and(|stopping| !stopping.is_its_own());
        let retried = !stopped && self.cancelling.is_none();
        let delay = if retried { delay(&spec.retry, attempt, outcome) } else { None };
        let forgiven = spec.continue_on_error
            && outcome != Outcome::Cancellation
            && stopping.is_none_or(Stopping::is_its_own);
        let result = StepFinished {
            outcome,
            conclusion: if forgiven { Outcome::Success } else { outcome },
            attempts: attempt,
            flaky: outcome == Outcome::Success && attempt > 1,
            reason: None,
            left_out: false,
            outputs: end.outputs,
            summary: end.summary,
        };
        effects.push(Effect::Emit(
            Some(step),
            Body::AttemptFinished(AttemptFinished {
                attempt,
                outcome,
                exit_code: end.exit_code,
                signal: end.signal,
                duration_ms: millis(held.unwrap_or(now).saturating_sub(started)),
                problem,
                leaked: end.leaked,
                retry_in_ms: delay.map(millis),
            }),
        ));
        match delay {
            Some(delay) => {
                self.phases[step] = Phase::Waiting(Box::new(result));
                if delay.is_zero() {
                    self.graph.again(step);
                } else {
                    self.timers.set(step, Some(now + delay));
                }
            }
            None => self.conclude(step, result, stopping == Some(Stopping::FailFast), now, effects),
        }
    }

    /// The step's time has come: its timeout, the end of its grace, or its next attempt.
    pub(super) fn step_is_due(&mut self, step: StepIndex, now: Duration, effects: &mut Vec<Effect>) {
        match &mut self.phases[step] {
            Phase::Running(running) if running.stopping.is_none() => {
                running.stopping = Some(Stopping::Timeout);
                self.timers.set(step, Some(now + GRACE));
                effects.push(Effect::Stop(step, Stop::Grace));
            }
            Phase::Running(_) => effects.push(Effect::Stop(step, Stop::Kill)),
            Phase::Waiting(_) => self.graph.again(step),
            Phase::Pending | Phase::Decided(_) => {}
        }
    }
}

/// How long to wait before the attempt after this one, if there is one.
fn delay(retry: &Retry, attempt: u32, outcome: Outcome) -> Option<Duration> {
    if attempt >= retry.attempts || !retry.on.contains(&outcome) {
        return None;
    }
    if retry.delay.is_zero() {
        return Some(Duration::ZERO);
    }
    let exponent = i32::try_from(attempt - 1).unwrap_or(i32::MAX);
    let seconds = retry.delay.as_secs_f64() * retry.backoff.powi(exponent);
    // `min` also takes the hour where a sum beyond all numbers stands.
    Some(Duration::try_from_secs_f64(seconds.min(LONGEST_DELAY.as_secs_f64())).unwrap_or(LONGEST_DELAY))
}

fn took_too_long(timeout: Duration) -> Problem {
    Problem::new(
        format!("the step took longer than its timeout of {}", text::duration(timeout)),
        "find out what it waits for, or give it more time with `timeout`",
    )
}

fn build_took_too_long(timeout: Duration) -> Problem {
    Problem::new(
        format!("the build took longer than its timeout of {}", text::duration(timeout)),
        "find out which step takes long, or give the build more time with the file's `timeout`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_an_hour() {
        let retry = |delay, backoff| Retry {
            attempts: 100,
            delay: Duration::from_secs(delay),
            backoff,
            ..Retry::default()
        };
        let delays = |retry: Retry| -> Vec<u64> {
            let delay = |attempt| delay(&retry, attempt, Outcome::Failure).unwrap().as_secs();
            [1, 2, 3, 10, 99].map(delay).to_vec()
        };
        assert_eq!(delays(retry(5, 1.0)), [5, 5, 5, 5, 5]);
        assert_eq!(delays(retry(5, 2.0)), [5, 10, 20, 2560, 3600]);
        assert_eq!(delays(retry(5, 1e300)), [5, 3600, 3600, 3600, 3600]);
        assert_eq!(delays(retry(0, 1e300)), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn only_what_retry_names_is_tried_again() {
        let retry = Retry { attempts: 3, on: vec![Outcome::Timeout], ..Retry::default() };
        assert_eq!(delay(&retry, 1, Outcome::Failure), None);
        assert_eq!(delay(&retry, 2, Outcome::Timeout), Some(Duration::ZERO));
        assert_eq!(delay(&retry, 3, Outcome::Timeout), None);
    }
}
