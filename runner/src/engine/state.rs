//! The engine's decisions. No tokio, no clock, no file, no print: time comes as an argument.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use crate::{
    engine::message::{StepEnd, StepIndex, Stop},
    event::{
        AttemptFinished, AttemptStarted, Body, BuildCancelling, BuildFinished, Outcome, Problem,
        StepFinished, StepName,
    },
    pipeline::Retry,
    text,
};

/// How long a step has between being asked to stop and being killed.
const GRACE: Duration = Duration::from_secs(10);

/// What the engine needs to know of a step.
#[derive(Clone, Debug)]
pub struct StepSpec {
    /// Its name.
    pub name: StepName,
    /// The steps that must be decided first.
    pub needs: Vec<StepIndex>,
    /// For each of its conditions, the steps that the status is about; `None`: all that it needs, directly or
    /// through others. No condition at all: `success()`, which the engine answers itself.
    pub conditions: Vec<Option<Range<StepIndex>>>,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// How often it is tried.
    pub retry: Retry,
    /// The step's failure does not count.
    pub continue_on_error: bool,
    /// It is not to run in this build.
    pub left_out: Option<LeftOut>,
}

/// Why a step is skipped whatever happens. Those that need it run as if it had succeeded.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    /// "left out by --only".
    pub reason: String,
    /// What it gave when it succeeded in an earlier build.
    pub outputs: BTreeMap<String, serde_json::Value>,
}

/// How a build is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many steps may run at the same time; at least 1.
    pub jobs: usize,
    /// After a failure that counts, running steps are stopped and no others started, but for those whose
    /// conditions say otherwise.
    pub fail_fast: bool,
    /// How long the build may take.
    pub timeout: Option<Duration>,
}

/// Something that the state has to answer.
#[derive(Debug)]
pub(crate) enum Input {
    /// Begin.
    Start,
    /// A running attempt ended.
    Finished(StepIndex, Box<StepEnd>),
    /// Somebody wants the build to stop.
    Interrupt { signal: i32 },
    /// The time that [`State::deadline`] named has come.
    Tick,
}

/// Something that the dispatcher has to do, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Keep and show.
    Emit(Option<StepIndex>, Body),
    /// Start an attempt.
    Start { step: StepIndex, attempt: u32 },
    /// Ask a running step to stop.
    Stop(StepIndex, Stop),
    /// The build is over.
    Finish(BuildEnd),
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildEnd {
    /// The worst of what counts.
    pub outcome: Outcome,
    /// The signal that cancelled it.
    pub signal: Option<i32>,
}

/// A build that runs its steps in order.
///
/// Times are since the build's start.
#[derive(Debug)]
pub(crate) struct State {
    specs: Vec<StepSpec>,
    next: StepIndex,
    running: Option<Running>,
    cancelled_by: Option<i32>,
    /// The worst conclusion so far, and the step that it was.
    worst: Option<(Outcome, StepIndex)>,
}

#[derive(Debug)]
struct Running {
    step: StepIndex,
    attempt: u32,
    started: Duration,
    /// When to do the next thing about it.
    deadline: Option<Duration>,
    stopping: Option<Stopping>,
}

/// Why a step was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    Timeout,
    Cancellation,
}

impl State {
    pub(crate) fn new(specs: Vec<StepSpec>) -> Self {
        State { specs, next: 0, running: None, cancelled_by: None, worst: None }
    }

