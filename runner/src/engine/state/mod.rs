//! The engine's decisions. No tokio, no clock, no file, no print: time comes as an argument.
//!
//! [`graph`] knows what comes when, [`attempts`] how a step is tried, [`cancelling`] how all of it is stopped.

mod attempts;
mod cancelling;
mod graph;
#[cfg(test)]
mod tests;
mod timers;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use crate::{
    engine::message::{StepEnd, StepIndex, StepStatus, Stop},
    event::{Body, BuildFinished, Outcome, Problem, StepFinished, StepName},
    pipeline::{Retry, expression::Status},
};
use attempts::{Held, Phase};
use cancelling::{Cancelling, Cause};
use graph::Graph;
use timers::Timers;

/// How long a step has between being asked to stop and being killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// What the engine needs to know of a step.
#[derive(Clone, Debug)]
pub struct StepSpec {
    /// Its name.
    pub name: StepName,
    /// The steps that must be decided first, each before this one.
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
    /// How many attempts there were when it succeeded in an earlier build; 0 when it did not.
    pub attempts: u32,
    /// What it gave then.
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
    /// The answer to [`Effect::Decide`]: `None` to run the step, else why it is skipped. It comes before any
    /// other input.
    Decided(StepIndex, Result<Option<String>, Problem>),
    /// A running attempt did its work; before its end, a person looks at it.
    Held(StepIndex),
    /// A running attempt ended.
    Finished(StepIndex, Box<StepEnd>),
    /// Somebody wants the build to stop.
    Interrupt { signal: i32 },
    /// The build's lock is gone, for this reason: it must not go on.
    Cancel { reason: String },
    /// The time that [`State::deadline`] named has come.
    Tick,
}

/// Something that the dispatcher has to do, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Keep and show.
    Emit(Option<StepIndex>, Body),
    /// Ask what the step's conditions come to, and answer with [`Input::Decided`]. Always the last effect.
    Decide { step: StepIndex, statuses: Vec<StepStatus> },
    /// Start an attempt.
    Start { step: StepIndex, attempt: u32 },
    /// Ask a running step to stop.
    Stop(StepIndex, Stop),
    /// The build is over. Always the last effect.
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

/// A build that runs its steps, each after those that it needs.
///
/// Times are since the build's start.
#[derive(Debug)]
pub(crate) struct State {
    specs: Vec<StepSpec>,
    options: Options,
    graph: Graph,
    phases: Vec<Phase>,
    timers: Timers,
    running: usize,
    undecided: usize,
    /// The step whose conditions were asked for.
    deciding: Option<StepIndex>,
    /// When the build's own time is over. It stands still while attempts are held.
    ends_at: Option<Duration>,
    held: Held,
    cancelling: Option<Cancelling>,
    /// The step whose end stopped all others.
    failed_fast: Option<StepIndex>,
    /// The worst conclusion so far that counts.
    worst: Outcome,
    over: bool,
}

impl State {
    pub(crate) fn new(specs: Vec<StepSpec>, options: Options) -> Self {
        State {
            graph: Graph::new(&specs),
            phases: specs.iter().map(|_| Phase::Pending).collect(),
            timers: Timers::new(specs.len()),
            running: 0,
            undecided: specs.len(),
            deciding: None,
            ends_at: None,
            held: Held::default(),
            cancelling: None,
            failed_fast: None,
            worst: Outcome::Success,
            over: false,
            specs,
            options,
        }
    }