    /// When the state wants a [`Input::Tick`].
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.running.as_ref()?.deadline
    }

    #[must_use]
    pub(crate) fn handle(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start => self.advance(now, &mut effects),
            Input::Finished(step, end) => self.finished(step, *end, now, &mut effects),
            Input::Interrupt { signal } => self.interrupt(signal, now, &mut effects),
            Input::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// Starts the next step, or says why the ones that are left do not run.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(spec) = self.specs.get(self.next) {
            let step = self.next;
            self.next += 1;
            if let Some(reason) = self.skip_reason() {
                effects.push(Effect::Emit(Some(step), skipped(reason)));
                continue;
            }
            let deadline = spec.timeout.map(|timeout| now + timeout);
            self.running = Some(Running { step, attempt: 1, started: now, deadline, stopping: None });
            effects.push(Effect::Emit(Some(step), Body::AttemptStarted(AttemptStarted { attempt: 1 })));
            effects.push(Effect::Start { step, attempt: 1 });
            return;
        }
        let end = self.end();
        effects.push(Effect::Emit(
            None,
            Body::BuildFinished(BuildFinished {
                outcome: end.outcome,
                duration_ms: millis(now),
                reason: None,
                signal: end.signal,
            }),
        ));
        effects.push(Effect::Finish(end));
    }

    fn skip_reason(&self) -> Option<String> {
        if self.cancelled_by.is_some() {
            return Some("the build was cancelled".to_owned());
        }
        let (outcome, step) = self.worst?;
        Some(format!("step `{}` ended in {outcome}", self.specs[step].name))
    }

    fn finished(&mut self, step: StepIndex, end: StepEnd, now: Duration, effects: &mut Vec<Effect>) {
        let Some(running) = self.running.take_if(|running| running.step == step) else { return };
        let outcome = match running.stopping {
            Some(Stopping::Timeout) => Outcome::Timeout,
            Some(Stopping::Cancellation) => Outcome::Cancellation,
            None => end.outcome,
        };
        let spec = &self.specs[step];
        // What we did to it explains its end, and not the signal that we sent.
        let problem = match running.stopping {
            Some(Stopping::Timeout) => spec.timeout.map(took_too_long),
            Some(Stopping::Cancellation) => None,
            None => end.problem,
        };
        let forgiven = spec.continue_on_error && outcome != Outcome::Cancellation;
        let conclusion = if forgiven { Outcome::Success } else { outcome };
        if conclusion != Outcome::Success {
            self.worst = self.worst.max(Some((conclusion, step)));
        }
        effects.push(Effect::Emit(
            Some(step),
            Body::AttemptFinished(AttemptFinished {
                attempt: running.attempt,
                outcome,
                exit_code: end.exit_code,
                signal: end.signal,
                duration_ms: millis(now.saturating_sub(running.started)),
                problem,
                leaked: end.leaked,
                retry_in_ms: None,
            }),
        ));
        effects.push(Effect::Emit(
            Some(step),
            Body::StepFinished(StepFinished {
                outcome,
                conclusion,
                attempts: running.attempt,
                flaky: false,
                reason: None,
                left_out: false,
                outputs: end.outputs,
                summary: end.summary,
            }),
        ));
        self.advance(now, effects);
    }

    fn interrupt(&mut self, signal: i32, now: Duration, effects: &mut Vec<Effect>) {
        let first = self.cancelled_by.is_none();
        self.cancelled_by.get_or_insert(signal);
        if first {
            effects.push(Effect::Emit(
                None,
                Body::BuildCancelling(BuildCancelling { signal: Some(signal), reason: None }),
            ));
        }
        let Some(running) = &mut self.running else { return };
        running.stopping.get_or_insert(Stopping::Cancellation);
        let (stop, deadline) = if first { (Stop::Grace, Some(now + GRACE)) } else { (Stop::Kill, None) };
        running.deadline = deadline;
        effects.push(Effect::Stop(running.step, stop));
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(running) = &mut self.running else { return };
        if running.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if running.stopping.is_none() {
            running.stopping = Some(Stopping::Timeout);
            running.deadline = Some(now + GRACE);
            effects.push(Effect::Stop(running.step, Stop::Grace));
        } else {
            running.deadline = None;
            effects.push(Effect::Stop(running.step, Stop::Kill));
        }
    }

    fn end(&self) -> BuildEnd {
        if let Some(signal) = self.cancelled_by {
            return BuildEnd { outcome: Outcome::Cancellation, signal: Some(signal) };
        }
        BuildEnd { outcome: self.worst.map_or(Outcome::Success, |(outcome, _)| outcome), signal: None }
    }
}

fn took_too_long(timeout: Duration) -> Problem {
    Problem::new(
        format!("the step took longer than its timeout of {}", text::duration(timeout)),
        "find out what it waits for, or give it more time with `timeout`",
    )
}

fn skipped(reason: String) -> Body {
    Body::StepFinished(StepFinished {
        outcome: Outcome::Skip,
        conclusion: Outcome::Skip,
        attempts: 0,
        flaky: false,
        reason: Some(reason),
        left_out: false,
        outputs: BTreeMap::new(),
        summary: None,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Effects as short words, to read a whole course at a glance.
    fn words(effects: &[Effect]) -> String {
        let word = |effect: &Effect| match effect {
            Effect::Emit(step, Body::StepFinished(body)) => {
                format!("{}:{}/{}", step.unwrap(), body.outcome, body.conclusion)
            }
            Effect::Emit(step, body) => {
                step.map_or_else(|| body.kind().to_owned(), |step| format!("{step}:{}", body.kind()))
            }
            Effect::Start { step, attempt } => format!("start {step}.{attempt}"),
            Effect::Stop(step, stop) => format!("{stop:?} {step}"),
            Effect::Finish(end) => format!("finish {} {:?}", end.outcome, end.signal),
        };
        effects.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn spec(continue_on_error: bool, timeout: Option<Duration>) -> StepSpec {
        StepSpec {
            name: "a".into(),
            needs: Vec::new(),
            conditions: Vec::new(),
            timeout,
            retry: Retry::default(),
            continue_on_error,
            left_out: None,
        }
    }

    fn ended(step: StepIndex, outcome: Outcome) -> Input {
        Input::Finished(step, Box::new(StepEnd::new(outcome)))
    }

    #[test]
    fn steps_run_in_order() {
        let mut state = State::new(vec![spec(false, None); 2]);
        assert_eq!(words(&state.handle(Input::Start, SECOND)), "0:attempt.started, start 0.1");
        assert_eq!(
            words(&state.handle(ended(0, Outcome::Success), SECOND)),
            "0:attempt.finished, 0:success/success, 1:attempt.started, start 1.1"
        );
        assert_eq!(
            words(&state.handle(ended(1, Outcome::Success), SECOND)),
            "1:attempt.finished, 1:success/success, build.finished, finish success None"
        );
    }

    #[test]
    fn after_a_failure_the_rest_is_skipped() {
        for outcome in [Outcome::Failure, Outcome::Error] {
            let mut state = State::new(vec![spec(false, None); 2]);
            let _ = state.handle(Input::Start, SECOND);
            assert_eq!(
                words(&state.handle(ended(0, outcome), SECOND)),
                format!(
                    "0:attempt.finished, 0:{outcome}/{outcome}, 1:skip/skip, build.finished, finish {outcome} None"
                )
            );
        }
    }

    #[test]
    fn a_forgiven_failure_does_not_count() {
        let mut state = State::new(vec![spec(true, None)]);
        let _ = state.handle(Input::Start, SECOND);
        assert_eq!(
            words(&state.handle(ended(0, Outcome::Failure), SECOND)),
            "0:attempt.finished, 0:failure/success, build.finished, finish success None"
        );
    }

    #[test]
    fn a_timeout_asks_then_kills() {
        let mut state = State::new(vec![spec(false, Some(5 * SECOND))]);
        let _ = state.handle(Input::Start, SECOND);
        assert_eq!(state.deadline(), Some(6 * SECOND));
        assert_eq!(words(&state.handle(Input::Tick, 5 * SECOND)), "");
        assert_eq!(words(&state.handle(Input::Tick, 6 * SECOND)), "Grace 0");
        assert_eq!(state.deadline(), Some(16 * SECOND));
        assert_eq!(words(&state.handle(Input::Tick, 16 * SECOND)), "Kill 0");
        assert_eq!(state.deadline(), None);
        assert_eq!(
            words(&state.handle(ended(0, Outcome::Failure), 17 * SECOND)),
            "0:attempt.finished, 0:timeout/timeout, build.finished, finish timeout None"
        );
    }

    #[test]
    fn the_first_interrupt_asks_and_the_second_kills() {
        let mut state = State::new(vec![spec(true, None); 2]);
        let _ = state.handle(Input::Start, SECOND);
        let interrupt = || Input::Interrupt { signal: 2 };
        assert_eq!(words(&state.handle(interrupt(), SECOND)), "build.cancelling, Grace 0");
        assert_eq!(state.deadline(), Some(11 * SECOND));
        assert_eq!(words(&state.handle(interrupt(), SECOND)), "Kill 0");
        assert_eq!(
            words(&state.handle(ended(0, Outcome::Success), SECOND)),
            "0:attempt.finished, 0:cancellation/cancellation, 1:skip/skip, build.finished, \
             finish cancellation Some(2)"
        );
    }
}