    /// When the state wants a [`Input::Tick`].
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let ends_at = self.ends_at.filter(|_| !self.held.any());
        self.timers.next().into_iter().chain(ends_at).min()
    }

    #[must_use]
    pub(crate) fn handle(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start => {
                self.ends_at = self.options.timeout.map(|timeout| now + timeout);
                self.graph.begin();
            }
            Input::Decided(step, answer) => self.decided(step, answer, now, &mut effects),
            Input::Held(step) => self.hold(step, now),
            Input::Finished(step, end) => self.ended(step, *end, now, &mut effects),
            Input::Interrupt { signal } => self.interrupt(signal, now, &mut effects),
            Input::Cancel { reason } => {
                if self.cancelling.is_none() {
                    self.cancel(Cause::Lost(reason), now, &mut effects);
                }
            }
            Input::Tick => self.tick(now, &mut effects),
        }
        self.advance(now, &mut effects);
        effects
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let held = self.held.any();
        let over = self.ends_at.take_if(|end| *end <= now && !held);
        if let (Some(timeout), Some(_)) = (self.options.timeout, over)
            && self.cancelling.is_none()
        {
            self.cancel(Cause::Timeout(timeout), now, effects);
        }
        while let Some(step) = self.timers.take_due(now) {
            self.step_is_due(step, now, effects);
        }
    }

    /// Starts what is ready while jobs are free, and ends the build after its last step.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while self.deciding.is_none() && self.running < self.options.jobs.max(1) {
            let Some(step) = self.graph.next() else { break };
            match &self.phases[step] {
                Phase::Waiting(last) => self.start(step, last.attempts + 1, now, effects),
                Phase::Pending => self.consider(step, now, effects),
                Phase::Running(_) | Phase::Decided(_) => {}
            }
        }
        if self.undecided > 0 || std::mem::replace(&mut self.over, true) {
            return;
        }
        let end = self.end();
        effects.push(Effect::Emit(
            None,
            Body::BuildFinished(BuildFinished {
                outcome: end.outcome,
                duration_ms: millis(now),
                reason: self.cancelling.as_ref().and_then(|cancelling| cancelling.cause.reason()),
                signal: end.signal,
            }),
        ));
        effects.push(Effect::Finish(end));
    }

    /// A step's turn has come: it runs, or it is skipped, or its conditions are asked for.
    fn consider(&mut self, step: StepIndex, now: Duration, effects: &mut Vec<Effect>) {
        let spec = &mut self.specs[step];
        if let Some(left_out) = spec.left_out.take() {
            let result = StepFinished {
                left_out: true,
                attempts: left_out.attempts,
                outputs: left_out.outputs,
                ..skipped(left_out.reason)
            };
            return self.conclude(step, result, false, now, effects);
        }
        let at_once = self.cancelling.as_ref().is_some_and(|cancelling| cancelling.at_once);
        if at_once || self.specs[step].conditions.is_empty() {
            match self.status(step, None).blame {
                Some(reason) => self.conclude(step, skipped(reason), false, now, effects),
                None => self.start(step, 1, now, effects),
            }
        } else {
            let conditions = &self.specs[step].conditions;
            let statuses = conditions.iter().map(|within| self.status(step, within.clone())).collect();
            self.deciding = Some(step);
            effects.push(Effect::Decide { step, statuses });
        }
    }

    fn decided(
        &mut self,
        step: StepIndex,
        answer: Result<Option<String>, Problem>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if self.deciding.take_if(|deciding| *deciding == step).is_none() {
            return;
        }
        let result = match answer {
            Ok(None) => return self.start(step, 1, now, effects),
            Ok(Some(reason)) => skipped(reason),
            Err(problem) => {
                let forgiven = self.specs[step].continue_on_error;
                let help = problem.help.map_or_else(String::new, |help| format!(" (help: {help})"));
                StepFinished {
                    outcome: Outcome::Error,
                    conclusion: if forgiven { Outcome::Success } else { Outcome::Error },
                    ..skipped(problem.message + &help)
                }
            }
        };
        self.conclude(step, result, false, now, effects);
    }

    /// How it went so far, among the steps of the range that the step needs, directly or through others.
    fn status(&self, step: StepIndex, within: Option<Range<StepIndex>>) -> StepStatus {
        if let Some(cancelling) = &self.cancelling {
            let status = Status { success: false, failure: false, cancelled: true };
            return StepStatus { status, blame: Some(cancelling.cause.blame()) };
        }
        let ended =
            |step: StepIndex| format!("step `{}` ended in {}", self.specs[step].name, self.conclusion(step));
        let bad = self.graph.bad_before(step);
        let within = within.unwrap_or(0..step);
        let failed = bad.within(within.clone()).find(|other| has_failed(self.conclusion(*other)));
        let blamed = failed.or_else(|| bad.within(within).next());
        let blame = blamed.map(ended).or_else(|| {
            self.failed_fast.map(|first| format!("{}, and `--fail-fast` stops the build then", ended(first)))
        });
        let status = Status { success: blame.is_none(), failure: failed.is_some(), cancelled: false };
        StepStatus { status, blame }
    }

    fn conclusion(&self, step: StepIndex) -> Outcome {
        match self.phases[step] {
            Phase::Decided(conclusion) => conclusion,
            Phase::Pending | Phase::Running(_) | Phase::Waiting(_) => Outcome::Success,
        }
    }

    /// No attempt follows. `stopped`: by the failure of another one, so that it does not count itself.
    fn conclude(
        &mut self,
        step: StepIndex,
        result: StepFinished,
        stopped: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let conclusion = result.conclusion;
        let badly = has_failed(conclusion) || conclusion == Outcome::Cancellation;
        self.phases[step] = Phase::Decided(conclusion);
        self.undecided -= 1;
        self.graph.decide(step, badly);
        effects.push(Effect::Emit(Some(step), Body::StepFinished(result)));
        if badly && !stopped {
            self.worst = self.worst.max(conclusion);
            if self.options.fail_fast && self.failed_fast.is_none() && self.cancelling.is_none() {
                self.fail_fast(step, now, effects);
            }
        }
    }

    fn end(&self) -> BuildEnd {
        match self.cancelling.as_ref().map(|cancelling| &cancelling.cause) {
            Some(Cause::Signal(signal)) => BuildEnd { outcome: Outcome::Cancellation, signal: Some(*signal) },
            Some(Cause::Timeout(_)) => BuildEnd { outcome: Outcome::Timeout, signal: None },
            Some(Cause::Lost(_)) => BuildEnd { outcome: Outcome::Error, signal: None },
            None => BuildEnd { outcome: self.worst, signal: None },
        }
    }
}

fn has_failed(conclusion: Outcome) -> bool {
    matches!(conclusion, Outcome::Failure | Outcome::Timeout | Outcome::Error)
}

fn skipped(reason: String) -> StepFinished {
    StepFinished {
        outcome: Outcome::Skip,
        conclusion: Outcome::Skip,
        attempts: 0,
        flaky: false,
        reason: Some(reason),
        left_out: false,
        outputs: BTreeMap::new(),
        summary: None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
